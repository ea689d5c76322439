#include "unit/cmocka_all.h"
#include "base/secret/digest.h"

static void sha256_matches_the_published_vectors(void **state)
{
	(void)state;
	char hex[DIGEST_HEX];
	digest_of("abc", 3, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	_cleanup_(digest_freep) struct digest *d = digest_new();
	digest_hex(d, hex);
	assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_update(d, "a", 1);
	digest_update(d, "bc", 2);
	digest_hex(d, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void the_id_of_a_git_object_is_git_s(void **state)
{
	(void)state;
	unsigned char id[20];
	const unsigned char empty[4] = {0xe6, 0x9d, 0xe2, 0x9b}, hello[4] = {0xce, 0x01, 0x36, 0x25};
	digest_git_object("blob", "", 0, id);
	assert_memory_equal(id, empty, 4);
	digest_git_object("blob", "hello\n", 6, id);
	assert_memory_equal(id, hello, 4);
}

static void hmac_matches_rfc_4231(void **state)
{
	(void)state;
	unsigned char out[DIGEST_BYTES];
	digest_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
	const unsigned char start[4] = {0x5b, 0xdc, 0xc1, 0x46};
	assert_memory_equal(out, start, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_matches_the_published_vectors),
		cmocka_unit_test(the_id_of_a_git_object_is_git_s),
		cmocka_unit_test(hmac_matches_rfc_4231),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
