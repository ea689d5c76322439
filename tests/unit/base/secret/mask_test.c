#include "unit/cmocka_all.h"
#include "base/secret/leaves.h"
#include "base/core/shown.h"

#include <stdio.h>
#include <string.h>

static const char *masked(const struct mask *m, const char *text)
{
	static char result[4096];
	_cleanup_(str_done) struct str out = STR_INIT(sizeof(result) - 1);
	mask_apply(m, text, strlen(text), &out);
	assert_false(out.failed);
	snprintf(result, sizeof(result), "%s", str_peek(&out));
	return result;
}

static struct mask *mask_of(const char *value)
{
	struct mask *m = mask_new();
	mask_add(m, value, strlen(value));
	return m;
}

static void a_secret_is_covered_wherever_it_stands(void **state)
{
	(void)state;
	_cleanup_(mask_freep) struct mask *m = mask_of("s3cr3t-value");
	assert_string_equal(masked(m, "xs3cr3t-values3cr3t-valuey"), "x***y");
	assert_string_equal(masked(m, "S3CR3T-VALUE"), "S3CR3T-VALUE");
	assert_string_equal(masked(m, "s3cr3t-valu"), "s3cr3t-valu");
	assert_string_equal(masked(m, "s3cr3t-value"), "***");
	assert_string_equal(masked(m, ""), "");
}

static void base64_of_a_prefix_and_the_secret_is_covered_at_all_offsets(void **state)
{
	(void)state;
	_cleanup_(mask_freep) struct mask *m = mask_of("s3cr3t-value");
	assert_string_equal(masked(m, "YWI6czNjcjN0LXZhbHVl"), "YWI6***");
	assert_string_equal(masked(m, "dXNlcjpzM2NyM3QtdmFsdWU="), "dXNlcjpz***");
}

static void the_forms_that_dumps_and_echo_give_a_secret_are_covered(void **state)
{
	(void)state;
	_cleanup_(mask_freep) struct mask *m = mask_of("s3cr3t-value");
	assert_string_equal(masked(m, "[czNjcjN0LXZhbHVlCg==]"), "[***]");
	assert_string_equal(masked(m, "[7333637233742d76616c7565]"), "[***]");
	assert_string_equal(masked(m, "[7333637233742D76616C7565]"), "[***]");
}

static void a_line_of_three_letters_is_covered_with_its_whole_value_only(void **state)
{
	(void)state;
	_cleanup_(mask_freep) struct mask *m = mask_of("a\nb\n\nxyz\n\xc3\xa4\xc3\xb6\xc3\xbc\nfour");
	assert_true(mask_has_short_lines(m));
	assert_string_equal(masked(m, "a bad xyz, four of them"), "a bad xyz, *** of them");
	assert_string_equal(masked(m, "\xc3\xa4\xc3\xb6\xc3\xbc"), "\xc3\xa4\xc3\xb6\xc3\xbc");
	assert_string_equal(masked(m, "[a\nb\n\nxyz\n\xc3\xa4\xc3\xb6\xc3\xbc\nfour]"), "[***]");
	assert_string_equal(masked(m, "[a\\nb\\n\\nxyz\\n\xc3\xa4\xc3\xb6\xc3\xbc\\nfour]"), "[***]");
	_cleanup_(mask_freep) struct mask *letter = mask_of("a");
	assert_string_equal(masked(letter, "bad"), "b***d");
	assert_false(mask_has_short_lines(letter));
}

static void a_text_is_cut_beside_a_secret_and_never_through_it(void **state)
{
	(void)state;
	static const char secret[] = "0123456789abcdefghij";
	_cleanup_(mask_freep) struct mask *m = mask_of(secret);
	for (size_t before = 0; before < 400; before++) {
		char text[600];
		memset(text, 'x', sizeof(text));
		memcpy(text + before, secret, sizeof(secret) - 1);
		size_t cut = mask_cut(m, text, 300);
		assert_in_range(cut, 1, 300);
		assert_false(cut > before && cut < before + sizeof(secret) - 1);
	}
	assert_int_equal(mask_cut(m, "0123", 4), 0);
}

static void what_is_shown_is_masked_before_it_is_cut(void **state)
{
	(void)state;
	mask_add(mask_process(), "a-long-secret-that-is-cut", 25);
	_cleanup_free_ char *shown = shown_text("key a-long-secret-that-is-cut end", 33, 12),
			    *whole = shown_text("a-long-secret-that-is-cut", 25, 10),
			    *characters = shown_text("ääääää", 12, 8);
	assert_string_equal(shown, "key *** end");
	assert_string_equal(whole, "***");
	assert_string_equal(characters, "ää…");
}

static void lines_and_escaped_forms_are_covered(void **state)
{
	(void)state;
	_cleanup_(mask_freep) struct mask *m = mask_of("  first \"line\"\r\n  second&<line>\n\nthird'line \n");
	assert_string_equal(masked(m, "a first \"line\" b"), "a *** b");
	assert_string_equal(masked(m, "[second&<line>]"), "[***]");
	assert_string_equal(masked(m, "[second&amp;&lt;line&gt;]"), "[***]");
	assert_string_equal(masked(m, "[first%20%22line%22]"), "[***]");
	assert_string_equal(masked(m, "[first \\\"line\\\"]"), "[***]");
	assert_string_equal(masked(m, "[third''line]"), "[***]");
	assert_string_equal(masked(m, "{\"k\":\"first \\\"line\\\"\\r\\n  second&<line>\\n\\nthird'line\"}"),
	                    "{\"k\":\"***\"}");
}

static void short_secrets_have_no_minimum_length(void **state)
{
	(void)state;
	_cleanup_(mask_freep) struct mask *m = mask_new();
	mask_add_plain(m, "x", 1);
	mask_add_plain(m, "abc", 3);
	mask_add_plain(m, "bcde", 4);
	mask_add_plain(m, "cdxyz", 5);
	assert_string_equal(masked(m, "axb"), "a***b");
	assert_string_equal(masked(m, "-abcde-"), "-***-");
	assert_string_equal(masked(m, "abcdxyz!"), "***!");
	assert_string_equal(masked(m, "bcd ab cdxy"), "bcd ab cd***y");
}

static void blank_values_are_ignored(void **state)
{
	(void)state;
	_cleanup_(mask_freep) struct mask *m = mask_new();
	mask_add(m, "", 0);
	mask_add(m, " \r\n\t", 4);
	assert_true(mask_is_empty(m));
	assert_false(mask_finds(m, "anything", 8));
}

static void a_value_added_later_is_covered_from_then_on(void **state)
{
	(void)state;
	_cleanup_(mask_freep) struct mask *m = mask_of("first-value");
	assert_string_equal(masked(m, "first-value late-value"), "*** late-value");
	mask_add(m, "late-value", 10);
	assert_string_equal(masked(m, "first-value late-value"), "*** ***");
	assert_true(mask_finds(m, "a late-value", 12));
}

static void patterns_of_tokens_are_covered(void **state)
{
	(void)state;
	_cleanup_(mask_freep) struct mask *m = mask_new();
	struct err err = ERR_INIT;
	assert_int_equal(mask_add_pattern(m, "\\bgh[pousr]_[A-Za-z0-9]{4,}\\b", &err), 0);
	assert_string_equal(masked(m, "token ghs_abcd1234 \xff ghp_x"), "token *** \xff ghp_x");
	assert_int_equal(mask_add_pattern(m, "(", &err), ERR_INVALID);
}

/* The definition, slowly: every occurrence of every pattern, overlapping and touching ones as one. */
static void reference(const char *const *patterns, size_t count, const char *text, size_t len, char *out)
{
	bool covered[256] = {false};
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(patterns[i]);
		for (size_t at = 0; at + n <= len; at++) {
			if (memcmp(text + at, patterns[i], n) != 0)
				continue;
			for (size_t k = 0; k < n; k++)
				covered[at + k] = true;
		}
	}
	for (size_t at = 0; at < len;) {
		if (!covered[at]) {
			*out++ = text[at++];
			continue;
		}
		while (at < len && covered[at])
			at++;
		memcpy(out, "***", 3);
		out += 3;
	}
	*out = '\0';
}

static void random_texts_agree_with_the_definition(void **state)
{
	(void)state;
	uint64_t seed = 88172645463325252u;
	for (int round = 0; round < 20000; round++) {
		char patterns[6][16], text[120], want[512];
		const char *list[6];
		_cleanup_(mask_freep) struct mask *m = mask_new();
		for (size_t i = 0; i < 6; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			size_t n = 1 + seed % 12;
			for (size_t k = 0; k < n; k++)
				patterns[i][k] = (char)('a' + (seed >> (8 + 3 * k)) % 3);
			patterns[i][n] = '\0';
			list[i] = patterns[i];
			if (n < 4 && round % 2 == 0)
				memcpy(patterns[i], "zzz", 4);
			mask_add_plain(m, patterns[i], strlen(patterns[i]));
		}
		for (size_t k = 0; k < sizeof(text); k++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			text[k] = (char)('a' + seed % 3);
		}
		reference(list, 6, text, sizeof(text), want);
		_cleanup_(str_done) struct str out = STR_INIT(1024);
		mask_apply(m, text, sizeof(text), &out);
		assert_string_equal(str_peek(&out), want);
	}
}

/* What a text of lines becomes when each of its lines is given alone. */
static void mask_line_by_line(const struct mask *m, const char *text, struct str *out)
{
	for (const char *p = text, *end; *p != '\0'; p = end + 1) {
		end = strchr(p, '\n');
		mask_apply(m, p, (size_t)(end - p), out);
		str_append_c(out, '\n');
	}
}

static void assert_lines_as_each_alone(const struct mask *m, const char *text)
{
	_cleanup_(str_done) struct str together = STR_INIT(4096), alone = STR_INIT(4096);
	mask_line_by_line(m, text, &alone);
	if (!mask_apply_lines(m, text, strlen(text), &together))
		str_append(&together, text);
	assert_string_equal(str_peek(&together), str_peek(&alone));
}

static void lines_given_together_are_covered_as_each_alone(void **state)
{
	(void)state;
	static const char letters[] = "aaaabb\n";
	unsigned seed = 7;
	for (int round = 0; round < 3000; round++) {
		_cleanup_(mask_freep) struct mask *m = mask_new();
		char text[200];
		for (int i = 0; i < 6; i++) {
			size_t len = 1 + (size_t)rand_r(&seed) % (round % 2 == 0 ? 12 : 9);
			for (size_t k = 0; k < len; k++)
				text[k] = letters[rand_r(&seed) % (int)(sizeof(letters) - 1)];
			mask_add_plain(m, text, len);
		}
		for (size_t k = 0; k < sizeof(text) - 2; k++)
			text[k] = letters[rand_r(&seed) % (int)(sizeof(letters) - 1)];
		memcpy(text + sizeof(text) - 2, "\n", 2);
		assert_lines_as_each_alone(m, text);
	}
}

static void an_expression_sees_each_line_by_itself(void **state)
{
	(void)state;
	static const char *const expressions[] = {
		"\\bgh[psoura]_[A-Za-z0-9]{4}\\b", "^ab+", "b+$", "a\\s+b", "(?<!x)ba", "[^x]gh"};
	for (size_t i = 0; i < ARRAY_SIZE(expressions); i++) {
		_cleanup_(mask_freep) struct mask *m = mask_new();
		assert_int_equal(mask_add_pattern(m, expressions[i], NULL), 0);
		assert_lines_as_each_alone(
			m, "ghp_1234\nxghp_1234 ghs_abcd\nab\nbab\na\nb\nghp_12345 gho_zzzz\n\nxba ba\n");
	}
}

static void values_in_a_document_are_covered_unless_they_are_short(void **state)
{
	(void)state;
	static const char *const documents[] = {
		"{\"a\":\"inner-leaf-1\",\"b\":[{\"c\":\"deep\\tleaf-2\"},12345678],\"type\":\"root\",\"on\":true}",
		"a: inner-leaf-1\nb:\n  - c: \"deep\\tleaf-2\"\n  - 12345678\ntype: root\non: true\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		_cleanup_(mask_freep) struct mask *m = mask_new();
		mask_add_leaves(m, documents[i], strlen(documents[i]));
		assert_string_equal(masked(m, "xinner-leaf-1 deep\tleaf-2 deep\\tleaf-2 12345678 root true"),
		                    "x*** *** *** *** root true");
	}
	_cleanup_(mask_freep) struct mask *targets = mask_new();
	static const char document[] =
		"{\"web\":{\"ssh\":{\"host\":\"shop.example\",\"password\":[\"long-enough\"],\"host_key\":"
		"\"SHA256:abcdef\"}}}";
	mask_add_leaves(targets, document, strlen(document));
	assert_string_equal(masked(targets, "shop.example long-enough SHA256:abcdef"), "*** *** ***");
	assert_false(mask_finds(targets, "http://shop.example/health SHA256:abcdef", 40));
	assert_true(mask_finds(targets, "http://u:long-enough@x", 22));
	static const char *const plain[] = {"correct horse battery", "-----BEGIN KEY-----\nabcdefgh\n",
	                                    "{\"a\": \"unclosed", "[", ""};
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		_cleanup_(mask_freep) struct mask *m = mask_new();
		mask_add_leaves(m, plain[i], strlen(plain[i]));
		assert_string_equal(masked(m, "horse battery abcdefgh unclosed"), "horse battery abcdefgh unclosed");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_secret_is_covered_wherever_it_stands),
		cmocka_unit_test(base64_of_a_prefix_and_the_secret_is_covered_at_all_offsets),
		cmocka_unit_test(the_forms_that_dumps_and_echo_give_a_secret_are_covered),
		cmocka_unit_test(a_text_is_cut_beside_a_secret_and_never_through_it),
		cmocka_unit_test(what_is_shown_is_masked_before_it_is_cut),
		cmocka_unit_test(lines_and_escaped_forms_are_covered),
		cmocka_unit_test(a_line_of_three_letters_is_covered_with_its_whole_value_only),
		cmocka_unit_test(short_secrets_have_no_minimum_length),
		cmocka_unit_test(blank_values_are_ignored),
		cmocka_unit_test(a_value_added_later_is_covered_from_then_on),
		cmocka_unit_test(patterns_of_tokens_are_covered),
		cmocka_unit_test(random_texts_agree_with_the_definition),
		cmocka_unit_test(lines_given_together_are_covered_as_each_alone),
		cmocka_unit_test(an_expression_sees_each_line_by_itself),
		cmocka_unit_test(values_in_a_document_are_covered_unless_they_are_short),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
