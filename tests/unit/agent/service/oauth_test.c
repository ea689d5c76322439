#include "unit/cmocka_all.h"
#include "base/secret/base64.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "agent/service/oauth.h"
#include "agent/service/registration.h"
#include "base/secret/digest.h"

static struct oauth_key *key;

static int make_key(void **state)
{
	(void)state;
	return oauth_key_make(&key, NULL);
}

static int free_key(void **state)
{
	(void)state;
	oauth_key_freep(&key);
	return 0;
}

/* An independent reader of the key: through its PEM. */
static EVP_PKEY *same_key(void)
{
	struct str pem = STR_SECRET_INIT(1 << 16);
	assert_int_equal(oauth_key_write_pem(key, &pem, NULL), 0);
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	BIO_free(bio);
	str_done(&pem);
	assert_non_null(pkey);
	return pkey;
}

static json_t *decode_part(const char *text, size_t len)
{
	struct str plain = STR_INIT(1 << 16);
	json_t *value = NULL;
	assert_int_equal(base64_decode(text, len, &plain, NULL), 0);
	assert_int_equal(json_parse(plain.data, plain.len, 1 << 16, &value, NULL), 0);
	str_done(&plain);
	return value;
}

static void check_signature(const char *jwt, bool pss)
{
	const char *dot = strrchr(jwt, '.');
	struct str signature = STR_INIT(1 << 16);
	assert_int_equal(base64_decode(dot + 1, strlen(dot + 1), &signature, NULL), 0);
	EVP_PKEY *pkey = same_key();
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *padding = NULL;
	assert_int_equal(EVP_DigestVerifyInit(context, &padding, EVP_sha256(), NULL, pkey), 1);
	if (pss) {
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PSS_PADDING), 1);
		assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(padding, 32), 1);
	}
	assert_int_equal(EVP_DigestVerify(context, (const unsigned char *)signature.data, signature.len,
	                                  (const unsigned char *)jwt, (size_t)(dot - jwt)),
	                 1);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(pkey);
	str_done(&signature);
}

static void check_assertion(bool pss)
{
	struct str jwt = STR_SECRET_INIT(1 << 16);
	assert_int_equal(oauth_assertion(key, "client-1", "https://tokens.example/x", pss, 1700000000123, &jwt, NULL),
	                 0);
	const char *first = strchr(jwt.data, '.');
	json_t *header = decode_part(jwt.data, (size_t)(first - jwt.data));
	json_t *claims = decode_part(first + 1, (size_t)(strrchr(jwt.data, '.') - first - 1));
	assert_string_equal(json_get_string(header, "alg"), pss ? "PS256" : "RS256");
	assert_string_equal(json_get_string(claims, "sub"), "client-1");
	assert_string_equal(json_get_string(claims, "iss"), "client-1");
	assert_string_equal(json_get_string(claims, "aud"), "https://tokens.example/x");
	assert_int_equal(json_get_int(claims, "nbf", 0), 1700000000 - 30);
	assert_int_equal(json_get_int(claims, "exp", 0), 1700000000 - 30 + 300);
	assert_int_equal(strlen(json_get_string(claims, "jti")), 36);
	assert_null(strchr(jwt.data, '='));
	json_decref(header);
	json_decref(claims);
	check_signature(jwt.data, pss);
	str_done(&jwt);
}

static void an_assertion_is_signed_with_pss_where_the_registration_says_so(void **state)
{
	(void)state;
	check_assertion(true);
}

static void an_assertion_is_signed_with_pkcs1_otherwise(void **state)
{
	(void)state;
	check_assertion(false);
}

static void the_public_key_has_the_form_that_github_reads(void **state)
{
	(void)state;
	char *text = oauth_key_public_xml(key);
	assert_true(str_starts(text, "<RSAKeyValue><Modulus>"));
	assert_true(str_ends(text, "</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>"));
	free(text);
}

static struct http_response answer(int status, const char *body)
{
	struct http_response r = {.status = status, .body = STR_INIT(1 << 16)};
	str_append(&r.body, body);
	return r;
}

static void the_token_service_is_understood(void **state)
{
	(void)state;
	static const struct {
		int status;
		const char *body;
		enum oauth_result result;
	} rows[] = {
		{200, "{\"access_token\":\"abc\",\"token_type\":\"JWT\",\"expires_in\":3000}", OAUTH_OK},
		{200, "\xef\xbb\xbf{\"Access_Token\":\"abc\",\"expires_in\":\"3000\"}", OAUTH_OK},
		{200, "{}", OAUTH_UNAVAILABLE},
		{200, "<html>", OAUTH_UNAVAILABLE},
		{200, "{\"access_token\":\"a\\r\\nX-Evil: 1\"}", OAUTH_UNAVAILABLE},
		{400, "{\"error\":\"invalid_client\",\"error_description\":\"gone\"}", OAUTH_GONE},
		{400, "{\"error\":\"invalid_grant\",\"error_description\":\"x. Current server time is 12:00\"}",
	         OAUTH_CLOCK},
		{400, "{\"error\":\"unauthorized_client\"}", OAUTH_REFUSED},
		{404, "", OAUTH_REFUSED},
		{503, "busy", OAUTH_UNAVAILABLE},
		{429, "", OAUTH_UNAVAILABLE},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_response r = answer(rows[i].status, rows[i].body);
		char *token = NULL;
		int64_t life = 0;
		struct err err = ERR_INIT;
		enum oauth_result result = oauth_read_answer(&r, &token, &life, &err);
		if (result != rows[i].result)
			fail_msg("row %zu: %d", i, (int)result);
		if (result == OAUTH_OK) {
			assert_string_equal(token, "abc");
			assert_int_equal(life, 3000000);
		} else {
			assert_true(err.code < 0);
		}
		free(token);
		http_response_done(&r);
	}
}

/* ---- Just-in-time configurations. */

static json_t *number(const EVP_PKEY *pkey, const char *name)
{
	BIGNUM *n = NULL;
	unsigned char bytes[512];
	struct str text = STR_INIT(1024);
	assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &n), 1);
	base64_encode(bytes, (size_t)BN_bn2bin(n, bytes), &text);
	BN_free(n);
	json_t *value = json_string(text.data);
	str_done(&text);
	return value;
}

static json_t *key_params(void)
{
	static const struct {
		const char *key, *name;
	} rows[] = {
		{"modulus", OSSL_PKEY_PARAM_RSA_N},    {"Exponent", OSSL_PKEY_PARAM_RSA_E},
		{"d", OSSL_PKEY_PARAM_RSA_D},          {"P", OSSL_PKEY_PARAM_RSA_FACTOR1},
		{"q", OSSL_PKEY_PARAM_RSA_FACTOR2},    {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
		{"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"inverseQ", OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
	};
	EVP_PKEY *pkey = same_key();
	json_t *params = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		json_object_set_new(params, rows[i].key, number(pkey, rows[i].name));
	EVP_PKEY_free(pkey);
	return params;
}

static json_t *encoded(json_t *value)
{
	struct str text = STR_INIT(1 << 20);
	char *plain = json_text(value);
	char *with_mark = xasprintf("\xef\xbb\xbf%s", plain);
	base64_encode(with_mark, strlen(with_mark), &text);
	free(plain);
	free(with_mark);
	json_decref(value);
	json_t *result = json_string(text.data);
	str_done(&text);
	return result;
}

static char *jit_text(json_t *files)
{
	json_t *whole = encoded(files);
	char *text = xstrdup(json_string_value(whole));
	json_decref(whole);
	return text;
}

static json_t *runner_file(void)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "AgentId", "12", "AgentName", "jit-1", "PoolId",
	                 "1", "ServerUrl", "https://tenant.example/", "ServerUrlV2", "https://broker.example/",
	                 "UseV2Flow", "True", "Ephemeral", "True", "WorkFolder", "_work");
}

static json_t *credentials_file(void)
{
	return json_pack("{s:s, s:{s:s, s:s, s:s}}", "Scheme", "OAuth", "Data", "ClientId", "c-1", "AuthorizationUrl",
	                 "https://tokens.example/", "RequireFipsCryptography", "True");
}

static void a_just_in_time_configuration_is_read_with_texts_for_numbers(void **state)
{
	(void)state;
	json_t *files = json_object();
	json_object_set_new(files, ".runner", encoded(runner_file()));
	json_object_set_new(files, ".credentials", encoded(credentials_file()));
	json_object_set_new(files, ".credentials_rsaparams", encoded(key_params()));
	char *text = jit_text(files);
	struct registration r = {0};
	struct str pem = STR_SECRET_INIT(1 << 16);
	struct err err = ERR_INIT;
	int code = registration_from_jit(text, &r, &pem, &err);
	free(text);
	assert_int_equal(code, 0);
	assert_int_equal(r.id, 12);
	assert_string_equal(r.name, "jit-1");
	assert_string_equal(r.broker_url, "https://broker.example/");
	assert_true(r.ephemeral);
	assert_true(r.pss);
	assert_null(r.url);
	struct oauth_key *again = NULL;
	assert_int_equal(oauth_key_read_pem(pem.data, pem.len, &again, NULL), 0);
	char *one = oauth_key_public_xml(key), *two = oauth_key_public_xml(again);
	assert_string_equal(one, two);
	free(one);
	free(two);
	oauth_key_free(again);
	str_done(&pem);
	registration_done(&r);
}

static void a_just_in_time_configuration_without_a_broker_listens_at_the_older_queue(void **state)
{
	(void)state;
	json_t *files = json_object(), *runner = runner_file();
	json_object_del(runner, "UseV2Flow");
	json_object_set_new(files, ".runner", encoded(runner));
	json_object_set_new(files, ".credentials", encoded(credentials_file()));
	json_object_set_new(files, ".credentials_rsaparams", encoded(key_params()));
	char *text = jit_text(files);
	struct registration r = {0};
	struct str pem = STR_SECRET_INIT(1 << 16);
	assert_int_equal(registration_from_jit(text, &r, &pem, NULL), 0);
	assert_null(r.broker_url);
	assert_string_equal(r.server_url, "https://tenant.example/");
	free(text);
	str_done(&pem);
	registration_done(&r);
}

static void refuse_jit(char *text, const char *says)
{
	struct registration r = {0};
	struct str pem = STR_SECRET_INIT(1 << 16);
	struct err err = ERR_INIT;
	char line[2048];
	assert_true(registration_from_jit(text, &r, &pem, &err) < 0);
	if (strstr(err_line(&err, line, sizeof(line)), says) == NULL)
		fail_msg("'%s' does not say '%s'", line, says);
	str_done(&pem);
	free(text);
}

static void a_broken_just_in_time_configuration_is_refused_with_its_place(void **state)
{
	(void)state;
	refuse_jit(xstrdup("!!!"), "not base64");
	refuse_jit(xstrdup("aGVsbG8="), "no JSON object");
	refuse_jit(jit_text(json_pack("{s:s}", "../x", "aGVsbG8=")), "../x");
	refuse_jit(jit_text(json_pack("{s:s}", "a/b", "aGVsbG8=")), "a/b");
	refuse_jit(jit_text(json_object()), ".runner is missing");
	json_t *nowhere = runner_file();
	json_object_del(nowhere, "ServerUrlV2");
	refuse_jit(jit_text(json_pack("{s:o, s:o, s:o}", ".runner", encoded(nowhere), ".credentials",
	                              encoded(credentials_file()), ".credentials_rsaparams", encoded(key_params()))),
	           ".runner has no serverUrlV2");
	nowhere = runner_file();
	json_object_del(nowhere, "UseV2Flow");
	json_object_del(nowhere, "ServerUrl");
	refuse_jit(jit_text(json_pack("{s:o, s:o, s:o}", ".runner", encoded(nowhere), ".credentials",
	                              encoded(credentials_file()), ".credentials_rsaparams", encoded(key_params()))),
	           ".runner has no serverUrl");
	json_t *params = key_params();
	json_object_del(params, "d");
	refuse_jit(jit_text(json_pack("{s:o, s:o, s:o}", ".runner", encoded(runner_file()), ".credentials",
	                              encoded(credentials_file()), ".credentials_rsaparams", encoded(params))),
	           "'d'");
}

static void a_key_that_is_too_short_is_refused(void **state)
{
	(void)state;
	EVP_PKEY *small = EVP_RSA_gen(1024);
	BIO *bio = BIO_new(BIO_s_mem());
	char *data = NULL;
	struct oauth_key *read = NULL;
	PEM_write_bio_PKCS8PrivateKey(bio, small, NULL, NULL, 0, NULL, NULL);
	long len = BIO_get_mem_data(bio, &data);
	assert_int_equal(oauth_key_read_pem(data, (size_t)len, &read, NULL), ERR_INVALID);
	BIO_free(bio);
	EVP_PKEY_free(small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_assertion_is_signed_with_pss_where_the_registration_says_so),
		cmocka_unit_test(an_assertion_is_signed_with_pkcs1_otherwise),
		cmocka_unit_test(the_public_key_has_the_form_that_github_reads),
		cmocka_unit_test(the_token_service_is_understood),
		cmocka_unit_test(a_just_in_time_configuration_is_read_with_texts_for_numbers),
		cmocka_unit_test(a_just_in_time_configuration_without_a_broker_listens_at_the_older_queue),
		cmocka_unit_test(a_broken_just_in_time_configuration_is_refused_with_its_place),
		cmocka_unit_test(a_key_that_is_too_short_is_refused),
	};
	return cmocka_run_group_tests(tests, make_key, free_key);
}
