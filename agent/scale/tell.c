#include "agent/scale/scale_priv.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/core/log.h"
#include "base/core/shown.h"

enum { TEXT_MAX = 4096 };

void scale_tell(const struct scale *s, const char *event, const struct runner *r, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = shown_format(TEXT_MAX, fmt, args);
	va_end(args);
	if (!s->options->json) {
		log_event(strcmp(event, "trouble") == 0 ? LOG_WARNING : LOG_INFO, "autoscale", "%s%s%s",
		          r != NULL ? r->name : "", r != NULL ? ": " : "", text);
		return;
	}
	_cleanup_json_ json_t *all =
		json_pack("{s:s, s:s?, s:s?}", "event", event, "runner", r != NULL ? r->name : NULL, "repository",
	                  r != NULL ? r->repository : NULL);
	json_object_set_new(all, "id", r != NULL && r->id > 0 ? json_integer(r->id) : json_null());
	json_set_string(all, "text", text);
	_cleanup_free_ char *line = json_text(all);
	puts(line);
	(void)fflush(stdout);
}
