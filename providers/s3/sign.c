#include "providers/s3/sign.h"

#include "base/secret/digest.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>

enum { HEADERS_MAX = 16, CANONICAL_MAX = 64 << 10, LOGIN_MAX = 64 << 10, NAME_MAX_LEN = 64 };

void s3_escape(const char *text, bool keep_slashes, struct str *out)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		bool plain = (*c < 128 && isalnum(*c)) || strchr("-._~", *c) != NULL || (keep_slashes && *c == '/');
		if (plain)
			str_append_c(out, (char)*c);
		else
			str_appendf(out, "%%%02X", *c);
	}
}

static void chain(unsigned char key[DIGEST_BYTES], const char *text)
{
	unsigned char next[DIGEST_BYTES];
	digest_hmac_sha256(key, DIGEST_BYTES, text, strlen(text), next);
	memcpy(key, next, sizeof(next));
	OPENSSL_cleanse(next, sizeof(next));
}

/* The key of one day, region and service. */
static void signing_key(const struct s3_login *login, const char *day, unsigned char key[DIGEST_BYTES])
{
	_cleanup_(str_done) struct str first = STR_SECRET_INIT(LOGIN_MAX);
	str_appendf(&first, "AWS4%s", login->secret_key);
	digest_hmac_sha256(str_peek(&first), first.len, day, strlen(day), key);
	chain(key, login->region);
	chain(key, "s3");
	chain(key, "aws4_request");
}

static int name_length(const char *header)
{
	return (int)strcspn(header, ":");
}

/* By name, as the signature wants them. */
static void canonical_headers(const struct strv *all, struct str *lines, struct str *names)
{
	struct strv sorted _cleanup_(strv_done) = {0};
	for (size_t i = 0; i < all->count; i++)
		strv_add(&sorted, all->items[i]);
	strv_sort(&sorted);
	for (size_t i = 0; i < sorted.count; i++) {
		const char *header = sorted.items[i];
		int len = name_length(header);
		str_appendf(lines, "%.*s:%s\n", len, header, header + len + 2);
		str_appendf(names, "%s%.*s", i ? ";" : "", len, header);
	}
}

void s3_sign(const struct s3_login *login, const struct s3_signed *request, struct strv *ret_headers)
{
	_cleanup_(str_done) struct str lines = STR_INIT(CANONICAL_MAX), names = STR_INIT(CANONICAL_MAX),
				       canonical = STR_INIT(CANONICAL_MAX), text = STR_INIT(CANONICAL_MAX);
	unsigned char key[DIGEST_BYTES];
	char date[S3_DATE], day[9], digest[DIGEST_HEX], signature[DIGEST_HEX];
	time_t now = (time_t)(request->wall_ms / 1000);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &tm);
	snprintf(day, sizeof(day), "%.8s", date);
	strv_addf(ret_headers, "host: %s", request->host);
	for (size_t i = 0; i < request->header_count; i++)
		strv_add(ret_headers, request->headers[i]);
	strv_addf(ret_headers, "x-amz-content-sha256: %s", request->payload_sha256);
	strv_addf(ret_headers, "x-amz-date: %s", date);
	if (login->session_token != NULL)
		strv_addf(ret_headers, "x-amz-security-token: %s", login->session_token);
	canonical_headers(ret_headers, &lines, &names);
	str_appendf(&canonical, "%s\n%s\n%s\n%s\n%s\n%s", request->method, request->path, request->query,
	            str_peek(&lines), str_peek(&names), request->payload_sha256);
	digest_of(str_peek(&canonical), canonical.len, digest);
	str_appendf(&text, "AWS4-HMAC-SHA256\n%s\n%s/%s/s3/aws4_request\n%s", date, day, login->region, digest);
	signing_key(login, day, key);
	digest_hmac_hex(key, sizeof(key), str_peek(&text), text.len, signature);
	OPENSSL_cleanse(key, sizeof(key));
	strv_addf(ret_headers,
	          "authorization: AWS4-HMAC-SHA256 Credential=%s/%s/%s/s3/aws4_request, SignedHeaders=%s, Signature=%s",
	          login->access_key, day, login->region, str_peek(&names), signature);
}
