/* What is kept of a place, in DIR/record.json, replaced as a whole and durably:
 *   {"format": 1, "repository", "low": all of GitHub's deployments up to this one are handled, "handled": [further ones], "head": the newest commit of
 *    the branch that is handled, "current": {"phase", "deployment", "sha", "ref", "environment", "actor", "nonce", "attempt", "pid", "start_time", "boot_id", "state", "text", "davit"}} */
#include "agent/watch/watch_priv.h"

#include <fcntl.h>
#include <string.h>

#include "base/sys/fs.h"

enum { FORMAT = 1, RECORD_MAX = 1 << 20 };

static char *path_of(const struct place *p)
{
	return fs_join(p->dir, "record.json");
}

int place_load(struct place *p, struct err *err)
{
	_cleanup_free_ char *path = path_of(p);
	_cleanup_(str_done) struct str text = STR_INIT(RECORD_MAX);
	struct err away = ERR_INIT;
	int r = fs_read_plain(AT_FDCWD, path, RECORD_MAX, &text, &away);
	if (r == ERR_NOT_FOUND) {
		p->record = json_pack("{s:i, s:s}", "format", FORMAT, "repository", p->repository);
		return 0;
	}
	if (r >= 0)
		r = json_parse(str_peek(&text), text.len, RECORD_MAX, &p->record, &away);
	if (r >= 0 && json_get_int(p->record, "format", 0) != FORMAT)
		r = err_set(&away, ERR_UNSUPPORTED, "it has another format than %d", FORMAT);
	if (r < 0) {
		*err = away;
		return err_wrap(err, r, "what is kept of %s in %s", p->shown, path);
	}
	return 0;
}

int place_save(struct place *p, struct err *err)
{
	_cleanup_free_ char *path = path_of(p), *text = json_text(p->record);
	int r = fs_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
	return r < 0 ? err_wrap(err, r, "keep what is known of %s", p->shown) : 0;
}

json_t *place_current(const struct place *p)
{
	return json_get_object(p->record, "current");
}

const char *place_phase(const struct place *p)
{
	const char *phase = json_get_string(place_current(p), "phase");
	return phase != NULL ? phase : "";
}

int place_enter(struct place *p, const char *phase, struct err *err)
{
	json_object_set_new(place_current(p), "phase", json_string(phase));
	return place_save(p, err);
}

bool place_has_handled(const struct place *p, int64_t id)
{
	size_t i;
	json_t *one;
	if (id <= json_get_int(p->record, "low", 0))
		return true;
	json_array_foreach(json_get_array(p->record, "handled"), i, one) if (json_integer_value(one) == id) return true;
	return false;
}

int place_settle(struct place *p, int64_t id, struct err *err)
{
	int64_t low = json_get_int(p->record, "low", 0);
	if (json_object_get(p->record, "low") != NULL && id <= low &&
	    json_array_size(json_get_array(p->record, "handled")) == 0)
		return 0;
	json_object_set_new(p->record, "low", json_integer(id > low ? id : low));
	json_object_del(p->record, "handled");
	return place_save(p, err);
}

int place_finish(struct place *p, struct err *err)
{
	json_t *current = place_current(p), *handled = json_get_array(p->record, "handled");
	if (handled == NULL) {
		handled = json_array();
		json_object_set_new(p->record, "handled", handled);
	}
	if (p->branch != NULL)
		json_object_set(p->record, "head", json_object_get(current, "sha"));
	else
		json_array_append(handled, json_object_get(current, "deployment"));
	json_object_del(p->record, "current");
	return place_save(p, err);
}
