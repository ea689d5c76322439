/* What davit's journal says of a deployment: asked of `davit-step`, which has the journal's libraries. */
#include "agent/watch/watch_priv.h"

#include <string.h>

#include "base/core/clock.h"
#include "base/sys/fs.h"

enum { ANSWER_MAX = 64 << 20, ERRORS_MAX = 64 << 10, HISTORY_MS = 60000, RECOVER_MS = 40 * 60 * 1000 };

static int run(const char *const *words, int64_t ms, struct str *out, int *ret_status, struct err *err)
{
	_cleanup_free_ char *program = fs_helper_program("davit-step", err);
	_cleanup_(str_done) struct str errors = STR_INIT(ERRORS_MAX);
	const char *argv[8] = {program};
	struct wait w = WAIT_INIT;
	if (program == NULL)
		return ERR_NOT_FOUND;
	for (size_t i = 0; words[i] != NULL; i++)
		argv[i + 1] = words[i];
	w.deadline_mono_ms = clock_mono_ms() + ms;
	const struct proc_options options = {.argv = argv, .stdin_fd = -1};
	int r = proc_run(&options, NULL, 0, ANSWER_MAX, &w, out, &errors, ret_status, err);
	return r < 0 ? err_wrap(err, r, "davit %s", words[0]) : 0;
}

static bool is_refused(const json_t *deployment)
{
	const char *state = json_get_string(deployment, "state");
	return state != NULL && strcmp(state, "refused") == 0;
}

int journal_find(const char *mark, bool recover, json_t **ret, struct err *err)
{
	static const char *const settle[] = {"recover", "--json", NULL}, *const list[] = {"history", "--json",
	                                                                                  "--limit", "500", NULL};
	_cleanup_(str_done) struct str text = STR_INIT(ANSWER_MAX), ignored = STR_INIT(ANSWER_MAX);
	_cleanup_json_ json_t *all = NULL;
	int status = 0;
	/* Held ones and locks of others are told by their status; the list says what became of ours. */
	int r = recover ? run(settle, RECOVER_MS, &ignored, &status, err) : 0;
	if (r == 0)
		r = run(list, HISTORY_MS, &text, &status, err);
	if (r == 0 && status != 0)
		r = err_set(err, ERR_FAILED, "davit history ended with %d", status);
	if (r == 0)
		r = json_parse(str_peek(&text), text.len, ANSWER_MAX, &all, err);
	size_t i;
	json_t *one, *found = NULL;
	json_array_foreach(all, i, one)
	{
		const char *its = json_get_string(one, "run_url");
		if (its != NULL && strcmp(its, mark) == 0 && (found == NULL || (is_refused(found) && !is_refused(one))))
			found = one;
	}
	if (r == 0)
		*ret = json_incref(found);
	return r;
}
