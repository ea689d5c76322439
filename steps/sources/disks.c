/* source of block volumes of Scaleway: each is kept by a snapshot of the service's own, and put back by a new volume that is made from it. */
#include "providers/scaleway/instance.h"
#include "providers/scaleway/snapshot_change.h"
#include "providers/scaleway/target.h"
#include "steps/sources/disk_records.h"

#include <string.h>

/* ---- the input: "volume:data", "instance:web", … ---- */

static void add_keys(const struct source_call *s, const char *member, const char *prefix, json_t *keys)
{
	const json_t *names = json_get_array(s->in, member);
	for (size_t i = 0; i < json_array_size(names); i++)
		json_array_append_new(keys, json_stringf("%s:%s", prefix, json_string_value(json_array_get(names, i))));
}

static json_t *keys_of(const struct source_call *s)
{
	json_t *keys = json_array();
	add_keys(s, "volumes", "volume", keys);
	add_keys(s, "instances", "instance", keys);
	return keys;
}

static const char *nth(const json_t *keys, size_t i)
{
	return json_string_value(json_array_get(keys, i));
}

static void describe(const struct source_call *s, struct str *out)
{
	_cleanup_json_ json_t *keys = keys_of(s);
	for (size_t i = 0; i < json_array_size(keys); i++) {
		_cleanup_free_ char *words = disk_words(nth(keys, i));
		str_appendf(out, "%sthe %s", i > 0 ? ", " : "", words);
	}
}

static void validate(const struct source_call *s, struct faults *faults)
{
	_cleanup_json_ json_t *keys = keys_of(s);
	if (json_array_size(keys) == 0)
		faults_add(faults, NULL, "/scaleway", "nothing is named in `volumes` and `instances`");
	for (size_t i = 0; i < json_array_size(keys); i++)
		for (size_t k = 0; k < i; k++)
			if (json_equal(json_array_get(keys, i), json_array_get(keys, k)))
				faults_add(faults, NULL, "/scaleway", "the %s '%s' is named twice",
				           str_starts(nth(keys, i), "volume:") ? "volume" : "instance",
				           strchr(nth(keys, i), ':') + 1);
}

/* ---- what must be there ---- */

static bool may_be_missing(const struct source_call *s)
{
	const char *word = json_get_string(s->in, "when_none");
	return word != NULL && strcmp(word, "skip") == 0;
}

static int not_there(struct view *v, const char *key, struct err *err)
{
	_cleanup_free_ char *words = disk_words(key);
	err_set(err, ERR_NOT_FOUND, "'%s' has no %s", v->name, words);
	return err_hint(err, ERR_NOT_FOUND, "`when_none: skip` leaves out what a first deployment has yet to make");
}

/* d->volume NULL: it may be missing, and is. */
static int find_disk(const struct source_call *s, struct view *v, const char *key, bool to_put_back, struct disk *d,
                     struct err *err)
{
	int r = disk_read(scaleway_of_target(v), key, v->wait, d, err);
	if (r == 0 && d->volume == NULL && (to_put_back || !may_be_missing(s)))
		r = not_there(v, key, err);
	if (r == 0 && d->volume != NULL && d->server != NULL && to_put_back)
		r = instance_refuse_self(d->server, "switched off", err);
	return r;
}

static int check(const struct source_call *s, struct view *v, bool to_put_back, struct faults *faults, struct err *err)
{
	_cleanup_json_ json_t *keys = keys_of(s);
	(void)err;
	for (size_t i = 0; i < json_array_size(keys); i++) {
		struct disk d _cleanup_(disk_done) = {0};
		struct err own = ERR_INIT;
		char line[1024];
		if (find_disk(s, v, nth(keys, i), to_put_back, &d, &own) == 0)
			continue;
		faults_add(faults, NULL, "/scaleway", "%s", err_line(&own, line, sizeof(line)));
		if (own.hint[0] != '\0')
			faults_hint(faults, "%s", own.hint);
	}
	return 0;
}

/* ---- planned: kept ---- */

/* A plan that nobody makes has no id: its digest counts both alike. */
static const char *id_of(const struct source_call *s)
{
	return s->c->deployment->id != NULL ? s->c->deployment->id : "ID";
}

static void add_snapshot(const struct source_call *s, const struct disk *d, const char *key, bool restore,
                         struct plan *plan)
{
	_cleanup_free_ char *name = xasprintf("%s%s_%d", SNAPSHOT_OF_DAVIT, id_of(s), s->c->place),
			    *path = xasprintf("%s/%s", key, name), *words = disk_words(key),
			    *row_key = disk_record_key(key, name);
	struct change *c = plan_add(plan, &scaleway_snapshot, ACTION_CREATE, path);
	c->before = json_pack("{s:s}", "type", "absent");
	c->after = disk_node(d, "scaleway_snapshot", key, name, disk_is_running(d));
	/* Its own of each disk: one name serves all of a step. */
	json_object_set_new(c->after, "mark", json_stringf("%s%s %s", OBJECT_MARK, id_of(s), key));
	c->extra = json_pack("{s:b, s:{s:s, s:b}}", "restore", restore, "plan", "type", "snapshot", "restore", restore);
	c->summary = xasprintf(
		"snapshot of the %s, %lld GB%s%s", words, (long long)(json_get_int(d->volume, "size", 0) / 1000000000),
		disk_is_running(d) ? ", while its instance runs" : "", restore ? ", put back on a rollback" : "");
	_cleanup_json_ json_t *row = disk_record_row(c->after, id_of(s));
	change_set_state_row(c, row_key, row, NULL);
}

static int keep(const struct source_call *s, struct view *v, bool restore, struct plan *plan, struct err *err)
{
	_cleanup_json_ json_t *keys = keys_of(s);
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(keys); i++) {
		struct disk d _cleanup_(disk_done) = {0};
		r = find_disk(s, v, nth(keys, i), false, &d, err);
		if (r == 0 && restore && d.server != NULL)
			r = instance_refuse_self(d.server, "switched off to put it back", err);
		if (r == 0 && d.volume != NULL) {
			add_snapshot(s, &d, nth(keys, i), restore, plan);
		} else if (r == 0) {
			_cleanup_free_ char *words = disk_words(nth(keys, i));
			strv_add_take(&plan->warnings,
			              xasprintf("'%s' has no %s: nothing of it is kept", v->name, words));
		}
	}
	return r;
}

/* ---- planned: put back ---- */

static int not_kept(const char *key, const json_t *record, struct err *err)
{
	_cleanup_free_ char *words = disk_words(key);
	const char *name = json_get_string(record, "snapshot");
	err_set(err, ERR_REFUSED, "the %s has no whole snapshot '%s' of davit's any more", words,
	        name != NULL ? name : "");
	return err_hint(err, ERR_REFUSED, "`keep` says how many stay; somebody may have removed it");
}

static void add_rollback(const struct disk *d, const char *key, const json_t *record, const json_t *former,
                         struct plan *plan)
{
	const char *name = json_get_string(record, "snapshot"), *deployment = json_get_string(record, "deployment");
	bool running = disk_is_running(d);
	_cleanup_free_ char *path = xasprintf("%s/%s/restored", key, json_get_string(former, "snapshot")),
			    *words = disk_words(key);
	struct change *c = plan_add(plan, &scaleway_rollback, ACTION_UPDATE, path);
	c->before = disk_node(d, "scaleway_disk", key, json_get_string(former, "snapshot"), running);
	c->after = disk_node(d, "scaleway_disk", key, name, running);
	json_object_set(c->before, "of", json_object_get(former, "mark"));
	json_object_set(c->after, "of", json_object_get(record, "mark"));
	json_object_set_new(c->after, "mark", json_stringf("%s put back", json_get_string(former, "mark")));
	c->extra = json_object();
	c->summary = xasprintf("put the %s back to the snapshot of %s: a new volume takes the place of %s, which is "
	                       "removed%s",
	                       words, deployment, object_id(d->volume),
	                       running ? "; its instance is switched off for that, and on again" : "");
}

/* What is replaced is kept by a snapshot first. */
static int plan_one(const struct source_call *s, struct view *v, const char *key, const json_t *record,
                    struct plan *plan, struct err *err)
{
	struct disk d _cleanup_(disk_done) = {0};
	bool holds = false;
	int r = find_disk(s, v, key, true, &d, err);
	if (r == 0)
		r = disk_record_holds(v, record, &holds, err);
	if (r == 0 && !holds)
		r = not_kept(key, record, err);
	if (r < 0)
		return r;
	add_snapshot(s, &d, key, false, plan);
	json_t *former _cleanup_json_ = json_incref(plan->changes[plan->count - 1].after);
	add_rollback(&d, key, record, former, plan);
	return 0;
}

static const json_t *record_of(const json_t *records, const char *member, const char *text)
{
	for (size_t i = 0; i < json_array_size(records); i++) {
		const char *own = json_get_string(json_array_get(records, i), member);
		if (own != NULL && strcmp(own, text) == 0)
			return json_array_get(records, i);
	}
	return NULL;
}

/* The records of each disk, in the order of the input. */
static int list_all(const struct source_call *s, struct view *v, const json_t *keys, json_t **ret, struct err *err)
{
	json_t *all = json_array();
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(keys); i++) {
		json_t *records = NULL;
		r = disk_records_list(s, v, nth(keys, i), &records, err);
		if (r == 0)
			json_array_append_new(all, records);
	}
	*ret = all;
	return r;
}

static bool all_have(const json_t *all, const char *deployment)
{
	for (size_t i = 0; i < json_array_size(all); i++)
		if (record_of(json_array_get(all, i), "deployment", deployment) == NULL)
			return false;
	return true;
}

static int no_record(const struct source_call *s, struct view *v, const char *wanted, struct err *err)
{
	struct str what _cleanup_(str_done) = STR_INIT(2048);
	describe(s, &what);
	err_set(err, ERR_REFUSED, "nothing recorded here of '%s' names a snapshot%s%s of %.300s", v->name,
	        wanted != NULL ? " by " : "", wanted != NULL ? wanted : "", str_peek(&what));
	return err_hint(err, ERR_REFUSED,
	                "what a `snapshot` step of this deployment and environment took from this machine can be put "
	                "back; `davit history` lists what ran here");
}

static int plan_all(const struct source_call *s, struct view *v, const json_t *keys, const json_t *all,
                    const char *deployment, struct plan *plan, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(keys); i++)
		r = plan_one(s, v, nth(keys, i), record_of(json_array_get(all, i), "deployment", deployment), plan,
		             err);
	return r;
}

/* after: the oldest that is younger than that release; NULL: the newest. What is put back belongs together. */
static const char *choose(const json_t *all, const char *after)
{
	const json_t *first = json_array_get(all, 0);
	const char *chosen = NULL;
	for (size_t i = 0; i < json_array_size(first); i++) {
		const char *deployment = json_get_string(json_array_get(first, i), "deployment");
		if (!all_have(all, deployment) || (after != NULL && strcmp(deployment, after) <= 0))
			continue;
		if (after != NULL)
			return deployment;
		chosen = deployment;
	}
	return chosen;
}

static int replace(const struct source_call *s, struct view *v, const json_t *from, struct plan *plan, struct err *err)
{
	_cleanup_json_ json_t *keys = keys_of(s), *all = NULL;
	const char *wanted = json_get_string(from, "snapshot"), *deployment = NULL;
	int r = list_all(s, v, keys, &all, err);
	if (r < 0)
		return r;
	deployment = wanted == NULL ? choose(all, NULL) : all_have(all, wanted) ? wanted : NULL;
	return deployment != NULL ? plan_all(s, v, keys, all, deployment, plan, err) : no_record(s, v, wanted, err);
}

static int back(const struct source_call *s, struct view *v, const struct change *former, struct plan *plan,
                struct err *err)
{
	_cleanup_json_ json_t *records = NULL;
	const char *key = json_get_string(former->after, "disk"), *name = json_get_string(former->after, "snapshot");
	if (strcmp(former->kind, scaleway_snapshot.name) != 0 || key == NULL || name == NULL)
		return 0;
	int r = disk_records_list(s, v, key, &records, err);
	if (r < 0)
		return r;
	const json_t *record = record_of(records, "snapshot", name);
	return record != NULL ? plan_one(s, v, key, record, plan, err) : not_kept(key, former->after, err);
}

static int back_to(const struct source_call *s, struct view *v, const char *release, struct plan *plan, struct err *err)
{
	_cleanup_json_ json_t *keys = keys_of(s), *all = NULL;
	int r = list_all(s, v, keys, &all, err);
	const char *deployment = r == 0 ? choose(all, release) : NULL;
	if (r < 0)
		return r;
	return deployment != NULL ? plan_all(s, v, keys, all, deployment, plan, err) : no_record(s, v, release, err);
}

static int clean(const struct source_call *s, struct target *t, struct err *err)
{
	_cleanup_json_ json_t *keys = keys_of(s);
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(keys); i++)
		r = disk_records_clean(s, t, nth(keys, i), err);
	return r;
}

static const struct source_outside outside = {.target = "scaleway",
                                              .check = check,
                                              .keep = keep,
                                              .replace = replace,
                                              .back = back,
                                              .back_to = back_to,
                                              .clean = clean};
const struct source source_scaleway = {.name = "scaleway",
                                       .verb = "take a snapshot of",
                                       .describe = describe,
                                       .validate = validate,
                                       .outside = &outside};
