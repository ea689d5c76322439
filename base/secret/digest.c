#include "base/secret/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct digest {
	EVP_MD_CTX *md;
};

/* OpenSSL fails here only without memory or without SHA-256: cannot continue. */
static void must(int ok)
{
	if (ok != 1)
		abort();
}

static EVP_MD *fetched;

static void fetch(void)
{
	fetched = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* Looked up once: OpenSSL 3 looks for EVP_sha256() under a lock each time, which slows small files. */
static const EVP_MD *sha256(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, fetch);
	return fetched ? fetched : EVP_sha256();
}

struct digest *digest_new(void)
{
	struct digest *d = xmalloc(sizeof(*d));
	d->md = EVP_MD_CTX_new();
	must(d->md != NULL);
	must(EVP_DigestInit_ex(d->md, sha256(), NULL));
	return d;
}

void digest_update(struct digest *d, const void *data, size_t len)
{
	must(EVP_DigestUpdate(d->md, data, len));
}

void digest_raw(struct digest *d, unsigned char ret[DIGEST_BYTES])
{
	must(EVP_DigestFinal_ex(d->md, ret, NULL));
	must(EVP_DigestInit_ex(d->md, sha256(), NULL));
}

void digest_hex(struct digest *d, char hex[DIGEST_HEX])
{
	unsigned char bytes[DIGEST_BYTES];
	digest_raw(d, bytes);
	str_hex(bytes, sizeof(bytes), hex);
}

void digest_free(struct digest *d)
{
	if (d == NULL)
		return;
	EVP_MD_CTX_free(d->md);
	free(d);
}

void digest_freep(struct digest **d)
{
	digest_free(*d);
}

void digest_of(const void *data, size_t len, char hex[DIGEST_HEX])
{
	unsigned char bytes[EVP_MAX_MD_SIZE];
	must(EVP_Digest(data, len, bytes, NULL, sha256(), NULL));
	str_hex(bytes, DIGEST_BYTES, hex);
}

void digest_git_object(const char *type, const void *data, size_t len, unsigned char id[20])
{
	char head[64];
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int n = snprintf(head, sizeof(head), "%s %zu", type, len);
	must(md != NULL && n > 0 && (size_t)n < sizeof(head));
	must(EVP_DigestInit_ex(md, EVP_sha1(), NULL));
	must(EVP_DigestUpdate(md, head, (size_t)n + 1));
	must(EVP_DigestUpdate(md, data, len));
	must(EVP_DigestFinal_ex(md, id, NULL));
	EVP_MD_CTX_free(md);
}

int digest_of_fd(int fd, char hex[DIGEST_HEX], struct err *err)
{
	enum { CHUNK = 256 << 10 };
	_cleanup_(digest_freep) struct digest *d = digest_new();
	_cleanup_free_ char *buf = xmalloc(CHUNK);
	for (;;) {
		ssize_t n = read(fd, buf, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, errno, "read for a digest");
		if (n == 0)
			break;
		digest_update(d, buf, (size_t)n);
	}
	digest_hex(d, hex);
	return 0;
}

void digest_hmac_sha256(const void *key, size_t key_len, const void *data, size_t len, unsigned char out[DIGEST_BYTES])
{
	unsigned int out_len = DIGEST_BYTES;
	must(HMAC(sha256(), key, (int)key_len, data, len, out, &out_len) != NULL);
}

void digest_hmac_hex(const void *key, size_t key_len, const void *data, size_t len, char hex[DIGEST_HEX])
{
	unsigned char bytes[DIGEST_BYTES];
	digest_hmac_sha256(key, key_len, data, len, bytes);
	str_hex(bytes, sizeof(bytes), hex);
}

static void derive_done(EVP_PKEY_CTX **c)
{
	EVP_PKEY_CTX_free(*c);
}

int digest_hkdf(const void *key, size_t key_len, const void *salt, size_t salt_len, const char *label,
                unsigned char *out, size_t out_len, struct err *err)
{
	_cleanup_(derive_done) EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	size_t len = out_len;
	bool ok = c && EVP_PKEY_derive_init(c) == 1 && EVP_PKEY_CTX_set_hkdf_md(c, EVP_sha256()) == 1 &&
	          EVP_PKEY_CTX_set1_hkdf_salt(c, salt, (int)salt_len) == 1 &&
	          EVP_PKEY_CTX_set1_hkdf_key(c, key, (int)key_len) == 1 &&
	          EVP_PKEY_CTX_add1_hkdf_info(c, (const unsigned char *)label, (int)strlen(label)) == 1 &&
	          EVP_PKEY_derive(c, out, &len) == 1;
	return ok && len == out_len ? 0 : err_set(err, ERR_INTERNAL, "HKDF-SHA256 failed");
}
