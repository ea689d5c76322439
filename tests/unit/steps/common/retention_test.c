#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"
#include "steps/common/retention.h"
#include "steps/registry.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static void make(const char *dir, const char *name, time_t touched)
{
	_cleanup_free_ char *path = fs_join(dir, name);
	const struct timespec times[2] = {{.tv_sec = touched}, {.tv_sec = touched}};
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* A step that drops its own snapshot from a directory touches that directory. */
static void what_is_touched_later_is_not_younger(void **state)
{
	static const char *const names[] = {"20260131T102029-fff0aa", "20260131T102030-0fa9ff",
	                                    "20260131T102030-10b001", "20260131T102030-10b000",
	                                    "20260131T102031-000aaa"};
	struct wait wait = WAIT_INIT;
	struct err err = ERR_INIT;
	struct target *target = NULL;
	_cleanup_free_ char *dir = NULL;
	_cleanup_(retention_done) struct retention_list list = {0};
	(void)state;
	assert_int_equal(fs_make_temp_dir("davit-retention", &dir, &err), 0);
	_cleanup_json_ json_t *config = json_pack("{s:{}, s:s}", "local", "base", dir);
	assert_int_equal(target_config_use(target_kinds, "local", config, target_local_new, &target, &err), 0);
	target->view.wait = &wait;
	assert_int_equal(target_open(&target->view, &err), 0);
	/* Only two of one millisecond have nothing but their time of modification. */
	make(dir, names[0], 500);
	make(dir, names[1], 400);
	make(dir, names[3], 200);
	make(dir, names[2], 100);
	make(dir, names[4], 50);
	assert_int_equal(retention_list(&target->view, dir, "", "", &list, &err), 0);
	assert_int_equal(list.count, ARRAY_SIZE(names));
	for (size_t i = 0; i < list.count; i++)
		assert_string_equal(list.items[i].name, names[i]);
	target_free(target);
	fs_remove_tree(AT_FDCWD, dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_touched_later_is_not_younger),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
