#include "steps/sources/guest_records.h"

#include "providers/proxmox/snapshots.h"
#include "providers/proxmox/target.h"
#include "providers/proxmox/task.h"
#include "steps/common/retention.h"

#include <inttypes.h>
#include <string.h>

static const char row_type[] = "guest-snapshot";

char *guest_record_key(int64_t vmid, const char *snapshot)
{
	return xasprintf("%s:%" PRId64 "/%s", row_type, vmid, snapshot);
}

json_t *guest_record_row(const json_t *node, const char *deployment)
{
	static const char *const members[] = {"vmid", "name", "guest", "snapshot", "description", "running"};
	json_t *row = json_pack("{s:s, s:s}", "type", row_type, "deployment", deployment);
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		json_object_set(row, members[i], json_object_get(node, members[i]));
	return row;
}

/* ---- found ---- */

static bool is_text(const json_t *row, const char *member, const char *text)
{
	const char *own = json_get_string(row, member);
	return own != NULL && text != NULL && strcmp(own, text) == 0;
}

static bool is_of(const json_t *row, const struct guest *g)
{
	return is_text(row, "type", row_type) && json_get_int(row, "vmid", -1) == g->vmid &&
	       is_text(row, "guest", g->type) && is_text(row, "name", g->name) &&
	       json_get_string(row, "snapshot") != NULL && json_get_string(row, "deployment") != NULL &&
	       json_get_string(row, "description") != NULL;
}

/* By the deployment's id, which begins with its time; then by the place of the step. */
static bool is_older(const json_t *a, const json_t *b)
{
	const char *one = json_get_string(a, "snapshot"), *other = json_get_string(b, "snapshot");
	size_t len = strlen(one), other_len = strlen(other);
	int order = strcmp(json_get_string(a, "deployment"), json_get_string(b, "deployment"));
	return order < 0 || (order == 0 && (len < other_len || (len == other_len && strcmp(one, other) < 0)));
}

static void insert(json_t *list, json_t *row)
{
	size_t at = json_array_size(list);
	while (at > 0 && is_older(row, json_array_get(list, at - 1)))
		at--;
	json_array_insert(list, at, row);
}

int guest_records_list(const struct source_call *s, struct view *v, const struct guest *g, json_t **ret,
                       struct err *err)
{
	_cleanup_json_ json_t *rows = NULL;
	const char *key;
	json_t *row;
	int r = s->c->state_list(s->c->engine, v->name, &rows, err);
	if (r < 0)
		return err_wrap(err, r, "the records of snapshots on '%s'", v->name);
	*ret = json_array();
	json_object_foreach(rows, key, row)
	{
		if (is_of(row, g))
			insert(*ret, row);
	}
	return 0;
}

const json_t *guest_records_of(const json_t *records, const char *deployment)
{
	for (size_t i = 0; i < json_array_size(records); i++)
		if (is_text(json_array_get(records, i), "deployment", deployment))
			return json_array_get(records, i);
	return NULL;
}

bool guest_record_holds(const json_t *record, const json_t *rows)
{
	const json_t *row = snapshots_find(rows, json_get_string(record, "snapshot"));
	return row != NULL && snapshots_is_whole(row) &&
	       snapshots_is_described(row, json_get_string(record, "description"));
}

/* ---- retention ---- */

struct cleaning {
	const struct source_call *s;
	struct target *t;
	const struct guest *g;
	const json_t *rows; /* what the server has */
};

static int forget(const struct cleaning *k, const char *snapshot, struct err *err)
{
	_cleanup_free_ char *key = guest_record_key(k->g->vmid, snapshot);
	return k->s->c->state_forget(k->s->c->engine, k->t->view.name, key, err);
}

static int remove_from_server(const struct cleaning *k, const char *snapshot, bool whole, struct err *err)
{
	const struct task_watch watch = {proxmox_of_target(&k->t->view), k->t->view.wait, NULL, NULL};
	json_t *upid _cleanup_json_ = NULL, *params _cleanup_json_ = whole ? NULL : json_pack("{s:b}", "force", 1);
	_cleanup_free_ char *segment = proxmox_segment(snapshot), *behind = xasprintf("/snapshot/%s", segment),
			    *path = guest_path(k->g, behind);
	int r = k->s->c->guard(k->s->c->engine, k->t->view.name, err);
	if (r == 0)
		r = proxmox_call(watch.p, "DELETE", path, params, watch.wait, &upid, err);
	if (r < 0 || !json_is_string(upid))
		return r;
	return task_follow(&watch, json_string_value(upid), proxmox_task_timeout(watch.p), err);
}

/* One that is not as its record says is somebody else's by now: only the record goes. */
static int drop(const struct cleaning *k, const json_t *record, struct err *err)
{
	const char *snapshot = json_get_string(record, "snapshot");
	const json_t *row = snapshots_find(k->rows, snapshot);
	bool own = row != NULL && snapshots_is_described(row, json_get_string(record, "description"));
	int r = own ? remove_from_server(k, snapshot, snapshots_is_whole(row), err) : 0;
	if (r == 0 && own)
		k->s->c->report(k->s->c->engine, "removed snapshot %s of guest %" PRId64 " '%s'", snapshot, k->g->vmid,
		                k->g->name);
	return r < 0 ? r : forget(k, snapshot, err);
}

static size_t newest_good(const json_t *records, const json_t *rows)
{
	size_t i = json_array_size(records);
	while (i > 0 && !guest_record_holds(json_array_get(records, i - 1), rows))
		i--;
	return i > 0 ? i - 1 : SIZE_MAX;
}

static int drop_old(const struct cleaning *k, const json_t *records, struct err *err)
{
	const json_t *in = k->s->in;
	size_t count = json_array_size(records), good = newest_good(records, k->rows),
	       keep = (size_t)json_get_int(in, "keep", 1);
	int64_t age_ms = source_duration_ms(in, "keep_for");
	int r = 0;
	for (size_t i = 0; r == 0 && i < count && good != SIZE_MAX; i++) {
		const json_t *record = json_array_get(records, i);
		bool old = i + keep < count || retention_is_older(json_get_string(record, "deployment"), age_ms);
		if (old && i != good)
			r = drop(k, record, err);
	}
	return r;
}

/* What somebody removed by hand does not count. */
static int forget_missing(const struct cleaning *k, json_t *records, struct err *err)
{
	int r = 0;
	for (size_t i = json_array_size(records); r == 0 && i-- > 0;) {
		const char *snapshot = json_get_string(json_array_get(records, i), "snapshot");
		if (snapshots_find(k->rows, snapshot) != NULL)
			continue;
		r = forget(k, snapshot, err);
		json_array_remove(records, i);
	}
	return r;
}

int guest_records_clean(const struct source_call *s, struct target *t, const struct guest *g, struct err *err)
{
	_cleanup_json_ json_t *records = NULL, *rows = NULL;
	int r = guest_records_list(s, &t->view, g, &records, err);
	if (r == 0)
		r = snapshots_read(proxmox_of_target(&t->view), g, t->view.wait, &rows, err);
	if (r < 0)
		return r;
	const struct cleaning k = {s, t, g, rows};
	r = forget_missing(&k, records, err);
	return r < 0 ? r : drop_old(&k, records, err);
}
