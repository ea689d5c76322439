#include "unit/cmocka_all.h"
#include "base/secret/pieces.h"
#include "base/sys/fs.h"

#include <fcntl.h>

enum { SEALED_MAX = 64 << 20 };
static const char secret[] = "0123456789abcdef0123456789abcdef";
static const char name[] = "shop.test/20260131T102030-3fa94c/0-vault-0011223344556677";

static int keep(void *context, const void *data, size_t len, struct err *err)
{
	(void)err;
	assert_true(str_append_n(context, data, len));
	return 0;
}

struct taken {
	struct str all;
	uint64_t pieces;
	size_t largest;
};

static int take(void *context, uint64_t number, const void *data, size_t len, struct err *err)
{
	struct taken *t = context;
	assert_int_equal(number, t->pieces++);
	t->largest = MAX(t->largest, len);
	return keep(&t->all, data, len, err);
}

static struct pieces_key key_of(const char *text)
{
	struct pieces_key key = {0};
	assert_int_equal(pieces_key_read(text, &key, NULL), 0);
	return key;
}

/* A head of its own, then `len` bytes. */
static void seal(const char *text, const char *as, size_t len, struct str *out)
{
	struct pieces_writer *w _cleanup_(pieces_writer_freep) = NULL;
	struct pieces_key key = key_of(text);
	char part[1000];
	assert_int_equal(pieces_writer_new(&key, as, keep, out, &w, NULL), 0);
	assert_int_equal(pieces_write(w, "head", 4, NULL), 0);
	assert_int_equal(pieces_write_cut(w, NULL), 0);
	for (size_t at = 0; at < len; at += sizeof(part)) {
		for (size_t i = 0; i < sizeof(part); i++)
			part[i] = (char)(at / sizeof(part) + i);
		assert_int_equal(pieces_write(w, part, MIN(sizeof(part), len - at), NULL), 0);
	}
	assert_int_equal(pieces_write_end(w, NULL), 0);
}

static int open_sealed(const char *text, const char *as, const struct str *sealed, size_t step, struct taken *ret)
{
	struct pieces_reader *r _cleanup_(pieces_reader_freep) = NULL;
	struct pieces_key key = key_of(text);
	int e = pieces_reader_new(&key, as, take, ret, &r, NULL);
	for (size_t at = 0; e == 0 && at < sealed->len; at += step)
		e = pieces_read(r, sealed->data + at, MIN(step, sealed->len - at), NULL);
	return e < 0 ? e : pieces_read_end(r, NULL);
}

static int open_whole(const struct str *sealed)
{
	struct taken t = {.all = STR_INIT(SEALED_MAX)};
	int r = open_sealed(secret, name, sealed, 4096, &t);
	str_done(&t.all);
	return r;
}

static void what_was_sealed_comes_back_in_pieces_of_a_bounded_size(void **state)
{
	(void)state;
	static const size_t sizes[] = {0, 1, PIECES_SIZE - 1, PIECES_SIZE, PIECES_SIZE + 1, 2 * PIECES_SIZE};
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct str sealed _cleanup_(str_done) = STR_INIT(SEALED_MAX);
		struct taken t = {.all = STR_INIT(SEALED_MAX)};
		seal(secret, name, sizes[i], &sealed);
		assert_int_equal(open_sealed(secret, name, &sealed, i % 2 ? 10007 : 1 << 20, &t), 0);
		assert_int_equal(t.all.len, sizes[i] + 4);
		assert_memory_equal(t.all.data, "head", 4);
		for (size_t at = 0; at < sizes[i]; at += 4099)
			assert_int_equal(t.all.data[4 + at], (char)(at / 1000 + at % 1000));
		assert_true(t.largest <= PIECES_SIZE);
		assert_true(t.pieces >= 2);
		str_done(&t.all);
	}
}

static void a_byte_at_a_time_is_enough(void **state)
{
	(void)state;
	struct str sealed _cleanup_(str_done) = STR_INIT(SEALED_MAX);
	struct taken t = {.all = STR_INIT(SEALED_MAX)};
	seal(secret, name, 100, &sealed);
	assert_int_equal(open_sealed(secret, name, &sealed, 1, &t), 0);
	assert_int_equal(t.all.len, 104);
	str_done(&t.all);
}

static void each_byte_that_is_changed_is_found(void **state)
{
	(void)state;
	struct str sealed _cleanup_(str_done) = STR_INIT(SEALED_MAX);
	seal(secret, name, 100, &sealed);
	for (size_t i = 0; i < sealed.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			sealed.data[i] ^= (char)(1 << bit);
			assert_true(open_whole(&sealed) < 0);
			sealed.data[i] ^= (char)(1 << bit);
		}
	assert_int_equal(open_whole(&sealed), 0);
}

static void a_stream_that_is_cut_or_goes_on_is_found(void **state)
{
	(void)state;
	struct str sealed _cleanup_(str_done) = STR_INIT(SEALED_MAX);
	seal(secret, name, 100, &sealed);
	size_t whole = sealed.len;
	for (sealed.len = 0; sealed.len < whole; sealed.len++)
		assert_true(open_whole(&sealed) < 0);
	assert_int_equal(open_whole(&sealed), 0);
	str_append_c(&sealed, 0);
	assert_int_equal(open_whole(&sealed), ERR_AUTH);
}

/* The header, then three pieces: head, a full one, the rest. */
static void pieces_that_are_left_out_swapped_or_doubled_are_found(void **state)
{
	(void)state;
	struct str sealed _cleanup_(str_done) = STR_INIT(SEALED_MAX);
	seal(secret, name, 2 * PIECES_SIZE + 7, &sealed);
	const size_t head = PIECES_HEADER + 4 + PIECES_OVERHEAD, full = PIECES_SIZE + PIECES_OVERHEAD;
	struct str other _cleanup_(str_done) = STR_INIT(SEALED_MAX);
	assert_int_equal(sealed.len, head + 2 * full + 7 + PIECES_OVERHEAD);
	/* left out */
	str_append_n(&other, sealed.data, head);
	str_append_n(&other, sealed.data + head + full, sealed.len - head - full);
	assert_int_equal(open_whole(&other), ERR_AUTH);
	/* swapped */
	str_clear(&other);
	str_append_n(&other, sealed.data, head);
	str_append_n(&other, sealed.data + head + full, full);
	str_append_n(&other, sealed.data + head, full);
	str_append_n(&other, sealed.data + head + 2 * full, sealed.len - head - 2 * full);
	assert_int_equal(open_whole(&other), ERR_AUTH);
	/* twice */
	str_clear(&other);
	str_append_n(&other, sealed.data, head + full);
	str_append_n(&other, sealed.data + head, sealed.len - head);
	assert_int_equal(open_whole(&other), ERR_AUTH);
	/* the last one only */
	str_clear(&other);
	str_append_n(&other, sealed.data, PIECES_HEADER);
	str_append_n(&other, sealed.data + head + 2 * full, sealed.len - head - 2 * full);
	assert_int_equal(open_whole(&other), ERR_AUTH);
}

static void a_piece_or_the_whole_of_another_stream_is_found(void **state)
{
	(void)state;
	struct str sealed _cleanup_(str_done) = STR_INIT(SEALED_MAX), other _cleanup_(str_done) = STR_INIT(SEALED_MAX);
	struct taken t = {.all = STR_INIT(SEALED_MAX)};
	seal(secret, name, 100, &sealed);
	seal(secret, name, 100, &other);
	const size_t head = PIECES_HEADER + 4 + PIECES_OVERHEAD;
	memcpy(sealed.data + head, other.data + head, other.len - head);
	assert_int_equal(open_whole(&sealed), ERR_AUTH);
	assert_int_equal(
		open_sealed(secret, "shop.test/20260101T000000-000000/0-vault-0011223344556677", &other, 4096, &t),
		ERR_AUTH);
	str_done(&t.all);
}

static void another_key_is_said_to_be_one(void **state)
{
	(void)state;
	struct str sealed _cleanup_(str_done) = STR_INIT(SEALED_MAX);
	struct pieces_reader *r _cleanup_(pieces_reader_freep) = NULL;
	struct taken t = {.all = STR_INIT(SEALED_MAX)};
	struct pieces_key other = key_of("another key that nobody can guess");
	struct err err = ERR_INIT;
	seal(secret, name, 100, &sealed);
	assert_int_equal(pieces_reader_new(&other, name, take, &t, &r, &err), 0);
	assert_int_equal(pieces_read(r, sealed.data, sealed.len, &err), ERR_AUTH);
	assert_non_null(strstr(err.frames[0].text, "was sealed with the key"));
	assert_int_equal(t.pieces, 0);
	str_done(&t.all);
}

static void a_newer_format_is_refused_with_both_numbers(void **state)
{
	(void)state;
	struct str sealed _cleanup_(str_done) = STR_INIT(SEALED_MAX);
	struct pieces_reader *r _cleanup_(pieces_reader_freep) = NULL;
	struct taken t = {.all = STR_INIT(SEALED_MAX)};
	struct pieces_key key = key_of(secret);
	struct err err = ERR_INIT;
	seal(secret, name, 1, &sealed);
	sealed.data[9] = '2';
	assert_int_equal(pieces_reader_new(&key, name, take, &t, &r, &err), 0);
	assert_int_equal(pieces_read(r, sealed.data, sealed.len, &err), ERR_UNSUPPORTED);
	assert_non_null(strstr(err.frames[0].text, "format 2"));
	assert_non_null(strstr(err.frames[0].text, "format 1"));
	str_done(&t.all);
}

static void no_two_streams_have_the_same_bytes(void **state)
{
	(void)state;
	struct str a _cleanup_(str_done) = STR_INIT(SEALED_MAX), b _cleanup_(str_done) = STR_INIT(SEALED_MAX);
	seal(secret, name, 32, &a);
	seal(secret, name, 32, &b);
	assert_int_equal(a.len, b.len);
	assert_memory_not_equal(a.data + PIECES_HEADER - 32, b.data + PIECES_HEADER - 32, 32);
	assert_memory_not_equal(a.data + PIECES_HEADER + 4, b.data + PIECES_HEADER + 4, 4);
}

static void a_key_that_can_be_guessed_is_refused(void **state)
{
	(void)state;
	struct pieces_key key;
	assert_int_equal(pieces_key_read("", &key, NULL), ERR_INVALID);
	assert_int_equal(pieces_key_read("password", &key, NULL), ERR_INVALID);
	assert_int_equal(pieces_key_read("password            \n", &key, NULL), ERR_INVALID);
}

static void the_hosts_own_key_stays_the_same_and_a_newline_behind_it_is_none_of_it(void **state)
{
	(void)state;
	_cleanup_free_ char *dir = NULL;
	struct str first _cleanup_(str_done) = STR_INIT(100), again _cleanup_(str_done) = STR_INIT(100);
	assert_int_equal(fs_make_temp_dir("davit-pieces", &dir, NULL), 0);
	assert_int_equal(pieces_key_of_host(dir, false, &first, NULL), ERR_NOT_FOUND);
	assert_int_equal(pieces_key_of_host(dir, true, &first, NULL), 0);
	assert_int_equal(pieces_key_of_host(dir, false, &again, NULL), 0);
	assert_string_equal(str_peek(&first), str_peek(&again));
	assert_int_equal(first.len, 64);
	struct pieces_key a = key_of(str_peek(&first));
	str_append_c(&again, '\n');
	struct pieces_key b = key_of(str_peek(&again));
	assert_memory_equal(a.bytes, b.bytes, sizeof(a.bytes));
	assert_memory_not_equal(a.bytes, a.id, sizeof(a.id));
	fs_remove_tree(AT_FDCWD, dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_sealed_comes_back_in_pieces_of_a_bounded_size),
		cmocka_unit_test(a_byte_at_a_time_is_enough),
		cmocka_unit_test(each_byte_that_is_changed_is_found),
		cmocka_unit_test(a_stream_that_is_cut_or_goes_on_is_found),
		cmocka_unit_test(pieces_that_are_left_out_swapped_or_doubled_are_found),
		cmocka_unit_test(a_piece_or_the_whole_of_another_stream_is_found),
		cmocka_unit_test(another_key_is_said_to_be_one),
		cmocka_unit_test(a_newer_format_is_refused_with_both_numbers),
		cmocka_unit_test(no_two_streams_have_the_same_bytes),
		cmocka_unit_test(a_key_that_can_be_guessed_is_refused),
		cmocka_unit_test(the_hosts_own_key_stays_the_same_and_a_newline_behind_it_is_none_of_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
