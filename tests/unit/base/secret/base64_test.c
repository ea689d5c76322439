#include "unit/cmocka_all.h"
#include "base/secret/base64.h"

static void base64_goes_there_and_back_for_every_rest(void **state)
{
	(void)state;
	const char *const pairs[][2] = {
		{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"\xff\xfe", "//4="},
	};
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		_cleanup_(str_done) struct str text = STR_INIT(100);
		_cleanup_(str_done) struct str back = STR_INIT(100);
		base64_encode(pairs[i][0], strlen(pairs[i][0]), &text);
		assert_string_equal(str_peek(&text), pairs[i][1]);
		assert_int_equal(base64_decode(str_peek(&text), text.len, &back, NULL), 0);
		assert_string_equal(str_peek(&back), pairs[i][0]);
		str_clear(&text);
		str_clear(&back);
		base64_encode_url(pairs[i][0], strlen(pairs[i][0]), &text);
		assert_int_equal(base64_decode(str_peek(&text), text.len, &back, NULL), 0);
		assert_string_equal(str_peek(&back), pairs[i][0]);
	}
}

static void what_is_no_base64_is_refused(void **state)
{
	(void)state;
	const char *const bad[] = {"Z", "Zg=", "Zg===", "Zh==", "Z!==", "Zg==Zg=="};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(str_done) struct str out = STR_INIT(100);
		assert_int_equal(base64_decode(bad[i], strlen(bad[i]), &out, NULL), ERR_INVALID);
	}
}

static void long_data_is_encoded_without_a_seam_and_the_url_form_without_its_signs(void **state)
{
	(void)state;
	char data[10000];
	memset(data, 0xfb, sizeof(data));
	_cleanup_(str_done) struct str plain = STR_INIT(20000);
	_cleanup_(str_done) struct str url = STR_INIT(20000);
	_cleanup_(str_done) struct str back = STR_INIT(20000);
	base64_encode(data, sizeof(data), &plain);
	assert_int_equal(plain.len, (sizeof(data) + 2) / 3 * 4);
	assert_non_null(strchr(plain.data, '+'));
	base64_encode_url(data, sizeof(data), &url);
	assert_int_equal(url.len, plain.len - 2);
	assert_int_equal(strcspn(url.data, "+/="), url.len);
	assert_int_equal(base64_decode(url.data, url.len, &back, NULL), 0);
	assert_int_equal(back.len, sizeof(data));
	assert_memory_equal(back.data, data, sizeof(data));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_goes_there_and_back_for_every_rest),
		cmocka_unit_test(what_is_no_base64_is_refused),
		cmocka_unit_test(long_data_is_encoded_without_a_seam_and_the_url_form_without_its_signs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
