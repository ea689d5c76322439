/* What comes in: the lines of an answer's head and the pieces of its body, as libcurl gives them. */
#include "base/net/http_priv.h"

enum { HEADER_BYTES_MAX = 256 * 1024 };

void http_answer_forget(struct http_transfer *t)
{
	strv_done(&t->response.headers);
	str_clear(&t->response.body);
	free(TAKE(t->response.reason));
	free(TAKE(t->response.final_url));
	free(TAKE(t->response.peer));
	free(TAKE(t->response.certificate));
	t->response.status = 0;
	t->response.resent = false;
	t->header_bytes = 0;
	t->sent_times = 0;
}

size_t http_answer_header(char *data, size_t size, size_t count, void *transfer)
{
	struct http_transfer *t = transfer;
	size_t len = size * count;
	t->header_bytes += len;
	if (t->header_bytes > HEADER_BYTES_MAX) {
		t->failed = err_set(http_transfer_text(t), ERR_LIMIT, "%s: more than %d KiB of headers", t->label,
		                    HEADER_BYTES_MAX / 1024);
		return 0;
	}
	while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r'))
		len--;
	/* A status line: of a redirect's answer, of 100 Continue, or the final one. */
	if (len >= 5 && memcmp(data, "HTTP/", 5) == 0) {
		const char *number = memchr(data, ' ', len);
		size_t at = number != NULL ? (size_t)(number - data) + strlen(" 200 ") : len;
		strv_done(&t->response.headers);
		free(TAKE(t->response.reason));
		if (at < len)
			t->response.reason = xstrndup(data + at, len - at);
		return size * count;
	}
	if (len > 0)
		strv_add_take(&t->response.headers, xstrndup(data, len));
	return size * count;
}

bool http_is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

size_t http_answer_data(char *data, size_t size, size_t count, void *transfer)
{
	struct http_transfer *t = transfer;
	size_t len = size * count;
	long status = 0;
	if (t->failed < 0)
		return 0;
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	t->response.status = (int)status;
	if (t->follow && http_is_redirect(t->response.status) && http_header(&t->response, "Location") != NULL)
		return len;
	if (t->on_body != NULL && status >= 200 && status < 300) {
		curl_off_t before = 0;
		curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &before);
		if (t->max_body != 0 && (uint64_t)before > t->max_body) {
			t->failed = err_set(http_transfer_text(t), ERR_LIMIT, "%s: the answer is larger than %zu bytes",
			                    t->label, t->max_body);
			return 0;
		}
		t->body_taken = true;
		t->failed = t->on_body(t->body_context, data, len, http_transfer_text(t));
		return t->failed < 0 ? 0 : len;
	}
	size_t max = t->on_body != NULL ? (size_t)HTTP_BODY_MAX : t->max_body;
	if (t->response.body.len + len > max || !str_append_n(&t->response.body, data, len)) {
		t->failed = err_set(http_transfer_text(t), ERR_LIMIT, "%s: the answer is larger than %zu bytes",
		                    t->label, max);
		return 0;
	}
	return len;
}
