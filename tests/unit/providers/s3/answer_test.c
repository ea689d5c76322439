#include "unit/cmocka_all.h"
#include "providers/s3/answer.h"

static struct s3_text text(const char *xml)
{
	return (struct s3_text){xml, strlen(xml)};
}

static void entries_of_a_list_come_in_their_order(void **state)
{
	(void)state;
	const struct s3_text list = text(
		"<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Contents><Key>a&amp;b</Key>"
		"<Size>1</Size></Contents><Contents><Key>c&#x26;&#228;&lt;</Key></Contents><IsTruncated>false</IsTruncated>"
		"</ListBucketResult>");
	static const char *const wanted[] = {"a&b", "c&\xc3\xa4<"};
	struct s3_text one;
	size_t at = 0, count = 0;
	for (; s3_answer_next(list, "Contents", &at, &one); count++) {
		_cleanup_(str_done) struct str key = STR_INIT(100);
		assert_true(s3_answer_text(one, "Key", &key));
		assert_string_equal(str_peek(&key), wanted[count]);
	}
	assert_int_equal(count, 2);
}

static void what_does_not_end_or_is_too_long_is_none(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str out = STR_INIT(4), none = STR_INIT(4);
	assert_false(s3_answer_text(text("<Code>NoSuchKey</Code>"), "Code", &out));
	assert_false(s3_answer_text(text("<Code>abc"), "Code", &none));
	assert_false(s3_answer_text(text(""), "Code", &none));
	assert_false(s3_answer_text(text("<CodeX>abc</CodeX>"), "Code", &none));
	assert_int_equal(none.len, 0);
}

static void what_is_no_entity_stays_as_it_is(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str out = STR_INIT(200);
	assert_true(s3_answer_text(text("<K>&;&x;&#;&#0;&#x;&#-1;&#xd800;&#1114112;&</K>"), "K", &out));
	assert_string_equal(str_peek(&out), "&;&x;&#;&#0;&#x;&#-1;&#xd800;&#1114112;&");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_of_a_list_come_in_their_order),
		cmocka_unit_test(what_does_not_end_or_is_too_long_is_none),
		cmocka_unit_test(what_is_no_entity_stays_as_it_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
