/* RSA login keys with libssh2 before 1.11, which signs with SHA-1 only: it takes the algorithm's name from the given public
 * key and leaves the signing to a callback. So it gets the key under the name rsa-sha2-512 (OpenSSH knows a
 * key by that name too), and the signature is made here. */
#include "base/secret/base64.h"
#include "base/ssh/ssh_priv.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

enum { BLOB_MAX = 64 * 1024, KEY_STRINGS = 4 /* cipher, kdf, kdf options; after the count: public key */ };
static const char name[] = "rsa-sha2-512", plain_name[] = "ssh-rsa";
enum { MAGIC_LEN = sizeof("openssh-key-v1") }; /* its NUL is part of it */

static void put_u32(struct str *out, size_t n)
{
	const char bytes[4] = {(char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
	str_append_n(out, bytes, 4);
}

static bool take(const unsigned char **p, const unsigned char *end, const unsigned char **ret, size_t *ret_len)
{
	if (end - *p < 4)
		return false;
	size_t len = (size_t)(*p)[0] << 24 | (size_t)(*p)[1] << 16 | (size_t)(*p)[2] << 8 | (*p)[3];
	if (len > (size_t)(end - *p - 4))
		return false;
	*ret = *p + 4;
	*ret_len = len;
	*p += 4 + len;
	return true;
}

bool ssh_rsa_rename(const void *blob, size_t len, struct str *out)
{
	size_t old = sizeof(plain_name) - 1;
	const unsigned char *p = blob, *type;
	size_t type_len;
	if (!take(&p, p + len, &type, &type_len) || type_len != old || memcmp(type, plain_name, old) != 0)
		return false;
	put_u32(out, sizeof(name) - 1);
	str_append(out, name);
	str_append_n(out, p, len - 4 - old);
	return true;
}

static EVP_PKEY *from_numbers(const BIGNUM *n, const BIGNUM *e, const BIGNUM *d)
{
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	OSSL_PARAM *params = NULL;
	if (c != NULL && b != NULL && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, e) == 1 &&
	    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_D, d) == 1)
		params = OSSL_PARAM_BLD_to_param(b);
	if (params != NULL &&
	    (EVP_PKEY_fromdata_init(c) != 1 || EVP_PKEY_fromdata(c, &key, EVP_PKEY_KEYPAIR, params) != 1))
		key = NULL;
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(b);
	EVP_PKEY_CTX_free(c);
	return key;
}

/* The private part of OpenSSH's own format, not encrypted: two checks, type, n, e, d, and values derived from them. */
static EVP_PKEY *from_openssh(const char *text)
{
	_cleanup_(str_done) struct str blob = STR_SECRET_INIT(BLOB_MAX);
	const char *body = strchr(text, '\n'), *stop = strstr(text, "-----END");
	const unsigned char *part, *number[3];
	size_t len, number_len[3];
	if (body == NULL || stop == NULL || base64_decode(body, (size_t)(stop - body), &blob, NULL) < 0 ||
	    blob.len < MAGIC_LEN)
		return NULL;
	const unsigned char *p = (const unsigned char *)blob.data + MAGIC_LEN,
			    *end = (const unsigned char *)blob.data + blob.len;
	for (int i = 0; i < KEY_STRINGS; i++) {
		bool counted = i == KEY_STRINGS - 1;
		if (counted && end - p < 4)
			return NULL;
		p += counted ? 4 : 0;
		if (!take(&p, end, &part, &len) || (i == 0 && (len != 4 || memcmp(part, "none", 4) != 0)))
			return NULL;
	}
	if (!take(&p, end, &part, &len) || len < 8)
		return NULL;
	end = part + len;
	p = part + 8;
	if (memcmp(part, part + 4, 4) != 0 || !take(&p, end, &part, &len))
		return NULL;
	for (int i = 0; i < 3; i++)
		if (!take(&p, end, &number[i], &number_len[i]))
			return NULL;
	BIGNUM *n = BN_bin2bn(number[0], (int)number_len[0], NULL), *e = BN_bin2bn(number[1], (int)number_len[1], NULL),
	       *d = BN_bin2bn(number[2], (int)number_len[2], NULL);
	EVP_PKEY *key = n != NULL && e != NULL && d != NULL ? from_numbers(n, e, d) : NULL;
	BN_free(n);
	BN_free(e);
	BN_clear_free(d);
	return key;
}

EVP_PKEY *ssh_rsa_load(const char *text, const char *passphrase)
{
	if (str_starts(text, "-----BEGIN OPENSSH"))
		return from_openssh(text);
	BIO *bio = BIO_new_mem_buf(text, -1);
	/* Without a passphrase an empty one: OpenSSL asks the terminal otherwise. */
	EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL,
	                                                      (void *)(uintptr_t)(passphrase != NULL ? passphrase : ""))
	                            : NULL;
	BIO_free(bio);
	ERR_clear_error();
	return key;
}

static void put_number(EVP_PKEY *key, const char *param, struct str *out)
{
	BIGNUM *n = NULL;
	unsigned char bytes[4096];
	if (EVP_PKEY_get_bn_param(key, param, &n) == 1 && BN_num_bytes(n) > 0 && BN_num_bytes(n) < (int)sizeof(bytes)) {
		int len = BN_bn2bin(n, bytes + 1) + 1;
		bytes[0] = 0;
		/* A number whose first bit is set gets a leading zero byte. */
		int skip = (bytes[1] & 0x80) != 0 ? 0 : 1;
		put_u32(out, (size_t)(len - skip));
		str_append_n(out, bytes + skip, (size_t)(len - skip));
	}
	BN_free(n);
}

static int sign(LIBSSH2_SESSION *session, unsigned char **sig, size_t *sig_len, const unsigned char *data,
                size_t data_len, void **abstract)
{
	(void)session;
	EVP_PKEY *key = *abstract;
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	size_t len = (size_t)EVP_PKEY_size(key);
	unsigned char *out = xmalloc(len);
	int ok = c != NULL && EVP_DigestSignInit(c, NULL, EVP_sha512(), NULL, key) == 1 &&
	         EVP_DigestSign(c, out, &len, data, data_len) == 1;
	EVP_MD_CTX_free(c);
	ERR_clear_error();
	if (!ok) {
		free(out);
		return -1;
	}
	*sig = out;
	*sig_len = len;
	return 0;
}

static int log_in(struct ssh *s, const char *user, EVP_PKEY *key, struct wait *w, int *ret_rc, struct err *err)
{
	_cleanup_(str_done) struct str blob = STR_INIT(BLOB_MAX);
	void *abstract = key;
	put_u32(&blob, sizeof(name) - 1);
	str_append(&blob, name);
	put_number(key, OSSL_PKEY_PARAM_RSA_E, &blob);
	put_number(key, OSSL_PKEY_PARAM_RSA_N, &blob);
	SSH_REPEAT(*ret_rc, s, w, err,
	           libssh2_userauth_publickey(s->session, user, (const unsigned char *)blob.data, blob.len, sign,
	                                      &abstract));
	return 0;
}

int ssh_auth_rsa(struct ssh *s, const char *user, const char *text, struct wait *w, int *ret_rc, struct err *err)
{
	EVP_PKEY *key = ssh_rsa_load(text, s->login->key_passphrase);
	if (key == NULL)
		return err_set(err, ERR_INVALID, "the RSA key cannot be read");
	int r = log_in(s, user, key, w, ret_rc, err);
	EVP_PKEY_free(key);
	return r;
}
