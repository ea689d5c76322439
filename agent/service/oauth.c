#include "agent/service/oauth.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <strings.h>

#include "agent/service/wire.h"
#include "base/secret/base64.h"
#include "base/core/rand.h"

enum {
	KEY_BITS = 2048,
	KEY_BYTES_MAX = 1024,
	ASSERTION_LIFE_S = 300,
	CLOCK_ALLOWANCE_S = 30,
	APP_ALLOWANCE_S = 60,
	APP_LIFE_S = 540,
	TOKEN_MAX = 64 << 10
};

struct oauth_key {
	EVP_PKEY *pkey;
};

/* OpenSSL's own message, next to the call that failed. */
static int ssl_error(struct err *err, int code, const char *what)
{
	char text[256] = "unknown reason";
	unsigned long number = ERR_get_error();
	if (number != 0)
		ERR_error_string_n(number, text, sizeof(text));
	ERR_clear_error();
	return err_set(err, code, "%s: %s", what, text);
}

static int wrap_key(EVP_PKEY *pkey, struct oauth_key **ret, struct err *err)
{
	if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA || EVP_PKEY_get_bits(pkey) < KEY_BITS) {
		EVP_PKEY_free(pkey);
		return err_set(err, ERR_INVALID, "the runner's key is not an RSA key of at least %d bits", KEY_BITS);
	}
	struct oauth_key *key = xcalloc(1, sizeof(*key));
	key->pkey = pkey;
	*ret = key;
	return 0;
}

int oauth_key_make(struct oauth_key **ret, struct err *err)
{
	EVP_PKEY *pkey = EVP_RSA_gen(KEY_BITS);
	if (pkey == NULL)
		return ssl_error(err, ERR_INTERNAL, "make an RSA key");
	return wrap_key(pkey, ret, err);
}

int oauth_key_read_pem(const char *pem, size_t len, struct oauth_key **ret, struct err *err)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)MIN(len, (size_t)TOKEN_MAX));
	EVP_PKEY *pkey = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"");
	BIO_free(bio);
	if (pkey == NULL)
		return ssl_error(err, ERR_INVALID, "read the runner's private key");
	return wrap_key(pkey, ret, err);
}

/* A base64 number of .credentials_rsaparams, added to the builder. The number lives until the parameters are built. */
static int push_number(OSSL_PARAM_BLD *builder, const json_t *params, const char *key, const char *name, BIGNUM **ret,
                       struct err *err)
{
	_cleanup_(str_done) struct str bytes = STR_SECRET_INIT(KEY_BYTES_MAX);
	const char *text = wire_string(params, key);
	if (text == NULL || base64_decode(text, strlen(text), &bytes, NULL) < 0 || bytes.len == 0)
		return err_set(err, ERR_INVALID, "the key's parameter '%s' is missing or not base64", key);
	*ret = BN_secure_new();
	if (*ret == NULL || BN_bin2bn((const unsigned char *)bytes.data, (int)bytes.len, *ret) == NULL ||
	    OSSL_PARAM_BLD_push_BN(builder, name, *ret) != 1)
		return ssl_error(err, ERR_INVALID, "read the key's parameters");
	return 0;
}

static int build_key(OSSL_PARAM_BLD *builder, EVP_PKEY **ret, struct err *err)
{
	OSSL_PARAM *list = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	EVP_PKEY *pkey = NULL;
	bool fine = list != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
	            EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_KEYPAIR, list) == 1;
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(list);
	if (!fine)
		return ssl_error(err, ERR_INVALID, "build the runner's key from its parameters");
	*ret = pkey;
	return 0;
}

int oauth_key_read_params(const json_t *params, struct oauth_key **ret, struct err *err)
{
	static const struct {
		const char *key, *name;
	} numbers[] = {
		{"modulus", OSSL_PKEY_PARAM_RSA_N},    {"exponent", OSSL_PKEY_PARAM_RSA_E},
		{"d", OSSL_PKEY_PARAM_RSA_D},          {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
		{"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
		{"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"inverseQ", OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
	};
	BIGNUM *held[ARRAY_SIZE(numbers)] = {NULL};
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY *pkey = NULL;
	int r = builder == NULL ? err_set(err, ERR_INTERNAL, "no memory for the key's parameters") : 0;
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(numbers); i++)
		r = push_number(builder, params, numbers[i].key, numbers[i].name, &held[i], err);
	if (r >= 0)
		r = build_key(builder, &pkey, err);
	OSSL_PARAM_BLD_free(builder);
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		BN_clear_free(held[i]);
	return r < 0 ? r : wrap_key(pkey, ret, err);
}

int oauth_key_write_pem(const struct oauth_key *key, struct str *out, struct err *err)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	char *data = NULL;
	if (bio == NULL || PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) != 1) {
		BIO_free(bio);
		return ssl_error(err, ERR_INTERNAL, "write the runner's private key");
	}
	long len = BIO_get_mem_data(bio, &data);
	str_append_n(out, data, len > 0 ? (size_t)len : 0);
	BIO_free(bio);
	return out->failed ? err_set(err, ERR_LIMIT, "the runner's private key is too long") : 0;
}

static void append_number(struct str *out, const EVP_PKEY *pkey, const char *name)
{
	BIGNUM *number = NULL;
	unsigned char bytes[KEY_BYTES_MAX];
	if (EVP_PKEY_get_bn_param(pkey, name, &number) == 1 && BN_num_bytes(number) <= KEY_BYTES_MAX)
		base64_encode(bytes, (size_t)BN_bn2bin(number, bytes), out);
	BN_free(number);
}

char *oauth_key_public_xml(const struct oauth_key *key)
{
	_cleanup_(str_done) struct str out = STR_INIT(8192);
	str_append(&out, "<RSAKeyValue><Modulus>");
	append_number(&out, key->pkey, OSSL_PKEY_PARAM_RSA_N);
	str_append(&out, "</Modulus><Exponent>");
	append_number(&out, key->pkey, OSSL_PKEY_PARAM_RSA_E);
	str_append(&out, "</Exponent></RSAKeyValue>");
	return str_take(&out);
}

static json_t *element(const char *xml, const char *open, const char *close)
{
	const char *start = strstr(xml, open), *end = start == NULL ? NULL : strstr(start, close);
	return end == NULL ? NULL : json_stringn(start + strlen(open), (size_t)(end - start) - strlen(open));
}

json_t *oauth_public_numbers(const char *public_xml)
{
	_cleanup_json_ json_t *modulus = element(public_xml, "<Modulus>", "</Modulus>"),
			      *exponent = element(public_xml, "<Exponent>", "</Exponent>");
	return modulus == NULL || exponent == NULL ? NULL
	                                           : json_pack("{s:O, s:O}", "exponent", exponent, "modulus", modulus);
}

int oauth_key_decrypt(const struct oauth_key *key, const void *data, size_t len, bool sha256, struct str *out,
                      struct err *err)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key->pkey, NULL);
	const EVP_MD *digest = sha256 ? EVP_sha256() : EVP_sha1();
	unsigned char plain[KEY_BYTES_MAX];
	size_t size = sizeof(plain);
	bool fine = context != NULL && EVP_PKEY_get_size(key->pkey) <= KEY_BYTES_MAX &&
	            EVP_PKEY_decrypt_init(context) == 1 &&
	            EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
	            EVP_PKEY_CTX_set_rsa_oaep_md(context, digest) == 1 &&
	            EVP_PKEY_CTX_set_rsa_mgf1_md(context, digest) == 1 &&
	            EVP_PKEY_decrypt(context, plain, &size, data, len) == 1;
	EVP_PKEY_CTX_free(context);
	if (fine)
		str_append_n(out, plain, size);
	explicit_bzero(plain, sizeof(plain));
	return fine ? 0 : ssl_error(err, ERR_AUTH, "decrypt with the runner's key");
}

void oauth_key_free(struct oauth_key *key)
{
	if (key == NULL)
		return;
	EVP_PKEY_free(key->pkey);
	free(key);
}

void oauth_key_freep(struct oauth_key **key)
{
	oauth_key_free(*key);
	*key = NULL;
}

static int sign(const struct oauth_key *key, bool pss, const char *data, size_t len, struct str *out, struct err *err)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *padding = NULL;
	unsigned char signature[KEY_BYTES_MAX * 2];
	size_t size = sizeof(signature);
	bool fine = context != NULL && EVP_DigestSignInit(context, &padding, EVP_sha256(), NULL, key->pkey) == 1;
	if (fine && pss)
		fine = EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING) == 1 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(padding, 32) == 1;
	fine = fine && EVP_DigestSign(context, signature, &size, (const unsigned char *)data, len) == 1;
	EVP_MD_CTX_free(context);
	if (!fine)
		return ssl_error(err, ERR_INTERNAL, "sign the token request");
	base64_encode_url(signature, size, out);
	return 0;
}

/* Header and claims: compact JSON. */
static int make_jwt(const struct oauth_key *key, bool pss, const json_t *claims, struct str *out, struct err *err)
{
	_cleanup_json_ json_t *header = json_pack("{s:s, s:s}", "typ", "JWT", "alg", pss ? "PS256" : "RS256");
	_cleanup_free_ char *header_text = json_text(header), *claims_text = json_text(claims);
	str_clear(out);
	base64_encode_url(header_text, strlen(header_text), out);
	str_append_c(out, '.');
	base64_encode_url(claims_text, strlen(claims_text), out);
	_cleanup_(str_done) struct str signature = STR_INIT(8192);
	int r = sign(key, pss, str_peek(out), out->len, &signature, err);
	if (r < 0)
		return r;
	str_append_c(out, '.');
	str_append(out, str_peek(&signature));
	return out->failed ? err_set(err, ERR_LIMIT, "the signed assertion is too long") : 0;
}

int oauth_assertion(const struct oauth_key *key, const char *client_id, const char *audience, bool pss, int64_t wall_ms,
                    struct str *out, struct err *err)
{
	char id[37];
	rand_uuid4(id);
	json_int_t from = wall_ms / 1000 - CLOCK_ALLOWANCE_S;
	_cleanup_json_ json_t *claims =
		json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "sub", client_id, "jti", id, "iss", client_id, "aud",
	                  audience, "nbf", from, "exp", from + ASSERTION_LIFE_S);
	if (claims == NULL)
		return err_set(err, ERR_INVALID, "client id or authorization URL is not UTF-8");
	return make_jwt(key, pss, claims, out, err);
}

int oauth_app_assertion(const struct oauth_key *key, const char *app_id, int64_t wall_ms, struct str *out,
                        struct err *err)
{
	json_int_t from = wall_ms / 1000 - APP_ALLOWANCE_S;
	_cleanup_json_ json_t *claims =
		json_pack("{s:s, s:I, s:I}", "iss", app_id, "iat", from, "exp", from + APP_LIFE_S);
	if (claims == NULL)
		return err_set(err, ERR_INVALID, "the App's id is not UTF-8");
	return make_jwt(key, false, claims, out, err);
}

void oauth_form(const char *assertion, struct str *out)
{
	str_append(out, "grant_type=client_credentials&client_assertion_type=");
	wire_escape(out, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
	str_append(out, "&client_assertion=");
	wire_escape(out, assertion);
}

static enum oauth_result read_token(const json_t *answer, char **ret_token, int64_t *ret_life_ms, struct err *err)
{
	const char *token = wire_string(answer, "access_token");
	if (token == NULL || *token == '\0' || strlen(token) > TOKEN_MAX || strpbrk(token, "\r\n") != NULL) {
		err_set(err, ERR_PROTOCOL, "the token service's answer has no access_token");
		return OAUTH_UNAVAILABLE;
	}
	int64_t life = wire_int(answer, "expires_in", 0);
	*ret_token = xstrdup(token);
	*ret_life_ms = life > 0 && life < INT32_MAX ? life * 1000 : 0;
	return OAUTH_OK;
}

/* The answer may quote the request: only error and description are shown, and the description is bounded. */
static enum oauth_result read_refusal(const struct http_response *response, const json_t *answer, struct err *err)
{
	const char *error = wire_string(answer, "error"), *text = wire_string(answer, "error_description");
	if (error == NULL) {
		wire_status_error(response, "the token service refused", err);
		return response->status == 429 || response->status >= 500 ? OAUTH_UNAVAILABLE : OAUTH_REFUSED;
	}
	err_set(err, ERR_AUTH, "the token service refused (%.60s): %.300s", error, text ? text : "no reason given");
	if (text != NULL && strstr(text, "Current server time is") != NULL) {
		err_hint(err, ERR_AUTH, "set this machine's clock; it differs by more than five minutes");
		return OAUTH_CLOCK;
	}
	if (strcasecmp(error, "invalid_client") == 0) {
		err_hint(err, ERR_AUTH, "the registration was deleted on the server; configure the agent again");
		return OAUTH_GONE;
	}
	return response->status >= 500 ? OAUTH_UNAVAILABLE : OAUTH_REFUSED;
}

enum oauth_result oauth_read_answer(const struct http_response *response, char **ret_token, int64_t *ret_life_ms,
                                    struct err *err)
{
	_cleanup_json_ json_t *answer = NULL;
	bool success = response->status >= 200 && response->status < 300;
	struct err inner = ERR_INIT;
	if (wire_read_object(response, &answer, &inner) < 0) {
		if (success) {
			err_set(err, ERR_PROTOCOL, "the token service's answer is not a JSON object");
			return OAUTH_UNAVAILABLE;
		}
		return read_refusal(response, NULL, err);
	}
	return success ? read_token(answer, ret_token, ret_life_ms, err) : read_refusal(response, answer, err);
}
