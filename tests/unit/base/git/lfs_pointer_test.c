#include "unit/cmocka_all.h"
#include "base/git/lfs_pointer.h"

#include <string.h>

#define OID "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
#define VERSION "version https://git-lfs.github.com/spec/v1\n"

static enum lfs_kind kind_of(const char *text)
{
	struct lfs_pointer p;
	return lfs_pointer_read(text, strlen(text), &p);
}

static void a_pointer_names_its_content(void **state)
{
	static const char *const texts[] = {
		VERSION "oid sha256:" OID "\nsize 12345\n",
		VERSION "oid sha256:" OID "\nsize 12345",
		"\n " VERSION "oid sha256:" OID "\nsize 12345\n\n",
		"version https://git-lfs.github.com/spec/v1\r\noid sha256:" OID "\r\nsize 12345\r\n",
		"version https://hawser.github.com/spec/v1\noid sha256:" OID "\nsize 12345\n",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct lfs_pointer p = {.size = 0};
		assert_int_equal(lfs_pointer_read(texts[i], strlen(texts[i]), &p), LFS_CONTENT);
		assert_string_equal(p.oid, OID);
		assert_int_equal(p.size, 12345);
	}
}

static void anything_else_is_content(void **state)
{
	char large[LFS_POINTER_MAX + 1];
	(void)state;
	assert_int_equal(kind_of(""), LFS_NONE);
	assert_int_equal(kind_of("a\n"), LFS_NONE);
	assert_int_equal(kind_of("version"), LFS_NONE);
	assert_int_equal(kind_of("version https://git-lfs.github.com/spec/v2\noid sha256:" OID "\nsize 1\n"), LFS_NONE);
	assert_int_equal(kind_of(VERSION "size 1\noid sha256:" OID "\n"), LFS_NONE);
	assert_int_equal(kind_of(VERSION "oid sha256:" OID "\n"), LFS_NONE);
	assert_int_equal(kind_of(VERSION "oid sha256:" OID "\nsize -1\n"), LFS_NONE);
	assert_int_equal(kind_of(VERSION "oid sha256:" OID "\nsize 99999999999999999999\n"), LFS_NONE);
	assert_int_equal(kind_of(VERSION "oid sha256:" OID "\nsize 1\nmore 2\n"), LFS_NONE);
	assert_int_equal(kind_of(VERSION "oid sha256:" OID "0\nsize 1\n"), LFS_NONE);
	assert_int_equal(kind_of(VERSION "oid sha256:../../../../../etc/passwd\nsize 1\n"), LFS_NONE);
	assert_int_equal(kind_of(VERSION "oid md5:" OID "\nsize 1\n"), LFS_NONE);
	assert_int_equal(kind_of(VERSION "ext-0-foo sha256:" OID "\noid sha256:" OID "\nsize 1\n"), LFS_EXTENDED);
	memset(large, ' ', sizeof(large));
	memcpy(large, VERSION "oid sha256:" OID "\nsize 1\n", strlen(VERSION) + 11 + 64 + 8);
	struct lfs_pointer p;
	assert_int_equal(lfs_pointer_read(large, LFS_POINTER_MAX - 1, &p), LFS_CONTENT);
	assert_int_equal(lfs_pointer_read(large, LFS_POINTER_MAX, &p), LFS_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pointer_names_its_content),
		cmocka_unit_test(anything_else_is_content),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
