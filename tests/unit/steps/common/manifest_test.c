#include "unit/cmocka_all.h"
#include "steps/common/manifest.h"

static void add(struct tree *t, const char *path, mode_t mode, const char *link)
{
	struct tree_entry *e = tree_add(t);
	e->path = xstrdup(path);
	e->mode = mode;
	e->link = xstrdup(link);
	if (S_ISREG(mode)) {
		e->size = 3;
		memset(e->digest, 0xaa, sizeof(e->digest));
		e->digest_from = TREE_DIGEST_GIVEN;
	}
}

static void any_name_comes_back_as_it_was(void **state)
{
	(void)state;
	struct tree t = {0};
	struct err err = ERR_INIT;
	struct manifest m;
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	_cleanup_json_ json_t *head = json_pack("{s:i,s:s}", "format", 1, "deployment", "shop.test");

	add(&t, "a\nb\\n", S_IFREG | 0644, NULL);
	add(&t, "d", S_IFDIR | 0755, NULL);
	add(&t, "e \xff", S_IFREG | 0755, NULL);
	add(&t, "f\tg", S_IFLNK | 0777, "x\ty\n");
	manifest_write(head, &t, NULL, &text);
	assert_int_equal(manifest_parse("m", text.data, text.len, &m, &err), 0);
	assert_int_equal(m.tree.count, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(m.tree.entries[i].path, t.entries[i].path);
		assert_true(manifest_same(&m.tree.entries[i], &t.entries[i]));
	}
	char one[65], two[65];
	manifest_tree_digest(&t, one);
	manifest_tree_digest(&m.tree, two);
	assert_string_equal(one, two);
	manifest_done(&m);
	tree_done(&t);
}

static void assert_bad(const char *text, const char *words)
{
	struct err err = ERR_INIT;
	struct manifest m;
	char line[1024];
	assert_true(manifest_parse("m", text, strlen(text), &m, &err) < 0);
	if (!strstr(err_line(&err, line, sizeof(line)), words))
		fail_msg("'%s' is not in: %s", words, line);
}

static void what_is_no_manifest_is_refused_with_its_line(void **state)
{
	(void)state;
	assert_bad("", "is not a manifest");
	assert_bad("{}\n", "is not a manifest");
	assert_bad("{\"format\":2}\n", "has format 2, this davit reads up to 1");
	assert_bad("{\"format\":1}\nd 0755 a", "m:2: the manifest ends in the middle");
	assert_bad("{\"format\":1}\nd 0755 ../a\n", "m:2: not a line");
	assert_bad("{\"format\":1}\nd 0755 /a\n", "m:2: not a line");
	assert_bad("{\"format\":1}\nd 0755 a/./b\n", "m:2: not a line");
	assert_bad("{\"format\":1}\nd 0755 b\nd 0755 a\n", "m:3: the manifest is not in order");
	assert_bad("{\"format\":1}\nf 0644 -1 - - a\n", "m:2: not a line");
	assert_bad("{\"format\":1}\nf 0644 1 abc - a\n", "m:2: not a line");
	assert_bad("{\"format\":1}\nl a\n", "m:2: not a line");
	assert_bad("{\"format\":1}\nx\n", "m:2: not a line");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_name_comes_back_as_it_was),
		cmocka_unit_test(what_is_no_manifest_is_refused_with_its_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
