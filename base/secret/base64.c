#include "base/secret/base64.h"
#include "base/core/mem.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

void base64_encode(const void *data, size_t len, struct str *out)
{
	enum { CHUNK = 3 << 10 };
	const unsigned char *in = data;
	unsigned char text[CHUNK / 3 * 4 + 1];
	for (size_t at = 0; at < len; at += CHUNK) {
		int n = EVP_EncodeBlock(text, in + at, (int)MIN(len - at, (size_t)CHUNK));
		str_append_n(out, (const char *)text, (size_t)n);
	}
	OPENSSL_cleanse(text, MIN(sizeof(text), len / 3 * 4 + 5));
}

void base64_encode_url(const void *data, size_t len, struct str *out)
{
	size_t from = out->len;
	base64_encode(data, len, out);
	if (out->failed)
		return;
	while (out->len > from && out->data[out->len - 1] == '=')
		out->data[--out->len] = '\0';
	for (size_t i = from; i < out->len; i++)
		if (out->data[i] == '+')
			out->data[i] = '-';
		else if (out->data[i] == '/')
			out->data[i] = '_';
}

static int sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

int base64_decode(const char *text, size_t len, struct str *out, struct err *err)
{
	unsigned int word = 0;
	int bits = 0;
	size_t symbols = 0, padding = 0;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (c == '\r' || c == '\n' || c == ' ' || c == '\t')
			continue;
		if (c == '=') {
			padding++;
			continue;
		}
		int value = sextet(c);
		if (value < 0 || padding > 0)
			return err_set(err, ERR_INVALID, "not Base64: character %zu", i + 1);
		word = word << 6 | (unsigned int)value;
		bits += 6;
		symbols++;
		if (bits >= 8) {
			bits -= 8;
			str_append_c(out, (char)(word >> bits & 255));
		}
		word &= (1u << bits) - 1;
	}
	if (symbols % 4 == 1 || word != 0 || padding > 2 || (padding > 0 && (symbols + padding) % 4 != 0))
		return err_set(err, ERR_INVALID, "not Base64: it ends in the middle");
	if (out->failed)
		return err_set(err, ERR_LIMIT, "Base64 of more than %zu bytes", out->max);
	return 0;
}
