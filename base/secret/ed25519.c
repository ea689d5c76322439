#include "base/secret/ed25519.h"

#include "base/secret/base64.h"
#include "base/secret/blob.h"
#include "base/secret/digest.h"
#include "base/secret/seal.h"
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

enum { BLOB_MAX = 2048 };
const char ed25519_name[] = "ssh-ed25519";

static void key_free(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}

static void context_free(EVP_MD_CTX **c)
{
	EVP_MD_CTX_free(*c);
}

void ed25519_pair_done(struct ed25519_pair *pair)
{
	OPENSSL_cleanse(pair, sizeof(*pair));
}

static EVP_PKEY *secret_of(const struct ed25519_pair *pair)
{
	return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, pair->secret, sizeof(pair->secret));
}

int ed25519_pair_of_host(const char *state_dir, bool make, struct ed25519_pair *ret, struct err *err)
{
	static const char salt[] = "davit";
	unsigned char own[SEAL_KEY_BYTES];
	size_t len = sizeof(ret->key);
	int r = seal_own_key(state_dir, make, own, err);
	if (r == 0)
		r = digest_hkdf(own, sizeof(own), salt, strlen(salt), "signatures: host", ret->secret,
		                sizeof(ret->secret), err);
	OPENSSL_cleanse(own, sizeof(own));
	if (r < 0)
		return r;
	_cleanup_(key_free) EVP_PKEY *key = secret_of(ret);
	if (key == NULL || EVP_PKEY_get_raw_public_key(key, ret->key, &len) != 1)
		return err_set(err, ERR_INTERNAL, "Ed25519 failed");
	return 0;
}

int ed25519_sign(const struct ed25519_pair *pair, const void *data, size_t len,
                 unsigned char ret[ED25519_SIGNATURE_SIZE], struct err *err)
{
	_cleanup_(key_free) EVP_PKEY *key = secret_of(pair);
	_cleanup_(context_free) EVP_MD_CTX *c = EVP_MD_CTX_new();
	size_t size = ED25519_SIGNATURE_SIZE;
	bool ok = key && c && EVP_DigestSignInit(c, NULL, NULL, NULL, key) == 1 &&
	          EVP_DigestSign(c, ret, &size, data, len) == 1;
	return ok && size == ED25519_SIGNATURE_SIZE ? 0 : err_set(err, ERR_INTERNAL, "Ed25519 failed");
}

bool ed25519_is_signed(const unsigned char key[ED25519_KEY_SIZE], const unsigned char signature[ED25519_SIGNATURE_SIZE],
                       const void *data, size_t len)
{
	_cleanup_(key_free) EVP_PKEY *public =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_KEY_SIZE);
	_cleanup_(context_free) EVP_MD_CTX *c = EVP_MD_CTX_new();
	return public && c && EVP_DigestVerifyInit(c, NULL, NULL, NULL, public) == 1 &&
	       EVP_DigestVerify(c, signature, ED25519_SIGNATURE_SIZE, data, len) == 1;
}

/* ---- as OpenSSH writes them ---- */

int ed25519_take(const struct blob *packed, const char *what, unsigned char *ret, size_t size, struct err *err)
{
	struct blob b = *packed, type, bytes;
	if (!blob_take_string(&b, &type))
		return err_set(err, ERR_INVALID, "the %s is damaged", what);
	if (!blob_is_text(&type, ed25519_name))
		return err_set(err, ERR_UNSUPPORTED, "the %s is not one of ssh-ed25519", what);
	if (!blob_take_string(&b, &bytes) || b.left > 0 || bytes.left != size)
		return err_set(err, ERR_INVALID, "the %s is damaged", what);
	memcpy(ret, bytes.at, size);
	return 0;
}

int ed25519_key_read(const char *base64, unsigned char ret[ED25519_KEY_SIZE], struct err *err)
{
	_cleanup_(str_done) struct str blob = STR_INIT(BLOB_MAX);
	size_t len = strlen(base64);
	if (len > BLOB_MAX || base64_decode(base64, len, &blob, err) < 0)
		return err_set(err, ERR_INVALID, "the public key is damaged");
	return ed25519_take(&(struct blob){(const unsigned char *)str_peek(&blob), blob.len}, "public key", ret,
	                    ED25519_KEY_SIZE, err);
}

int ed25519_key_read_pem(const char *pem, size_t len, unsigned char ret[ED25519_KEY_SIZE], struct err *err)
{
	size_t size = ED25519_KEY_SIZE;
	BIO *in = BIO_new_mem_buf(pem, (int)MIN(len, (size_t)BLOB_MAX));
	_cleanup_(key_free) EVP_PKEY *key = in != NULL ? PEM_read_bio_PUBKEY(in, NULL, NULL, NULL) : NULL;
	bool good = key != NULL && EVP_PKEY_is_a(key, "ED25519") && EVP_PKEY_get_raw_public_key(key, ret, &size) == 1 &&
	            size == ED25519_KEY_SIZE;
	BIO_free(in);
	ERR_clear_error();
	return good ? 0 : err_set(err, ERR_INVALID, "it holds no Ed25519 public key in PEM");
}

void ed25519_key_write(const unsigned char key[ED25519_KEY_SIZE], struct str *out)
{
	_cleanup_(str_done) struct str blob = STR_INIT(BLOB_MAX);
	blob_put_string(&blob, ed25519_name, strlen(ed25519_name));
	blob_put_string(&blob, key, ED25519_KEY_SIZE);
	base64_encode(str_peek(&blob), blob.len, out);
}
