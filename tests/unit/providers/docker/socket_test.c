/* What an engine on another machine answered, as that machine's script prints it. */
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "providers/docker/socket.h"

#define MARK "\n--davit-engine--\n"
#define CONTAINER                                                                                                      \
	"[{\"Id\":\"c1\",\"Names\":[\"/web-1\"],\"State\":\"running\",\"Labels\":{\"com.docker.compose.service\":\"web\"}}]"
#define IMAGE "{\"Id\":\"sha256:1\",\"Architecture\":\"amd64\",\"Os\":\"linux\"}"

static bool read_said(const char *text, struct docker_containers *ret, json_t **ret_images)
{
	static const struct target_type away = {.name = "away"};
	struct view v = {.kind = &away};
	const struct docker d = {.v = &v};
	_cleanup_(strv_done) struct strv images = {0};
	_cleanup_(str_done) struct str said = STR_INIT(1 << 16);
	strv_add(&images, "shop/web:1");
	str_append(&said, text);
	return docker_socket_read(&d, &said, &(struct docker_questions){"shop", &images}, ret, ret_images);
}

static void answers_are_read_from_the_end_since_files_before_them_may_look_the_same(void **state)
{
	(void)state;
	_cleanup_(docker_containers_done) struct docker_containers l = {0};
	_cleanup_json_ json_t *images = NULL;
	assert_true(read_said("a file" MARK "[]" MARK "{}" MARK "\n--davit-end--\n" MARK CONTAINER MARK IMAGE MARK, &l,
	                      &images));
	assert_int_equal(l.count, 1);
	assert_string_equal(l.items[0].name, "web-1");
	assert_string_equal(json_get_string(json_get_object(images, "shop/web:1"), "id"), "sha256:1");
}

static void what_is_not_answered_whole_is_not_answered(void **state)
{
	(void)state;
	static const char *const cases[] = {"",
	                                    "a file",
	                                    MARK,
	                                    MARK CONTAINER MARK,
	                                    MARK CONTAINER MARK MARK,
	                                    MARK CONTAINER MARK IMAGE,
	                                    MARK "{}" MARK IMAGE MARK,
	                                    MARK MARK IMAGE MARK};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(docker_containers_done) struct docker_containers l = {0};
		_cleanup_json_ json_t *images = NULL;
		assert_false(read_said(cases[i], &l, &images));
		assert_int_equal(l.count, 0);
		assert_null(images);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_read_from_the_end_since_files_before_them_may_look_the_same),
		cmocka_unit_test(what_is_not_answered_whole_is_not_answered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
