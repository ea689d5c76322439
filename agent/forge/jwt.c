/* Tokens that others signed. */
#include "agent/forge/forge_priv.h"
#include "base/secret/base64.h"

#include <openssl/rsa.h>
#include <string.h>

json_t *jwt_part(const char *from, size_t len)
{
	_cleanup_(str_done) struct str text = STR_INIT(16384);
	json_t *value = NULL;
	if (base64_decode(from, len, &text, NULL) < 0 ||
	    json_parse(str_peek(&text), text.len, text.len, &value, NULL) < 0)
		return NULL;
	return value;
}

bool jwt_fits(EVP_PKEY *key, const char *algorithm, const char *signed_text, size_t signed_len,
              const unsigned char *signature, size_t len)
{
	bool pss = strcmp(algorithm, "PS256") == 0;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *params = NULL;
	bool good = EVP_DigestVerifyInit(context, &params, EVP_sha256(), NULL, key) == 1;
	if (good && pss)
		good = EVP_PKEY_CTX_set_rsa_padding(params, RSA_PKCS1_PSS_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(params, 32) == 1;
	good = good && EVP_DigestVerify(context, signature, len, (const unsigned char *)signed_text, signed_len) == 1;
	EVP_MD_CTX_free(context);
	return good;
}
