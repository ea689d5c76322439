/* Two answers of GitHub's REST about one path: "STATUS\nHeader: value\n…\n\nbody", the second one behind a line "====". Whatever they say, the pause
 * stays within its bound, what failed left nothing, and what did not change is what was known. */
#include "agent/api/api_priv.h"
#include "base/core/clock.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAUSE_MAX_MS = 2 * 60 * 60 * 1000, TEXT_MAX = 1 << 20 };

static const char *split(const char *text, const char *mark, size_t *len)
{
	const char *at = strstr(text, mark);
	*len = at != NULL ? (size_t)(at - text) : strlen(text);
	return at != NULL ? at + strlen(mark) : text + *len;
}

static void read_one(struct api *a, const char *text)
{
	struct http_response response = {.body = STR_INIT(TEXT_MAX)};
	struct api_answer answer = {0};
	struct err err = ERR_INIT;
	size_t head;
	const char *body = split(text, "\n\n", &head);
	response.status = atoi(text);
	str_append(&response.body, body);
	for (const char *line = text + strcspn(text, "\n"), *end = text + head; line < end && *line == '\n';) {
		size_t len = strcspn(++line, "\n");
		strv_add_take(&response.headers, xstrndup(line, len));
		line += len;
	}
	int r = api_read(a, "/x", &response, "GET /x", &answer, &err);
	bool good = response.status >= 200 && response.status <= 299;
	if ((r < 0 && (answer.body != NULL || err.frame_count == 0)) ||
	    (r == 0 && (answer.status < 200 || answer.status > 299)))
		abort();
	if (r == 0 && !good && !(response.status == 304 && answer.unchanged && answer.body != NULL))
		abort();
	if (answer.pause_ms < 0 || answer.pause_ms > 3600 * 1000 || api_pause_ms(a) < 0 ||
	    api_pause_ms(a) > PAUSE_MAX_MS)
		abort();
	api_answer_done(&answer);
	http_response_done(&response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	size_t first;
	const char *second = split(text, "\n====\n", &first);
	_cleanup_free_ char *one = xstrndup(text, first);
	struct http *http = http_new(NULL, NULL);
	struct api *a = NULL;
	setenv("GITHUB_TOKEN", "t", 1);
	if (api_open(http, "https://api.invalid", &(struct api_access){0}, &a, NULL) < 0)
		abort();
	read_one(a, one);
	read_one(a, second);
	api_free(a);
	http_free(http);
	return 0;
}
