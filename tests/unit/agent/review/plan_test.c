/* Kept plans: found by what they are of and by nothing else, sealed, bounded in number and time. */
#include "unit/cmocka_all.h"
#include "agent/review/plan.h"
#include "base/sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEAD "0123456789abcdef0123456789abcdef01234567"
static const struct review_plan shop = {
	.repository = "acme/shop", .number = 7, .name = "shop", .environment = "production", .head = HEAD};

static int setup(void **state)
{
	char *dir = NULL;
	assert_int_equal(fs_make_temp_dir("davit-plans-", &dir, NULL), 0);
	*state = dir;
	return 0;
}

static int teardown(void **state)
{
	fs_remove_tree(AT_FDCWD, *state, NULL);
	free(*state);
	return 0;
}

static void keep(const char *dir, const struct review_plan *plan, const char *digest)
{
	struct err err = ERR_INIT;
	_cleanup_json_ json_t *of = json_pack("{s:s}", "name", "a-name-to-look-for");
	char line[ERR_FRAME_SIZE];
	if (review_plan_keep(dir, plan, digest, of, &err) < 0)
		fail_msg("%s", err_line(&err, line, sizeof(line)));
}

static int find(const char *dir, const struct review_plan *plan, json_t **ret)
{
	struct err err = ERR_INIT;
	json_t *kept = NULL;
	int r = review_plan_find(dir, plan, &kept, &err);
	if (ret != NULL)
		*ret = kept;
	else
		json_decref(kept);
	return r;
}

static size_t files(const char *dir, char *ret_one)
{
	_cleanup_free_ char *place = fs_join(dir, "plans");
	size_t count = 0;
	DIR *d = opendir(place);
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.') {
			count++;
			if (ret_one != NULL)
				snprintf(ret_one, 512, "%s/%s", place, e->d_name);
		}
	if (d != NULL)
		closedir(d);
	return count;
}

static void a_plan_is_found_by_all_that_it_is_of(void **state)
{
	_cleanup_json_ json_t *kept = NULL;
	keep(*state, &shop, "d1");
	assert_int_equal(find(*state, &shop, &kept), 0);
	assert_string_equal(json_get_string(kept, "digest"), "d1");
	assert_string_equal(json_get_string(json_object_get(kept, "of"), "name"), "a-name-to-look-for");
	struct review_plan other = shop;
	other.repository = "evil/shop";
	assert_int_equal(find(*state, &other, NULL), ERR_REFUSED);
	other = shop;
	other.api_url = "https://github.example/api/v3";
	assert_int_equal(find(*state, &other, NULL), ERR_REFUSED);
	other = shop;
	other.number = 8;
	assert_int_equal(find(*state, &other, NULL), ERR_REFUSED);
	other = shop;
	other.environment = "staging";
	assert_int_equal(find(*state, &other, NULL), ERR_REFUSED);
	other = shop;
	other.head = "f123456789abcdef0123456789abcdef01234567";
	assert_int_equal(find(*state, &other, NULL), ERR_REFUSED);
}

static void a_newer_plan_takes_the_place_and_a_dropped_one_is_gone(void **state)
{
	_cleanup_json_ json_t *kept = NULL;
	struct review_plan next = shop;
	next.head = "f123456789abcdef0123456789abcdef01234567";
	keep(*state, &shop, "d1");
	keep(*state, &next, "d2");
	assert_int_equal(files(*state, NULL), 1);
	assert_int_equal(find(*state, &next, &kept), 0);
	assert_string_equal(json_get_string(kept, "digest"), "d2");
	assert_int_equal(review_plan_drop(*state, &next, NULL), 0);
	assert_int_equal(find(*state, &next, NULL), ERR_REFUSED);
	assert_int_equal(review_plan_drop(*state, &next, NULL), 0);
}

static void what_lies_there_is_sealed_and_a_changed_or_moved_file_is_refused(void **state)
{
	char one[512], two[512];
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	struct stat st;
	keep(*state, &shop, "d1");
	assert_int_equal(files(*state, one), 1);
	assert_int_equal(fs_read(AT_FDCWD, one, 1 << 20, &text, NULL), 0);
	assert_null(memmem(text.data, text.len, "a-name-to-look-for", strlen("a-name-to-look-for")));
	assert_null(memmem(text.data, text.len, "acme", strlen("acme")));
	assert_int_equal(stat(one, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	struct review_plan other = shop;
	other.number = 8;
	keep(*state, &other, "d8");
	assert_int_equal(review_plan_drop(*state, &shop, NULL), 0);
	assert_int_equal(files(*state, two), 1);
	assert_int_equal(rename(two, one), 0);
	assert_int_equal(find(*state, &shop, NULL), ERR_AUTH);
	text.data[text.len - 1] ^= 1;
	assert_int_equal(fs_write_replace(AT_FDCWD, one, text.data, text.len, 0600, NULL), 0);
	assert_int_equal(find(*state, &shop, NULL), ERR_AUTH);
}

static void the_oldest_of_a_repository_go_and_those_of_others_stay(void **state)
{
	struct review_plan one = shop, other = shop;
	other.repository = "acme/other";
	keep(*state, &other, "d");
	for (int i = 1; i <= 70; i++) {
		one.number = i;
		keep(*state, &one, "d");
	}
	assert_int_equal(files(*state, NULL), 61);
	assert_int_equal(find(*state, &other, NULL), 0);
	assert_int_equal(find(*state, &one, NULL), 0);
}

static void a_plan_whose_time_is_over_goes(void **state)
{
	char path[512];
	struct review_plan other = shop;
	keep(*state, &shop, "d1");
	assert_int_equal(files(*state, path), 1);
	const struct timespec old = {.tv_sec = time(NULL) - 31 * 24 * 3600};
	const struct timespec times[2] = {old, old};
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	other.number = 8;
	keep(*state, &other, "d8");
	assert_int_equal(files(*state, NULL), 1);
	assert_int_equal(find(*state, &shop, NULL), ERR_REFUSED);
}

static void a_plan_that_is_too_large_is_kept_as_its_digest_alone(void **state)
{
	_cleanup_free_ char *much = malloc((3 << 20) + 1);
	memset(much, 'x', 3 << 20);
	much[3 << 20] = '\0';
	_cleanup_json_ json_t *of = json_pack("{s:s}", "name", much), *kept = NULL;
	assert_int_equal(review_plan_keep(*state, &shop, "d1", of, NULL), 0);
	assert_int_equal(find(*state, &shop, &kept), 0);
	assert_null(json_object_get(kept, "of"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_plan_is_found_by_all_that_it_is_of),
		T(a_newer_plan_takes_the_place_and_a_dropped_one_is_gone),
		T(what_lies_there_is_sealed_and_a_changed_or_moved_file_is_refused),
		T(the_oldest_of_a_repository_go_and_those_of_others_stay),
		T(a_plan_whose_time_is_over_goes),
		T(a_plan_that_is_too_large_is_kept_as_its_digest_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
