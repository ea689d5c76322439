/* What a token service answers, and the keys that are given: read or refused with a reason, and what was read can be used. The first
 * byte chooses. */
#include "agent/service/oauth.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_answer(int status, const char *text, size_t len)
{
	struct http_response response = {.status = status, .body = STR_INIT(1 << 20)};
	struct err err = ERR_INIT;
	char *token = NULL;
	int64_t life_ms = -1;
	str_append_n(&response.body, text, len);
	enum oauth_result how = oauth_read_answer(&response, &token, &life_ms, &err);
	/* A token goes into a header: it is there, of one line, and lasts no negative time. */
	if (how == OAUTH_OK && (token == NULL || *token == '\0' || strpbrk(token, "\r\n") != NULL || life_ms < 0))
		abort();
	if (how != OAUTH_OK && (token != NULL || err.frame_count == 0))
		abort();
	if (how == OAUTH_OK && (status < 200 || status > 299))
		abort();
	free(token);
	http_response_done(&response);
}

static void use_key(struct oauth_key *key)
{
	_cleanup_(str_done) struct str pem = STR_SECRET_INIT(64 << 10);
	_cleanup_(oauth_key_freep) struct oauth_key *again = NULL;
	_cleanup_free_ char *xml = oauth_key_public_xml(key);
	if (oauth_key_write_pem(key, &pem, NULL) == 0 && oauth_key_read_pem(str_peek(&pem), pem.len, &again, NULL) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int statuses[] = {200, 201, 400, 401, 403, 404, 429, 500};
	_cleanup_(oauth_key_freep) struct oauth_key *key = NULL;
	_cleanup_json_ json_t *params = NULL;
	if (size < 1)
		return 0;
	const char *text = (const char *)data + 1;
	if (data[0] == 'k') {
		if (oauth_key_read_pem(text, size - 1, &key, NULL) == 0)
			use_key(key);
	} else if (data[0] == 'p') {
		if (json_parse(text, size - 1, 1 << 20, &params, NULL) == 0 &&
		    oauth_key_read_params(params, &key, NULL) == 0)
			use_key(key);
	} else {
		read_answer(statuses[data[0] % ARRAY_SIZE(statuses)], text, size - 1);
	}
	return 0;
}
