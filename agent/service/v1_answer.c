#include "agent/service/v1_answer.h"

#include <openssl/evp.h>
#include <strings.h>

#include "base/secret/base64.h"

enum { CLASS_MAX = 200, WRAPPED_MAX = 4096, BLOCK = 16 };

static json_t *envelope(const struct http_response *response)
{
	json_t *object = NULL;
	if (response->body.len == 0 || response->body.len > WIRE_ANSWER_MAX ||
	    wire_read_object(response, &object, NULL) < 0)
		return NULL;
	return object;
}

char *v1_error_class(const struct http_response *response)
{
	_cleanup_json_ json_t *object = envelope(response);
	const char *key = wire_string(object, "typeKey"), *name = wire_string(object, "typeName");
	if (key != NULL && *key != '\0')
		return xstrndup(key, CLASS_MAX);
	if (name == NULL)
		return NULL;
	/* "GitHub.DistributedTask.WebApi.TheException, GitHub.DistributedTask.WebApi" */
	size_t end = strcspn(name, ","), start = end;
	while (start > 0 && name[start - 1] != '.')
		start--;
	return end > start ? xstrndup(name + start, MIN(end - start, (size_t)CLASS_MAX)) : NULL;
}

bool v1_error_is(const struct http_response *response, const char *const *classes)
{
	_cleanup_free_ char *own = v1_error_class(response);
	for (; own != NULL && *classes != NULL; classes++)
		if (strcasecmp(own, *classes) == 0)
			return true;
	return false;
}

int64_t v1_error_code(const struct http_response *response)
{
	_cleanup_json_ json_t *object = envelope(response);
	return wire_int(object, "errorCode", 0);
}

int v1_key_read(const json_t *session, const struct oauth_key *key, struct v1_key *ret, struct err *err)
{
	_cleanup_(str_done) struct str wrapped = STR_SECRET_INIT(WRAPPED_MAX), plain = STR_SECRET_INIT(WRAPPED_MAX);
	const json_t *given = wire_get(session, "encryptionKey");
	const char *text = wire_string(given, "value");
	*ret = (struct v1_key){.len = 0};
	if (text == NULL || *text == '\0')
		return 0;
	if (base64_decode(text, strlen(text), &wrapped, NULL) < 0)
		return err_set(err, ERR_PROTOCOL, "the session's key is not base64");
	if (!wire_bool(given, "encrypted", false))
		str_append_n(&plain, str_peek(&wrapped), wrapped.len);
	else if (oauth_key_decrypt(key, str_peek(&wrapped), wrapped.len, wire_bool(session, "useFipsEncryption", false),
	                           &plain, err) < 0)
		return err_wrap(err, ERR_AUTH, "read the session's key");
	if (plain.len != 16 && plain.len != 24 && plain.len != 32)
		return err_set(err, ERR_PROTOCOL, "the session's key has %zu bytes", plain.len);
	memcpy(ret->bytes, plain.data, plain.len);
	ret->len = plain.len;
	return 0;
}

static bool decrypt(const struct v1_key *key, const struct str *iv, const struct str *data, struct str *out)
{
	const EVP_CIPHER *cipher = key->len == 16   ? EVP_aes_128_cbc()
	                           : key->len == 24 ? EVP_aes_192_cbc()
	                                            : EVP_aes_256_cbc();
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	unsigned char *room = (unsigned char *)str_reserve(out, data->len + BLOCK);
	int written = 0, rest = 0;
	bool fine =
		context != NULL && room != NULL && data->len <= INT32_MAX - BLOCK &&
		EVP_DecryptInit_ex(context, cipher, NULL, key->bytes, (const unsigned char *)iv->data) == 1 &&
		EVP_DecryptUpdate(context, room, &written, (const unsigned char *)data->data, (int)data->len) == 1 &&
		EVP_DecryptFinal_ex(context, room + written, &rest) == 1;
	EVP_CIPHER_CTX_free(context);
	if (fine)
		out->len += (size_t)written + (size_t)rest;
	return fine;
}

int v1_message_body(const json_t *message, const struct v1_key *key, struct str *out, struct err *err)
{
	const json_t *body = wire_get(message, "body");
	const char *text = json_string_value(body), *vector = wire_string(message, "iv");
	size_t len = json_string_length(body);
	if (key->len == 0 || vector == NULL || *vector == '\0') {
		str_append_n(out, text != NULL ? text : "", len);
		return out->failed ? err_set(err, ERR_LIMIT, "the message is too large") : 0;
	}
	_cleanup_(str_done) struct str iv = STR_INIT(WRAPPED_MAX), data = STR_INIT(WIRE_JOB_MAX);
	if (base64_decode(vector, strlen(vector), &iv, NULL) < 0 || iv.len != BLOCK)
		return err_set(err, ERR_PROTOCOL, "the message's iv is not base64 of %d bytes", BLOCK);
	if (text == NULL || base64_decode(text, len, &data, NULL) < 0)
		return err_set(err, ERR_PROTOCOL, "the encrypted body of the message is not base64");
	if (data.len == 0 || data.len % BLOCK != 0 || !decrypt(key, &iv, &data, out))
		return err_set(err, ERR_AUTH, "the message cannot be decrypted with this session's key");
	return 0;
}
