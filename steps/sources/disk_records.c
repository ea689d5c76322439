#include "steps/sources/disk_records.h"

#include "providers/scaleway/disk.h"
#include "providers/scaleway/target.h"
#include "steps/common/retention.h"

#include <string.h>

static const char row_type[] = "scaleway-snapshot";

char *disk_record_key(const char *disk, const char *snapshot)
{
	return xasprintf("%s:%s/%s", row_type, disk, snapshot);
}

json_t *disk_record_row(const json_t *node, const char *deployment)
{
	return json_pack("{s:s, s:s, s:O, s:O, s:O, s:O}", "type", row_type, "deployment", deployment, "disk",
	                 json_object_get(node, "disk"), "snapshot", json_object_get(node, "snapshot"), "mark",
	                 json_object_get(node, "mark"), "running", json_object_get(node, "running"));
}

static bool says(const json_t *row, const char *member, const char *text)
{
	const char *own = json_get_string(row, member);
	return own != NULL && (text == NULL || strcmp(own, text) == 0);
}

static bool is_record(const json_t *row, const char *disk)
{
	return says(row, "type", row_type) && says(row, "disk", disk) && says(row, "snapshot", NULL) &&
	       says(row, "mark", NULL) && says(row, "deployment", NULL);
}

/* The names begin with the deployment's id, which begins with its time. */
static bool comes_before(const json_t *a, const json_t *b)
{
	return strcmp(json_get_string(a, "snapshot"), json_get_string(b, "snapshot")) < 0;
}

int disk_records_list(const struct source_call *s, struct view *v, const char *disk, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *rows = NULL;
	json_t *list = NULL, *row;
	const char *key;
	int r = s->c->state_list(s->c->engine, v->name, &rows, err);
	if (r < 0)
		return err_wrap(err, r, "what is recorded of '%s'", v->name);
	list = json_array();
	json_object_foreach(rows, key, row)
	{
		size_t at = json_array_size(list);
		if (!is_record(row, disk))
			continue;
		while (at > 0 && comes_before(row, json_array_get(list, at - 1)))
			at--;
		json_array_insert(list, at, row);
	}
	*ret = list;
	return 0;
}

static int find(struct view *v, const json_t *record, json_t **ret, struct err *err)
{
	return disk_find_snapshot(scaleway_of_target(v), json_get_string(record, "snapshot"),
	                          json_get_string(record, "mark"), v->wait, ret, err);
}

int disk_record_holds(struct view *v, const json_t *record, bool *ret, struct err *err)
{
	_cleanup_json_ json_t *snapshot = NULL;
	int r = find(v, record, &snapshot, err);
	*ret = r == 0 && snapshot != NULL && disk_is_whole(snapshot);
	return r;
}

/* ---- retention ---- */

static int drop(const struct source_call *s, struct target *t, const json_t *record, struct err *err)
{
	struct scaleway *service = scaleway_of_target(&t->view);
	const char *disk = json_get_string(record, "disk"), *name = json_get_string(record, "snapshot");
	_cleanup_free_ char *key = disk_record_key(disk, name), *words = disk_words(disk);
	_cleanup_json_ json_t *snapshot = NULL;
	int r = find(&t->view, record, &snapshot, err);
	if (r == 0 && snapshot != NULL) {
		_cleanup_free_ char *path = object_path(service, &scaleway_kind_snapshot, object_id(snapshot), "");
		r = s->c->guard(s->c->engine, t->view.name, err);
		if (r == 0)
			r = scaleway_call(service, "DELETE", path, NULL, t->view.wait, NULL, err);
		if (r == 0)
			s->c->report(s->c->engine, "removed snapshot %s of the %s", name, words);
	}
	return r < 0 ? r : s->c->state_forget(s->c->engine, t->view.name, key, err);
}

static int find_newest_good(struct view *v, const json_t *records, size_t *ret, struct err *err)
{
	int r = 0;
	bool good = false;
	*ret = SIZE_MAX;
	for (size_t i = json_array_size(records); r == 0 && !good && i-- > 0;) {
		r = disk_record_holds(v, json_array_get(records, i), &good, err);
		if (good)
			*ret = i;
	}
	return r;
}

int disk_records_clean(const struct source_call *s, struct target *t, const char *disk, struct err *err)
{
	_cleanup_json_ json_t *records = NULL;
	size_t good = SIZE_MAX, keep = (size_t)json_get_int(s->in, "keep", 1);
	int64_t age_ms = source_duration_ms(s->in, "keep_for");
	int r = disk_records_list(s, &t->view, disk, &records, err);
	if (r == 0)
		r = find_newest_good(&t->view, records, &good, err);
	for (size_t i = 0; r == 0 && good != SIZE_MAX && i < json_array_size(records); i++) {
		const json_t *record = json_array_get(records, i);
		bool many = i + keep < json_array_size(records);
		if (i != good && (many || retention_is_older(json_get_string(record, "deployment"), age_ms)))
			r = drop(s, t, record, err);
	}
	return r;
}
