/* Looks at a target that answers as it likes. */
#include "unit/cmocka_all.h"
#include "base/core/mem.h"
#include "base/sys/fs.h"
#include "steps/machine/machine.h"
#include "steps/registry.h"

#include <fcntl.h>

#include <string.h>

/* ---- a look ---- */

struct fixture {
	char *dir;
	struct target *target;
	struct wait wait;
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	f->wait = (struct wait)WAIT_INIT;
	f->err = (struct err)ERR_INIT;
	assert_int_equal(fs_make_temp_dir("davit-machine", &f->dir, &f->err), 0);
	_cleanup_json_ json_t *config = json_pack("{s:{}, s:s}", "local", "base", f->dir);
	assert_int_equal(target_config_use(target_kinds, "local", config, target_local_new, &f->target, &f->err), 0);
	f->target->view.wait = &f->wait;
	assert_int_equal(target_open(&f->target->view, &f->err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	target_free(f->target);
	fs_remove_tree(AT_FDCWD, f->dir, NULL);
	free(f->dir);
	free(f);
	return 0;
}

static int look(struct fixture *f, const char *body, struct machine_sight *sight)
{
	struct machine_kind kind = {.change = {.name = "thing"}, .look = body};
	*sight = (struct machine_sight){.kind = &kind, .id = "one", .arg = "two words"};
	int r = machine_look(&f->target->view, sight, 1, &f->err);
	sight->kind = NULL;
	return r;
}

static void a_look_gets_its_words_and_gives_members_and_notes(void **state)
{
	struct machine_sight seen;
	assert_int_equal(look(*state, "say type thing; say first \"$1\"; note second \"$2\"; say empty ''", &seen), 0);
	assert_string_equal(json_get_string(seen.node, "first"), "one");
	assert_string_equal(json_get_string(seen.notes, "second"), "two words");
	assert_string_equal(json_get_string(seen.node, "empty"), "");
	machine_sights_done(&seen, 1);
}

static void what_a_target_says_is_text_without_control_characters(void **state)
{
	struct machine_sight seen;
	assert_int_equal(look(*state, "say type thing; say name \"$(printf 'a\\033[31m\\nb\\tc\\377')\"", &seen), 0);
	assert_string_equal(json_get_string(seen.node, "name"), "a?[31m b c\xef\xbf\xbd");
	machine_sights_done(&seen, 1);
}

static void an_answer_in_another_form_is_refused(void **state)
{
	static const char *const bodies[] = {
		":",                               /* no type */
		"echo; printf '0\\ttype=x'",       /* a line of its own */
		"say type thing; echo; echo more", /* and behind it */
		"say type thing; say 'PATH' x",    /* no name of ours */
		"say type thing; say 'a b' x",
		"say type thing; printf '\\tnothing'",
		"say type thing; say long \"$(head -c 20000 /dev/zero | tr '\\0' x)\"",
		"exit 0",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct fixture *f = *state;
		struct machine_sight seen;
		if (look(f, bodies[i], &seen) != ERR_PROTOCOL)
			fail_msg("taken: %s", bodies[i]);
		assert_null(seen.node);
		err_clear(&f->err);
	}
}

static void many_things_are_one_look(void **state)
{
	enum { COUNT = 300 };
	struct fixture *f = *state;
	struct machine_kind kind = {.change = {.name = "thing"},
	                            .look = "say type thing; say shell $$; say id \"$1\"; cat"};
	struct machine_sight sights[COUNT] = {0};
	char names[COUNT][16];
	for (size_t i = 0; i < COUNT; i++) {
		snprintf(names[i], sizeof(names[i]), "n%zu", i);
		sights[i] = (struct machine_sight){.kind = &kind, .id = names[i]};
	}
	assert_int_equal(machine_look(&f->target->view, sights, COUNT, &f->err), 0);
	for (size_t i = 0; i < COUNT; i++) {
		assert_string_equal(json_get_string(sights[i].node, "id"), names[i]);
		assert_string_equal(json_get_string(sights[i].node, "shell"), json_get_string(sights[0].node, "shell"));
	}
	machine_sights_done(sights, COUNT);
}

#define LOCAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOCAL(a_look_gets_its_words_and_gives_members_and_notes),
		LOCAL(what_a_target_says_is_text_without_control_characters),
		LOCAL(an_answer_in_another_form_is_refused),
		LOCAL(many_things_are_one_look),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
