#include "unit/cmocka_all.h"
#include "base/secret/ed25519.h"
#include "base/sys/fs.h"

#include <fcntl.h>

static const char text[] = "davit passed 1\nshop\n";

static struct ed25519_pair pair_of(const char *dir, bool make)
{
	struct ed25519_pair pair = {0};
	assert_int_equal(ed25519_pair_of_host(dir, make, &pair, NULL), 0);
	return pair;
}

static void a_machine_keeps_its_pair_and_another_has_another(void **state)
{
	(void)state;
	_cleanup_free_ char *one = NULL, *two = NULL;
	struct ed25519_pair pair;
	assert_int_equal(fs_make_temp_dir("davit-ed25519", &one, NULL), 0);
	assert_int_equal(fs_make_temp_dir("davit-ed25519", &two, NULL), 0);
	assert_int_equal(ed25519_pair_of_host(one, false, &pair, NULL), ERR_NOT_FOUND);
	struct ed25519_pair first = pair_of(one, true), again = pair_of(one, false), other = pair_of(two, true);
	assert_memory_equal(first.key, again.key, sizeof(first.key));
	assert_memory_not_equal(first.key, other.key, sizeof(first.key));
	assert_memory_not_equal(first.key, first.secret, sizeof(first.key));
	fs_remove_tree(AT_FDCWD, one, NULL);
	fs_remove_tree(AT_FDCWD, two, NULL);
}

static void a_signature_is_of_one_key_and_of_one_text(void **state)
{
	(void)state;
	_cleanup_free_ char *dir = NULL;
	unsigned char signature[ED25519_SIGNATURE_SIZE];
	char changed[sizeof(text)];
	assert_int_equal(fs_make_temp_dir("davit-ed25519", &dir, NULL), 0);
	struct ed25519_pair pair = pair_of(dir, true);
	assert_int_equal(ed25519_sign(&pair, text, sizeof(text), signature, NULL), 0);
	assert_true(ed25519_is_signed(pair.key, signature, text, sizeof(text)));
	for (size_t i = 0; i < sizeof(text); i++) {
		memcpy(changed, text, sizeof(text));
		changed[i] ^= 1;
		assert_false(ed25519_is_signed(pair.key, signature, changed, sizeof(changed)));
	}
	assert_false(ed25519_is_signed(pair.key, signature, text, sizeof(text) - 1));
	pair.key[0] ^= 1;
	assert_false(ed25519_is_signed(pair.key, signature, text, sizeof(text)));
	fs_remove_tree(AT_FDCWD, dir, NULL);
}

/* The key of RFC 8032, test 1, as ssh-keygen writes it. */
static void a_key_is_read_and_written_as_openssh_does(void **state)
{
	(void)state;
	static const char line[] = "AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
	static const unsigned char first[] = {0xd7, 0x5a, 0x98, 0x01};
	unsigned char key[ED25519_KEY_SIZE];
	_cleanup_(str_done) struct str again = STR_INIT(256);
	assert_int_equal(ed25519_key_read(line, key, NULL), 0);
	assert_memory_equal(key, first, sizeof(first));
	ed25519_key_write(key, &again);
	assert_string_equal(str_peek(&again), line);
	assert_int_equal(ed25519_key_read("AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==", key, NULL), ERR_UNSUPPORTED);
	assert_int_equal(ed25519_key_read("AAAAC3NzaC1lZDI1NTE5AAAAINdamAGC", key, NULL), ERR_INVALID);
	assert_int_equal(ed25519_key_read("", key, NULL), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_keeps_its_pair_and_another_has_another),
		cmocka_unit_test(a_signature_is_of_one_key_and_of_one_text),
		cmocka_unit_test(a_key_is_read_and_written_as_openssh_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
