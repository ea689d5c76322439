#include "unit/cmocka_all.h"
#include "steps/status/status.h"

enum { NOW = 1800000000 };

static json_t *read_answer(const char *text)
{
	json_t *target = json_object();
	status_answer(text, strlen(text), "/var/lib/davit", NOW, target);
	return target;
}

static json_t *first(const json_t *target, const char *key)
{
	return json_array_get(json_object_get(target, key), 0);
}

static void a_whole_answer_is_read(void **state)
{
	(void)state;
	_cleanup_json_ json_t *t = read_answer(
		"now 1800000060\nload 0.31 0.20 0.15 1/234 999\nuptime 86400.25 1.0\ncpus 4\n"
		"memory MemTotal 4000\nmemory MemAvailable 1000\nmemory SwapTotal 0\nmemory SwapFree 0\n"
		"disk /dev/vda1 100000 60000 40000 60% /\ndisk tmpfs 10 0 10 0% /run\ndisk /dev/vda1 100000 60000 40000 60% "
		"/mnt/a b\ndisk /dev/vdb 5000 1 4999 1% /srv/a b\ninodes /dev/vdb 100 40 60 40% /srv/a b\n"
		"inodes /dev/vda1 - - - - /\ndocker none\nend\n");
	assert_int_equal(json_get_int(t, "clock_off_s", 0), 60);
	assert_int_equal(json_get_int(t, "uptime_s", 0), 86400);
	assert_int_equal(json_get_int(t, "cpus", 0), 4);
	assert_true(json_real_value(json_array_get(json_object_get(t, "load"), 1)) == 0.20);
	assert_int_equal(json_get_int(json_object_get(t, "memory"), "available", 0), 1000 * 1024);
	assert_int_equal(json_array_size(json_object_get(t, "disks")), 2);
	const json_t *srv = json_array_get(json_object_get(t, "disks"), 1);
	assert_string_equal(json_get_string(srv, "mount"), "/srv/a b");
	assert_int_equal(json_get_int(srv, "free", 0), 4999 * 1024);
	assert_int_equal(json_get_int(srv, "inodes_free", 0), 60);
	assert_string_equal(json_get_string(json_object_get(t, "docker"), "state"), "none");
	assert_null(json_object_get(t, "incomplete"));
	assert_null(json_object_get(t, "unexpected"));
}

static void a_line_that_fits_nothing_is_counted_and_dropped(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"nonsense 1",
		"loadx 1 2 3",
		"load 1 2",
		"load a b c",
		"cpus -1",
		"cpus 99999999999999999999",
		"memory MemTotal many",
		"memory Other 1",
		"disk /dev/vda1 1000 600 400 60% relative",
		"disk /dev/vda1 1000 600",
		"disk /dev/vda1 9223372036854775807 1 1 1% /",
		"open ../../etc 1 {}",
		"open .hidden 1 {}",
		"open shop.test 1 no json",
		"snapshot 1 /etc/snapshots/a/b/c/manifest",
		"snapshot 1 /var/lib/davit/snapshots/a/../c/manifest",
		"snapshot 1 /var/lib/davit/snapshots/a/b/c/d/manifest",
		"deployed shop ../../x.json",
		"deployed ../x 20260101T000000-abcdef.json",
		"docker maybe",
		"container no json",
		"container {\"id\":\"aa\"}",
		"container {\"id\":1,\"name\":\"/a\",\"state\":{\"Status\":\"running\"}}",
		"container {\"id\":\"aa\",\"name\":\"/a\",\"state\":\"running\"}",
		"digest {}",
		"log ffff of a container that was not named",
		"end of it",
	};
	for (size_t i = 1; i < ARRAY_SIZE(bad); i++) {
		_cleanup_free_ char *text = xasprintf("%s\nend\n", bad[i]);
		_cleanup_json_ json_t *t = read_answer(text);
		if (json_get_int(t, "unexpected", 0) != 1)
			fail_msg("'%s' was taken", bad[i]);
	}
}

static void what_was_cut_is_said_to_be_incomplete(void **state)
{
	(void)state;
	_cleanup_json_ json_t *t = read_answer("now 1800000000\nload 0.3");
	assert_true(json_get_bool(t, "incomplete", false));
}

static const char container[] =
	"container {\"id\":\"%s\",\"restarts\":%d,\"name\":\"/shop-%s\",\"image\":\"sha256:aa\",\"image_name\":\"shop:1\","
	"\"state\":{\"Status\":\"%s\",\"ExitCode\":%d,\"StartedAt\":\"%s\",\"FinishedAt\":\"0001-01-01T00:00:00Z\"%s},"
	"\"labels\":{\"com.docker.compose.project\":\"shop\",\"com.docker.compose.service\":\"%s\"}}\n";

static bool is_well(int restarts, const char *status, int code, const char *started, const char *health)
{
	_cleanup_free_ char *text = xasprintf(container, "ab", restarts, "web", status, code, started, health, "web");
	_cleanup_json_ json_t *t = read_answer(text);
	assert_int_equal(json_array_size(json_object_get(t, "containers")), 1);
	return json_get_bool(first(t, "containers"), "well", false);
}

static void a_container_is_well_when_it_runs_healthy_and_was_not_restarted_lately(void **state)
{
	(void)state;
	static const char old[] = "2026-12-01T00:00:00.5Z", fresh[] = "2027-01-15T07:59:30Z";
	assert_true(is_well(0, "running", 0, fresh, ""));
	assert_true(is_well(0, "running", 0, fresh, ",\"Health\":{\"Status\":\"starting\"}"));
	assert_true(
		is_well(0, "running", 0, fresh, ",\"Health\":{\"Status\":\"healthy\",\"Log\":[{\"Output\":\"no\"}]}"));
	assert_true(is_well(3, "running", 0, old, ""));
	assert_true(is_well(0, "exited", 0, old, ""));
	assert_false(is_well(3, "running", 0, fresh, ""));
	assert_false(is_well(0, "running", 0, old, ",\"Health\":{\"Status\":\"unhealthy\"}"));
	assert_false(is_well(0, "restarting", 1, old, ""));
	assert_false(is_well(0, "exited", 1, old, ""));
	assert_false(is_well(0, "exited", 0, old, ",\"OOMKilled\":true"));
	assert_false(is_well(0, "created", 0, old, ""));
	assert_false(is_well(0, "paused", 0, old, ""));
}

static void a_container_has_its_digest_and_its_own_lines(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str text = STR_INIT(64 << 10);
	str_appendf(&text, container, "bb", 0, "web", "running", 0, "x", "", "web");
	str_appendf(&text, container, "aa", 9, "db", "restarting", 7, "x", "", "db");
	str_append(&text, "digest {\"id\":\"sha256:aa\",\"digests\":[\"shop@sha256:dd\"]}\n"
	                  "log aa first \x1b[31m\nlog aa \nlog bb other\nend\n");
	_cleanup_json_ json_t *t = read_answer(str_peek(&text));
	const json_t *db = first(t, "containers");
	assert_string_equal(json_get_string(db, "service"), "db");
	assert_string_equal(json_get_string(db, "digest"), "sha256:dd");
	assert_string_equal(json_get_string(db, "name"), "shop-db");
	assert_int_equal(json_array_size(json_object_get(db, "log")), 2);
	assert_int_equal(json_array_size(json_object_get(json_array_get(json_object_get(t, "containers"), 1), "log")),
	                 1);
}

static void what_davit_keeps_there_is_read(void **state)
{
	(void)state;
	_cleanup_json_ json_t *t = read_answer(
		"open shop.test 1799999990 {\"deployment\":\"20260101T000000-abcdef\",\"user\":\"ci\",\"made_ms\":5,\"token\":\"t\"}\n"
		"open shop.other - {\"deployment\":7}\nsnapshot 1799990000 /var/lib/davit/snapshots/shop.test/"
		"20260101T000000-abcdef/1-data/manifest\ndeployed shop 20260101T000000-abcdef.json\nend\n");
	const json_t *open = first(t, "open"), *snapshot = first(t, "snapshots");
	assert_string_equal(json_get_string(open, "user"), "ci");
	assert_null(json_object_get(open, "token"));
	assert_int_equal(json_get_int(open, "renewed_s", 0), 1799999990);
	assert_int_equal(json_array_size(json_object_get(t, "open")), 2);
	assert_string_equal(json_get_string(snapshot, "scope"), "shop.test");
	assert_int_equal(json_get_int(snapshot, "made_s", 0), 1799990000);
	assert_string_equal(json_get_string(first(t, "deployed"), "deployment"), "20260101T000000-abcdef");
}

static void more_than_anybody_reads_is_left_out_and_said(void **state)
{
	(void)state;
	_cleanup_(str_done) struct str text = STR_INIT(8 << 20);
	for (int i = 0; i < STATUS_CONTAINERS_MAX + 5; i++) {
		_cleanup_free_ char *id = xasprintf("%x", i);
		str_appendf(&text, container, id, 0, id, "running", 0, "x", "", id);
	}
	for (int i = 0; i < 100; i++)
		str_append(&text, "log 1 a line\n");
	str_append(&text, "end\n");
	_cleanup_json_ json_t *t = read_answer(str_peek(&text));
	assert_int_equal(json_array_size(json_object_get(t, "containers")), STATUS_CONTAINERS_MAX);
	assert_true(json_get_bool(t, "incomplete", false));
	size_t i;
	json_t *one;
	json_array_foreach(json_object_get(t, "containers"), i, one)
	{
		assert_true(json_array_size(json_object_get(one, "log")) <= STATUS_LOG_LINES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_answer_is_read),
		cmocka_unit_test(a_line_that_fits_nothing_is_counted_and_dropped),
		cmocka_unit_test(what_was_cut_is_said_to_be_incomplete),
		cmocka_unit_test(a_container_is_well_when_it_runs_healthy_and_was_not_restarted_lately),
		cmocka_unit_test(a_container_has_its_digest_and_its_own_lines),
		cmocka_unit_test(what_davit_keeps_there_is_read),
		cmocka_unit_test(more_than_anybody_reads_is_left_out_and_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
