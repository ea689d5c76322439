/* source of guests of a Proxmox server: each is kept by a snapshot of the server's own, and put back by a rollback to it. */
#include "base/core/clock.h"
#include "providers/proxmox/rights.h"
#include "providers/proxmox/self.h"
#include "providers/proxmox/snapshot_change.h"
#include "providers/proxmox/snapshots.h"
#include "providers/proxmox/target.h"
#include "steps/sources/guest_records.h"

#include <inttypes.h>
#include <string.h>

static void describe(const struct source_call *s, struct str *out)
{
	const json_t *guests = json_get_array(s->in, "guests");
	str_append(out, json_array_size(guests) == 1 ? "the guest " : "the guests ");
	for (size_t i = 0; i < json_array_size(guests); i++)
		str_appendf(out, "%s%s", i > 0 ? ", " : "", json_string_value(json_array_get(guests, i)));
}

static void validate(const struct source_call *s, struct faults *faults)
{
	const json_t *guests = json_get_array(s->in, "guests");
	for (size_t i = 0; i < json_array_size(guests); i++)
		for (size_t k = 0; k < i; k++)
			if (json_equal(json_array_get(guests, i), json_array_get(guests, k))) {
				_cleanup_free_ char *pointer = xasprintf("/proxmox/guests/%zu", i);
				faults_add(faults, NULL, pointer, "'%s' is named twice",
				           json_string_value(json_array_get(guests, i)));
			}
}

/* ---- what must be there ---- */

static const char *nth(const struct source_call *s, size_t i)
{
	return json_string_value(json_array_get(json_get_array(s->in, "guests"), i));
}

static size_t count_of(const struct source_call *s)
{
	return json_array_size(json_get_array(s->in, "guests"));
}

static bool may_be_missing(const struct source_call *s)
{
	const char *word = json_get_string(s->in, "when_none");
	return word != NULL && strcmp(word, "skip") == 0;
}

static bool keeps_former(const struct source_call *s)
{
	return json_get_bool(s->in, "keep_former", true);
}

static int check_rights(struct proxmox *p, const struct guest *g, bool to_put_back, struct wait *w, struct err *err)
{
	const char *const wanted[] = {"VM.Audit", "VM.Snapshot", to_put_back ? "VM.PowerMgmt" : NULL, NULL};
	_cleanup_free_ char *path = xasprintf("/vms/%" PRId64, g->vmid);
	return rights_check(p, path, wanted, w, err);
}

/* The nth guest, which can have a snapshot and, to_put_back, be put back. Not there: it may be missing. */
static int find_guest(const struct source_call *s, struct view *v, size_t i, bool to_put_back, struct guest *ret,
                      struct err *err)
{
	struct proxmox *p = proxmox_of_target(v);
	int r = guest_read_named(p, nth(s, i), v->wait, ret, err);
	if (r == ERR_NOT_FOUND && may_be_missing(s)) {
		err_clear(err);
		return 0;
	}
	if (r == 0)
		r = check_rights(p, ret, to_put_back, v->wait, err);
	if (r == 0)
		r = snapshots_check(p, ret, v->wait, err);
	return r == 0 && to_put_back ? self_refuse(p, ret, "put back", v->wait, err) : r;
}

static int check(const struct source_call *s, struct view *v, bool to_put_back, struct faults *faults, struct err *err)
{
	(void)err;
	for (size_t i = 0; i < count_of(s); i++) {
		struct guest g _cleanup_(guest_done) = {0};
		struct err own = ERR_INIT;
		char line[1024];
		_cleanup_free_ char *pointer = xasprintf("/proxmox/guests/%zu", i);
		if (find_guest(s, v, i, to_put_back, &g, &own) == 0)
			continue;
		faults_add(faults, NULL, pointer, "%s", err_line(&own, line, sizeof(line)));
		if (own.hint[0] != '\0')
			faults_hint(faults, "%s", own.hint);
	}
	return 0;
}

/* ---- planned: kept ---- */

static const char *id_of(const struct source_call *s)
{
	return s->c->deployment->id != NULL ? s->c->deployment->id : "next";
}

static int own_name(const struct source_call *s, char name[SNAPSHOTS_NAME_MAX + 1], struct err *err)
{
	int n = snprintf(name, SNAPSHOTS_NAME_MAX + 1, "%s%s_%d", SNAPSHOT_PREFIX, id_of(s), s->c->place);
	return n > 0 && n <= SNAPSHOTS_NAME_MAX
	               ? 0
	               : err_set(err, ERR_LIMIT, "the name of the snapshot is too long: %s…", name);
}

/* The newest rollback so far: one that comes later is this deployment's. */
static int note_seen(struct proxmox *p, const struct guest *g, struct wait *w, struct change *c, struct err *err)
{
	_cleanup_free_ char *seen = NULL;
	int r = snapshot_last_rollback(p, g, w, &seen, err);
	if (r == 0 && seen != NULL)
		json_object_set_new(c->extra, "seen", json_string(seen));
	return r;
}

static int refuse_twice(const struct plan *plan, const char *path, const char *name, struct err *err)
{
	for (size_t i = 0; i < plan->count; i++)
		if (strcmp(plan->changes[i].path, path) == 0)
			return err_set(err, ERR_INVALID, "the guest '%s' is named twice, by its name and by its id",
			               name);
	return 0;
}

static int add_snapshot(const struct source_call *s, struct view *v, const struct guest *g, bool restore,
                        struct plan *plan, struct err *err)
{
	const struct step_deployment *d = s->c->deployment;
	bool vmstate = json_get_bool(s->in, "vmstate", false) && g->running && strcmp(g->type, "qemu") == 0;
	char name[SNAPSHOTS_NAME_MAX + 1];
	int r = own_name(s, name, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *path = xasprintf("%" PRId64 ":%s/%s", g->vmid, g->name, name);
	r = refuse_twice(plan, path, g->name, err);
	if (r < 0)
		return r;
	struct change *c = plan_add(plan, &proxmox_snapshot, ACTION_CREATE, path);
	c->before = json_pack("{s:s}", "type", "absent");
	c->after = snapshot_node(g, "snapshot", name, g->running);
	json_object_set_new(c->after, "vmstate", json_boolean(vmstate));
	json_object_set_new(c->after, "description",
	                    json_stringf("davit %s.%s, deployment %s", d->name, d->environment, id_of(s)));
	c->extra = json_pack("{s:b, s:{s:s, s:b}}", "restore", restore, "plan", "type", "snapshot", "restore", restore);
	c->summary =
		xasprintf("snapshot of the %s guest %" PRId64 " '%s'%s%s", g->running ? "running" : "stopped", g->vmid,
	                  g->name, vmstate ? ", with its memory" : "", restore ? ", put back on a rollback" : "");
	_cleanup_free_ char *key = guest_record_key(g->vmid, name);
	_cleanup_json_ json_t *row = guest_record_row(c->after, id_of(s));
	change_set_state_row(c, key, row, NULL);
	return note_seen(proxmox_of_target(v), g, v->wait, c, err);
}

static int keep(const struct source_call *s, struct view *v, bool restore, struct plan *plan, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < count_of(s); i++) {
		struct guest g _cleanup_(guest_done) = {0};
		r = find_guest(s, v, i, restore, &g, err);
		if (r == 0 && g.there) {
			r = add_snapshot(s, v, &g, restore, plan, err);
		} else if (r == 0) {
			_cleanup_free_ char *text =
				xasprintf("'%s' has no guest '%s': nothing of it is kept", v->name, nth(s, i));
			strv_add(&plan->warnings, text);
		}
	}
	return r;
}

/* ---- planned: put back ---- */

static int refuse_order(struct view *v, const struct guest *g, const json_t *rows, const char *snapshot, bool former,
                        struct err *err)
{
	struct str storages _cleanup_(str_done) = STR_INIT(1024), later _cleanup_(str_done) = STR_INIT(4096);
	int r = snapshots_newest_only(proxmox_of_target(v), g, v->wait, &storages, err);
	if (r < 0 || storages.len == 0)
		return r;
	snapshots_after(rows, snapshot, &later);
	if (later.len > 0) {
		err_set(err, ERR_REFUSED,
		        "guest %" PRId64
		        " '%s' lies on %s, where only the newest snapshot can be put back: '%s' is older "
		        "than %.200s",
		        g->vmid, g->name, str_peek(&storages), snapshot, str_peek(&later));
		return err_hint(err, ERR_REFUSED,
		                "it can be once the newer ones are removed, which loses what they keep");
	}
	if (!former)
		return 0;
	err_set(err, ERR_REFUSED,
	        "guest %" PRId64 " '%s' lies on %s, where only the newest snapshot can be put back: the one of what is "
	        "replaced would be newer",
	        g->vmid, g->name, str_peek(&storages));
	return err_hint(
		err, ERR_REFUSED,
		"`keep_former: false` puts it back without one: then nothing brings back what the guest has now");
}

static int not_kept(const struct guest *g, const char *snapshot, struct err *err)
{
	err_set(err, ERR_REFUSED, "guest %" PRId64 " '%s' has no whole snapshot '%s' of davit's any more", g->vmid,
	        g->name, snapshot);
	return err_hint(err, ERR_REFUSED, "`keep` says how many stay; somebody may have removed it");
}

static void add_rollback(const struct source_call *s, const struct guest *g, const json_t *rows, const json_t *record,
                         struct plan *plan)
{
	const char *snapshot = json_get_string(record, "snapshot"), *deployment = json_get_string(record, "deployment");
	const char *former = keeps_former(s) ? json_get_string(plan->changes[plan->count - 1].after, "snapshot")
	                                     : snapshots_parent(rows);
	bool running = json_get_bool(record, "running", false);
	_cleanup_free_ char *path = xasprintf("%" PRId64 ":%s/%s/restored", g->vmid, g->name, former);
	struct change *c = plan_add(plan, &proxmox_rollback, ACTION_UPDATE, path);
	c->before = snapshot_node(g, "state", former, g->running);
	c->after = snapshot_node(g, "state", snapshot, running);
	c->extra = json_pack("{s:b, s:{s:s, s:s, s:b}}", "former", keeps_former(s), "plan", "type", "rollback",
	                     "snapshot", snapshot, "former", keeps_former(s));
	c->summary =
		xasprintf("put guest %" PRId64 " '%s' back to the snapshot of %s, disks and configuration%s; it is "
	                  "%s afterwards",
	                  g->vmid, g->name, deployment, g->running ? ": it is stopped for that" : "",
	                  running ? "running" : "stopped");
}

/* The guest is put back to what the record names, which must be there. */
static int plan_one(const struct source_call *s, struct view *v, const struct guest *g, const json_t *record,
                    struct plan *plan, struct err *err)
{
	struct proxmox *p = proxmox_of_target(v);
	const char *snapshot = json_get_string(record, "snapshot");
	json_t *rows _cleanup_json_ = NULL;
	int r = snapshots_read(p, g, v->wait, &rows, err);
	if (r == 0 && !guest_record_holds(record, rows))
		r = not_kept(g, snapshot, err);
	if (r == 0)
		r = refuse_order(v, g, rows, snapshot, keeps_former(s), err);
	if (r == 0 && keeps_former(s))
		r = add_snapshot(s, v, g, false, plan, err);
	if (r < 0)
		return r;
	if (!keeps_former(s)) {
		_cleanup_free_ char *text = xasprintf(
			"what guest %" PRId64 " '%s' has now is lost: nothing keeps it, and no undo brings it back",
			g->vmid, g->name);
		strv_add(&plan->warnings, text);
	}
	add_rollback(s, g, rows, record, plan);
	return note_seen(p, g, v->wait, &plan->changes[plan->count - 1], err);
}

/* Guests with their records, in the order of the input. */
struct found {
	struct guest *guests;
	json_t **records;
	size_t count;
};

static void found_done(struct found *f)
{
	for (size_t i = 0; i < f->count; i++) {
		guest_done(&f->guests[i]);
		json_decref(f->records[i]);
	}
	free(f->guests);
	free(f->records);
}

static int find_all(const struct source_call *s, struct view *v, struct found *f, struct err *err)
{
	int r = 0;
	f->count = count_of(s);
	f->guests = xcalloc(f->count + 1, sizeof(f->guests[0]));
	f->records = xcalloc(f->count + 1, sizeof(f->records[0]));
	for (size_t i = 0; r == 0 && i < f->count; i++) {
		r = find_guest(s, v, i, true, &f->guests[i], err);
		if (r == 0 && f->guests[i].there)
			r = guest_records_list(s, v, &f->guests[i], &f->records[i], err);
	}
	return r;
}

static bool all_have(const struct found *f, const char *deployment)
{
	for (size_t i = 0; i < f->count; i++)
		if (guest_records_of(f->records[i], deployment) == NULL)
			return false;
	return true;
}

/* The newest deployment that kept all of them: what is put back belongs together. NULL: none did. */
static const char *newest_of_all(const struct found *f)
{
	for (size_t i = json_array_size(f->records[0]); i-- > 0;) {
		const char *deployment = json_get_string(json_array_get(f->records[0], i), "deployment");
		if (all_have(f, deployment))
			return deployment;
	}
	return NULL;
}

static int no_record(const struct source_call *s, struct view *v, const char *wanted, struct err *err)
{
	struct str what _cleanup_(str_done) = STR_INIT(1024);
	describe(s, &what);
	err_set(err, ERR_REFUSED, "no record of this deployment on '%s' names a snapshot%s%s of %.300s", v->name,
	        wanted != NULL ? " by " : "", wanted != NULL ? wanted : "", str_peek(&what));
	return err_hint(
		err, ERR_REFUSED,
		"only what a `snapshot` step of this deployment and environment took is put back, by the journal of "
		"the machine that took it; `davit history` lists what ran here");
}

static int plan_all(const struct source_call *s, struct view *v, const struct found *f, const char *deployment,
                    struct plan *plan, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < f->count; i++)
		r = plan_one(s, v, &f->guests[i], guest_records_of(f->records[i], deployment), plan, err);
	return r;
}

static int replace(const struct source_call *s, struct view *v, const json_t *from, struct plan *plan, struct err *err)
{
	struct found f _cleanup_(found_done) = {0};
	const char *wanted = json_get_string(from, "snapshot"), *deployment;
	int r = find_all(s, v, &f, err);
	if (r < 0)
		return r;
	deployment = wanted == NULL ? newest_of_all(&f) : all_have(&f, wanted) ? wanted : NULL;
	return deployment != NULL ? plan_all(s, v, &f, deployment, plan, err) : no_record(s, v, wanted, err);
}

/* ---- behind a committed deployment ---- */

/* A way back of that deployment has the snapshot of what it replaced before it. */
static int back(const struct source_call *s, struct view *v, const struct change *former, struct plan *plan,
                struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *records _cleanup_json_ = NULL;
	const char *snapshot = json_get_string(former->after, "snapshot");
	_cleanup_free_ char *id = xasprintf("%" PRId64, json_get_int(former->after, "vmid", -1));
	const json_t *record = NULL;
	if (strcmp(former->kind, proxmox_snapshot.name) != 0)
		return 0;
	int r = guest_read_named(proxmox_of_target(v), id, v->wait, &g, err);
	if (r == 0)
		r = snapshots_check(proxmox_of_target(v), &g, v->wait, err);
	if (r == 0)
		r = self_refuse(proxmox_of_target(v), &g, "put back", v->wait, err);
	if (r == 0)
		r = guest_records_list(s, v, &g, &records, err);
	for (size_t i = 0; r == 0 && record == NULL && i < json_array_size(records); i++) {
		const char *own = json_get_string(json_array_get(records, i), "snapshot");
		if (snapshot != NULL && strcmp(own, snapshot) == 0)
			record = json_array_get(records, i);
	}
	if (r == 0 && record == NULL)
		r = not_kept(&g, snapshot != NULL ? snapshot : "", err);
	return r < 0 ? r : plan_one(s, v, &g, record, plan, err);
}

/* What the release's successor kept before it changed anything: the oldest that is younger. */
static int back_to(const struct source_call *s, struct view *v, const char *release, struct plan *plan, struct err *err)
{
	struct found f _cleanup_(found_done) = {0};
	int r = find_all(s, v, &f, err);
	for (size_t i = 0; r == 0 && i < json_array_size(f.records[0]); i++) {
		const char *deployment = json_get_string(json_array_get(f.records[0], i), "deployment");
		if (strcmp(deployment, release) > 0 && all_have(&f, deployment))
			return plan_all(s, v, &f, deployment, plan, err);
	}
	return r < 0 ? r : no_record(s, v, release, err);
}

/* ---- retention ---- */

static int clean(const struct source_call *s, struct target *t, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < count_of(s); i++) {
		struct guest g _cleanup_(guest_done) = {0};
		r = guest_read_named(proxmox_of_target(&t->view), nth(s, i), t->view.wait, &g, err);
		if (r == 0)
			r = guest_records_clean(s, t, &g, err);
		if (r == ERR_NOT_FOUND) {
			err_clear(err);
			r = 0;
		}
	}
	return r;
}

static const struct source_outside outside = {.target = "proxmox",
                                              .check = check,
                                              .keep = keep,
                                              .replace = replace,
                                              .back = back,
                                              .back_to = back_to,
                                              .clean = clean};
const struct source source_proxmox = {.name = "proxmox",
                                      .verb = "take a snapshot of",
                                      .describe = describe,
                                      .validate = validate,
                                      .outside = &outside};
