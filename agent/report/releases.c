#include "agent/report/report_priv.h"
#include "agent/report/report.h"
#include <string.h>

#include "base/core/clock.h"

static const char bold[] = "\x1b[1m", red[] = "\x1b[31m", green[] = "\x1b[32m", plain[] = "\x1b[0m";

void report_append_error(struct str *out, const json_t *of, const char *indent, bool colours)
{
	if (report_text_of(of, "error")[0] == '\0')
		return;
	str_appendf(out, "%s%serror:%s ", indent, report_colour(colours, red), report_colour(colours, plain));
	report_safe(out, report_text_of(of, "error"));
	if (report_text_of(of, "hint")[0] != '\0') {
		str_appendf(out, "\n%s  ", indent);
		report_safe(out, report_text_of(of, "hint"));
	}
	str_append_c(out, '\n');
}

/* These values come from the target: each may be missing or false. */
static void append_lock(struct str *out, const json_t *lock, bool colours)
{
	if (lock == NULL)
		return;
	if (!json_is_object(lock)) {
		str_append(out, "    lock     free\n");
		return;
	}
	char since[CLOCK_TEXT_SIZE];
	str_appendf(out, "    lock     %sheld%s by the deployment ", report_colour(colours, red),
	            report_colour(colours, plain));
	report_safe(out, report_text_of(lock, "deployment"));
	str_append(out, " on ");
	report_safe(out, report_text_of(lock, "host"));
	str_append(out, " as ");
	report_safe(out, report_text_of(lock, "user"));
	str_appendf(out, " since %s", clock_rfc3339(json_get_int(lock, "made_ms", 0), since));
	if (report_text_of(lock, "mark")[0] != '\0') {
		str_append(out, ", ");
		report_safe(out, report_text_of(lock, "mark"));
	}
	str_append_c(out, '\n');
}

static void append_release(struct str *out, const json_t *r, const json_t *lock, const char *scope, bool colours)
{
	const char *release = report_text_of(r, "release");
	bool current = json_get_bool(r, "current", false);
	_cleanup_free_ char *commit = xasprintf("%.8s", report_text_of(r, "commit"));
	str_appendf(out, "      %s%c ", current ? report_colour(colours, green) : "", current ? '*' : ' ');
	report_append_column(out, release, 23);
	report_append_time(out, json_get_int(r, "made_ms", 0));
	str_append(out, "  ");
	report_append_column(out, commit[0] != '\0' ? commit : "-", 9);
	/* The holder of the lock may still be filling it. */
	bool unfinished = !current && strcmp(report_text_of(lock, "deployment"), release) == 0;
	str_append(out, current ? "runs now" : unfinished ? "being made" : "");
	if (json_get_bool(r, "dirty", false))
		str_append(out, current || unfinished ? ", uncommitted changes" : "uncommitted changes");
	const char *other = report_text_of(r, "deployment");
	if (other[0] != '\0' && strcmp(other, scope) != 0) {
		str_append(out, " of ");
		report_safe(out, other);
	}
	while (out->len > 0 && str_peek(out)[out->len - 1] == ' ')
		str_truncate(out, out->len - 1);
	str_appendf(out, "%s\n", current ? report_colour(colours, plain) : "");
}

static void append_path(struct str *out, const json_t *path, const json_t *lock, const char *scope, bool colours)
{
	size_t i;
	json_t *release;
	str_append(out, "    ");
	report_safe(out, report_text_of(path, "path"));
	if (report_text_of(path, "leads_to")[0] != '\0') {
		str_append(out, ": current leads to no release: ");
		report_safe(out, report_text_of(path, "leads_to"));
	} else if (json_is_null(json_object_get(path, "current"))) {
		str_append(out, ": nothing runs here yet");
	}
	str_append_c(out, '\n');
	json_array_foreach(json_object_get(path, "releases"), i, release)
		append_release(out, release, lock, scope, colours);
	if (json_get_bool(path, "more", false))
		str_append(out, "        and older ones\n");
	report_append_error(out, path, "      ", colours);
}

void report_append_release_paths(struct str *out, const json_t *target, const char *scope, bool colours)
{
	size_t i;
	json_t *path, *lock = json_object_get(target, "lock");
	json_array_foreach(json_object_get(target, "paths"), i, path) append_path(out, path, lock, scope, colours);
}

static void append_target(struct str *out, const json_t *target, const char *scope, bool colours)
{
	const json_t *lock = json_object_get(target, "lock");
	str_append(out, "  ");
	report_safe(out, report_text_of(target, "name"));
	if (report_text_of(target, "host")[0] != '\0') {
		str_append(out, ": ");
		report_safe(out, report_text_of(target, "user"));
		str_append_c(out, '@');
		report_safe(out, report_text_of(target, "host"));
	}
	str_append_c(out, '\n');
	report_append_error(out, target, "    ", colours);
	append_lock(out, lock, colours);
	report_append_release_paths(out, target, scope, colours);
}

void report_print_releases(const json_t *deployments, bool colours, FILE *out)
{
	struct str text _cleanup_(str_done) = STR_INIT(64 << 20);
	size_t i, k;
	json_t *d, *target;
	json_array_foreach(deployments, i, d)
	{
		_cleanup_free_ char *scope =
			xasprintf("%s.%s", report_text_of(d, "name"), report_text_of(d, "environment"));
		str_appendf(&text, "%s%s", i > 0 ? "\n" : "", report_colour(colours, bold));
		report_safe(&text, scope);
		str_appendf(&text, "%s\n", report_colour(colours, plain));
		json_array_foreach(json_object_get(d, "targets"), k, target)
			append_target(&text, target, scope, colours);
	}
	report_print_out(&text, out);
}
