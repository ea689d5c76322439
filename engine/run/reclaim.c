/* Takes over the locks of a deployment whose process is gone, and reads what was decided. */
#include "engine/run/run_priv.h"

#include <string.h>

bool engine_is_of_this_journal(const struct engine *e, const json_t *record)
{
	const char *store = json_get_string(record, "store_id");
	return store && strcmp(store, store_id(e->store)) == 0;
}

static int take_one_over(struct engine *e, struct etarget *et, bool *ret_found, struct err *err)
{
	_cleanup_free_ char *dir = lock_dir_of(&et->t->view, e->name, e->environment);
	_cleanup_json_ json_t *record = NULL;
	int r = lock_read(&et->t->view, dir, &record, err);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r < 0)
		return r;
	const char *id = json_get_string(record, "deployment");
	if (id == NULL || strcmp(id, e->id) != 0)
		return 0;
	if (!engine_is_of_this_journal(e, record)) {
		_cleanup_free_ char *who = lock_describe(record);
		err_set(err, ERR_FENCED,
		        "another machine took the deployment over, or this journal was on another one: '%s' is locked %s",
		        et->name, who);
		return err_hint(err, ERR_FENCED, "if that machine is gone for good: davit recover FILE --takeover");
	}
	*ret_found = true;
	return engine_take_over_target(e, et, record, err);
}

/* Only now: decisions of the previous owner count until its tokens were gone. Another target's mark counts if the anchor has no lock
 * of ours any more: it gives its lock back last, and the others are marked after it. */
int engine_mark_there(struct engine *e, char **ret_mark, struct err *err)
{
	*ret_mark = NULL;
	for (size_t i = 0; i < e->host_count; i++) {
		struct target *t = e->targets[i].t;
		_cleanup_json_ json_t *record = NULL;
		if (!e->targets[i].locked || t->lock_dir == NULL)
			continue;
		int r = 0;
		for (int k = 0; k < 4; k++) {
			r = lock_read(&t->view, t->lock_dir, &record, err);
			if (!engine_may_retry(r) || engine_pause(e, 500 << k, NULL) < 0)
				break;
		}
		if (r < 0)
			return r == ERR_NOT_FOUND ? err_set(err, ERR_FENCED, "the lock on '%s' is gone", t->view.name)
			                          : r;
		const char *mark = json_get_string(record, "mark");
		*ret_mark = mark ? xstrdup(mark) : NULL;
		if (i == 0 || mark)
			return 0;
	}
	return 0;
}

int engine_take_over_all(struct engine *e, char **ret_mark, size_t *ret_found, struct err *err)
{
	*ret_found = 0;
	int r = engine_open_targets(e, err);
	for (size_t i = 0; r == 0 && i < e->host_count; i++) {
		bool found = false;
		for (int k = 0; k < 4; k++) {
			r = take_one_over(e, &e->targets[i], &found, err);
			if (!engine_again(e, &e->targets[i], r, engine_tries_left_ms(500, k, 4), err) ||
			    engine_pause(e, 500 << k, NULL) < 0)
				break;
		}
		*ret_found += found;
		if (r == 0 && found)
			engine_alone_hear(e, &e->targets[i]);
	}
	return r < 0 || ret_mark == NULL ? r : engine_mark_there(e, ret_mark, err);
}
