/* A file of problem matchers comes from anybody's repository: it is refused with a reason, or looks at lines within bounds. The file, a NUL, and
 * the lines. */
#include "agent/worker/matcher.h"

#include "base/core/mem.h"
#include "base/core/str.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(struct matchers *m, const char *line, size_t len)
{
	size_t at = 0;
	struct matcher_result r = {{NULL}};
	char *given_up = NULL;
	while (matchers_look(m, line, len, &at, &r, &given_up) || given_up != NULL) {
		matcher_result_done(&r);
		free(TAKE(given_up));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *end = size > 0 ? memchr(text, '\0', size) : NULL;
	_cleanup_json_ json_t *document = NULL;
	struct matchers *m = NULL;
	struct err err = ERR_INIT;
	if (end == NULL || json_parse(text, (size_t)(end - text), 1 << 20, &document, NULL) < 0)
		return 0;
	if (matchers_add(&m, document, &err) < 0 && err.frame_count == 0)
		abort();
	free(matchers_owners(document));
	const char *stop = text + size;
	for (const char *line = end + 1; m != NULL && line < stop;) {
		const char *next = memchr(line, '\n', (size_t)(stop - line));
		size_t len = (size_t)((next != NULL ? next : stop) - line);
		if (str_is_utf8(line, len))
			look(m, line, len);
		line += len + 1;
	}
	matchers_free(m);
	return 0;
}
