/* The runner version that somebody signs: what is taken, and what is not. */
#include "unit/cmocka_all.h"
#include "agent/service/version.h"
#include "agent/service/wire.h"
#include "base/secret/base64.h"

#include <openssl/evp.h>
#include <stdlib.h>

static const struct ed25519_pair *pair_of(int seed)
{
	static struct ed25519_pair pair;
	size_t len = sizeof(pair.key);
	memset(pair.secret, seed, sizeof(pair.secret));
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, pair.secret, sizeof(pair.secret));
	assert_int_equal(EVP_PKEY_get_raw_public_key(key, pair.key, &len), 1);
	EVP_PKEY_free(key);
	return &pair;
}

static void sign(const char *line, int seed, struct str *out)
{
	unsigned char signature[ED25519_SIGNATURE_SIZE];
	assert_int_equal(ed25519_sign(pair_of(seed), line, strlen(line), signature, NULL), 0);
	str_append(out, line);
	str_append_c(out, '\n');
	base64_encode(signature, sizeof(signature), out);
	str_append_c(out, '\n');
}

static int read_line(const char *line, struct signed_version *ret)
{
	_cleanup_(str_done) struct str text = STR_INIT(64 << 10);
	struct err err = ERR_INIT;
	sign(line, 1, &text);
	return version_read(str_peek(&text), text.len, pair_of(1)->key, ret, &err);
}

static void a_signed_document_is_read(void **state)
{
	(void)state;
	struct signed_version v;
	assert_int_equal(read_line("{\"davit\":\"runner-version\",\"serial\":7,\"version\":\"2.337.0\","
	                           "\"not_before\":\"1970-01-01T00:00:01Z\",\"new\":1}",
	                           &v),
	                 0);
	assert_string_equal(v.version, "2.337.0");
	assert_int_equal(v.serial, 7);
	assert_int_equal(v.not_before_ms, 1000);
	assert_int_equal(v.not_after_ms, 0);
}

static void what_is_signed_must_be_meant_for_this(void **state)
{
	static const char *const lines[] = {
		"",
		"2.337.0",
		"[]",
		"{\"serial\":7,\"version\":\"2.337.0\"}",
		"{\"davit\":\"else\",\"serial\":7,\"version\":\"2.337.0\"}",
		"{\"davit\":\"runner-version\",\"serial\":0,\"version\":\"2.337.0\"}",
		"{\"davit\":\"runner-version\",\"serial\":\"7\",\"version\":\"2.337.0\"}",
		"{\"davit\":\"runner-version\",\"version\":\"2.337.0\"}",
		"{\"davit\":\"runner-version\",\"serial\":7}",
		"{\"davit\":\"runner-version\",\"serial\":7,\"version\":\"latest\"}",
		"{\"davit\":\"runner-version\",\"serial\":7,\"version\":\"2.337.0 x\"}",
		"{\"davit\":\"runner-version\",\"serial\":7,\"version\":\"2.337.0\",\"not_after\":\"soon\"}",
		"{\"davit\":\"runner-version\",\"serial\":7,\"version\":\"2.337.0\",\"not_before\":7}",
	};
	struct signed_version v;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_true(read_line(lines[i], &v) < 0);
}

static void a_bit_more_or_less_is_not_signed(void **state)
{
	static const char line[] = "{\"davit\":\"runner-version\",\"serial\":7,\"version\":\"2.337.0\"}";
	_cleanup_(str_done) struct str text = STR_INIT(64 << 10), other = STR_INIT(64 << 10);
	struct signed_version v;
	struct err err = ERR_INIT;
	(void)state;
	sign(line, 1, &text);
	/* Behind that: unused bits, padding and a line break of Base64. */
	for (size_t i = 0; i + 4 < text.len; i++) {
		_cleanup_free_ char *changed = xstrndup(str_peek(&text), text.len);
		changed[i] ^= 4;
		assert_true(version_read(changed, text.len, pair_of(1)->key, &v, &err) < 0);
		assert_true(version_read(str_peek(&text), i, pair_of(1)->key, &v, &err) < 0);
	}
	sign(line, 2, &other);
	assert_int_equal(version_read(str_peek(&other), other.len, pair_of(1)->key, &v, &err), ERR_AUTH);
	assert_int_equal(version_read(str_peek(&text), text.len, pair_of(1)->key, &v, &err), 0);
	while (text.len <= VERSION_DOCUMENT_MAX)
		str_append_c(&text, ' ');
	assert_int_equal(version_read(str_peek(&text), text.len, pair_of(1)->key, &v, &err), ERR_INVALID);
}

static void a_document_has_its_time(void **state)
{
	enum { MINUTE = 60000 };
	struct signed_version v = {.version = "2.337.0", .serial = 7};
	struct err err = ERR_INIT;
	(void)state;
	assert_int_equal(version_check_time(&v, 1000, &err), 0);
	v.not_before_ms = 100 * MINUTE;
	v.not_after_ms = 200 * MINUTE;
	assert_int_equal(version_check_time(&v, 89 * MINUTE, &err), ERR_INVALID);
	assert_int_equal(version_check_time(&v, 91 * MINUTE, &err), 0);
	assert_int_equal(version_check_time(&v, 209 * MINUTE, &err), 0);
	assert_int_equal(version_check_time(&v, 211 * MINUTE, &err), ERR_INVALID);
}

static void versions_are_compared_by_their_numbers(void **state)
{
	(void)state;
	assert_true(version_is_newer("2.1000.0", "2.336.9"));
	assert_true(version_is_newer("3.0.0", "2.336.9"));
	assert_true(version_is_newer("2.336.1", "2.336.0"));
	assert_false(version_is_newer("2.336.0", "2.336.0"));
	assert_false(version_is_newer("2.9.0", "2.336.0"));
	static const char *const none[] = {"",         "2",        "2.336",       "2.336.0.1",
	                                   "v2.336.0", "2.336.-1", "2.1234567.0", "2..0"};
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_false(version_is_one(none[i]));
	assert_false(version_is_one(NULL));
	assert_true(version_is_one(WIRE_RUNNER_VERSION));
}

static void what_the_services_are_told_is_a_version(void **state)
{
	(void)state;
	setenv(WIRE_VERSION_VARIABLE, "2.400.0\r\nX: y", 1);
	assert_string_equal(wire_runner_version(), WIRE_RUNNER_VERSION);
	setenv(WIRE_VERSION_VARIABLE, "2.400.0", 1);
	assert_string_equal(wire_runner_version(), "2.400.0");
	wire_set_runner_version("newest");
	wire_set_runner_version(NULL);
	assert_string_equal(wire_runner_version(), "2.400.0");
	wire_set_runner_version("2.401.0");
	assert_non_null(strstr(wire_user_agent(), "/2.401.0 davit/"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signed_document_is_read),
		cmocka_unit_test(what_is_signed_must_be_meant_for_this),
		cmocka_unit_test(a_bit_more_or_less_is_not_signed),
		cmocka_unit_test(a_document_has_its_time),
		cmocka_unit_test(versions_are_compared_by_their_numbers),
		cmocka_unit_test(what_the_services_are_told_is_a_version),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
