#include "unit/cmocka_all.h"
#include "engine/target/shell/line_delta.h"
#include <stdio.h>
#include <stdlib.h>

/* What the target does with the instructions. */
static void carry_out(const char *from, const struct str *delta, struct str *out)
{
	const char *p = str_peek(delta), *end = p + delta->len;

	while (p < end) {
		size_t start = 0, len = 0;
		int used = 0;
		if (*p == 'c') {
			assert_int_equal(sscanf(p, "c %zu %zu%n", &start, &len, &used), 2);
			str_append_n(out, from + start, len);
			p += used + 1;
		} else {
			assert_int_equal(sscanf(p, "d %zu%n", &len, &used), 1);
			p += used + 1;
			str_append_n(out, p, len);
			p += len;
		}
	}
}

static size_t check(const char *from, size_t from_len, const char *to, size_t to_len)
{
	_cleanup_(str_done) struct str delta = STR_INIT(1 << 24), out = STR_INIT(1 << 24);
	size_t fresh = line_delta(from, from_len, to, to_len, &delta);

	carry_out(from, &delta, &out);
	assert_int_equal(out.len, to_len);
	assert_memory_equal(str_peek(&out), to, to_len);
	return fresh;
}

static size_t check_text(const char *from, const char *to)
{
	return check(from, strlen(from), to, strlen(to));
}

static void lines_that_stay_are_copied(void **state)
{
	(void)state;
	assert_int_equal(check_text("head 1\na\nb\nc\n", "head 2\na\nb\nc\n"), strlen("head 2\n"));
	assert_int_equal(check_text("a\nb\nc\n", "a\nc\n"), 0);
	assert_int_equal(check_text("a\nb\n", "b\na\nb\na\n"), 0);
	assert_int_equal(check_text("a\nb", "a\nb\n"), strlen("b\n"));
	assert_int_equal(check_text("", "x\ny"), 3);
	assert_int_equal(check_text("x\n", ""), 0);
	assert_int_equal(check_text("same\nsame\nsame\n", "same\nsame\nother\nsame\n"), strlen("other\n"));
}

static void any_text_comes_out_of_any_other(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 300; round++) {
		_cleanup_(str_done) struct str a = STR_INIT(1 << 20), b = STR_INIT(1 << 20);
		for (int i = rand() % 200; i > 0; i--)
			str_appendf(&a, "%d%s", rand() % 50, rand() % 4 ? "\n" : "");
		for (int i = rand() % 200; i > 0; i--)
			str_appendf(&b, "%d%s", rand() % 50, rand() % 4 ? "\n" : "");
		check(str_peek(&a), a.len, str_peek(&b), b.len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_that_stay_are_copied),
		cmocka_unit_test(any_text_comes_out_of_any_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
