#include "engine/lock/lock.h"

#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/data/json.h"
#include "base/core/rand.h"
#include "base/sys/host.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_RECORD = 64 << 10, MAX_MARK = 256, MAX_ID = 64, MAX_COPY = 64 << 20, TAKE_TRIES = 5 };

/* ---- records ---- */

json_t *lock_owner_process(int pid)
{
	int p = pid ? pid : host_pid();
	return json_pack("{s:i, s:I, s:s, s:I}", "pid", p, "start_time", (json_int_t)host_start_time(p), "boot_id",
	                 host_boot_id(), "pid_ns", (json_int_t)host_pid_namespace());
}

bool lock_owner_process_gone(const json_t *process)
{
	const char *boot = json_get_string(process, "boot_id");
	if (boot == NULL)
		return false;
	if (strcmp(boot, host_boot_id()) != 0)
		return true;
	/* A pid of another namespace means another process here, or none. */
	if ((uint64_t)json_get_int(process, "pid_ns", 0) != host_pid_namespace())
		return false;
	return !host_process_alive((int)json_get_int(process, "pid", 0),
	                           (uint64_t)json_get_int(process, "start_time", 0));
}

static void keep(json_t *record, const json_t *from, const char *key)
{
	json_t *value = json_object_get(from, key);
	if (value)
		json_object_set(record, key, value);
}

json_t *lock_record(const struct store *s, const json_t *deployment, const json_t *former)
{
	char token[LOCK_TOKEN_DIGITS + 1];
	const struct passwd *user = getpwuid(geteuid());
	const char *const kept[] = {"name", "environment", "commit"};
	json_t *o = lock_owner_process(0);
	rand_hex(token, LOCK_TOKEN_DIGITS);
	json_object_set_new(o, "format", json_integer(LOCK_FORMAT));
	json_object_set_new(o, "token", json_string(token));
	json_object_set_new(o, "store_id", json_string(store_id(s)));
	json_object_set_new(o, "machine_id", json_string(host_machine_id()));
	json_object_set_new(o, "host", json_string(host_name()));
	json_object_set_new(o, "user", json_string(user ? user->pw_name : "?"));
	json_object_set_new(o, "made_ms", json_integer(clock_wall_ms()));
	if (former) {
		keep(o, former, "deployment");
		keep(o, former, "targets");
		keep(o, former, "mark");
		keep(o, former, "earlier");
	} else {
		json_object_set(o, "deployment", json_object_get(deployment, "id"));
		keep(o, deployment, "target_names");
		json_t *names = json_object_get(o, "target_names");
		if (names) {
			json_object_set(o, "targets", names);
			json_object_del(o, "target_names");
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		keep(o, former ? former : deployment, kept[i]);
	return o;
}

char *lock_dir_of(const struct view *v, const char *name, const char *environment)
{
	return xasprintf("%s/open/%s.%s", v->facts.base, name, environment);
}

char *lock_describe(const json_t *record)
{
	char since[CLOCK_TEXT_SIZE];
	const char *host = json_get_string(record, "host"), *user = json_get_string(record, "user"),
		   *id = json_get_string(record, "deployment");
	return xasprintf("by the deployment %s on %s as %s since %s", id ? id : "?", host ? host : "?",
	                 user ? user : "?", clock_rfc3339(json_get_int(record, "made_ms", 0), since));
}

/* ---- taking ---- */

static char *renewed_text(const struct target *t, int64_t counter)
{
	return xasprintf("%" PRId64 " %.8s\n", counter, t->token);
}

static int ignore(int r, int ignored, struct err *err)
{
	if (r != ignored)
		return r;
	err_clear(err);
	return 0;
}

/* Makes missing parents of BASE too; existing ones stay as they are. */
static int make_base(struct target *t, struct err *err)
{
	const struct node_attr ours = {.set_mode = true, .mode = 0700};
	const char *base = t->view.facts.base;
	int r = ignore(host_mkdir(t, base, &ours, err), ERR_EXISTS, err);
	if (r != ERR_NOT_FOUND)
		return r;
	_cleanup_free_ char *part = xstrdup(base);
	for (char *at = part + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		_cleanup_(node_done) struct node n = {0};
		r = host_stat(&t->view, part, &n, err);
		if (r == 0 && n.type == NODE_ABSENT)
			r = ignore(host_mkdir(t, part, NULL, err), ERR_EXISTS, err);
		*at = '/';
		if (r < 0)
			return r;
	}
	return ignore(host_mkdir(t, base, &ours, err), ERR_EXISTS, err);
}

/* An account without a home directory of its own, or one that it may not write to: nothing of the deployment lies there. */
static int without_base(const struct target *t, int r, struct err *err)
{
	err_wrap(err, r, "'%s': the directory of davit's locks and copies, '%s', cannot be made", t->view.name,
	         t->view.facts.base);
	if (r == ERR_PERMISSION || r == ERR_IO)
		err_hint(err, r, "name one that '%s' may write to or make: `base: /some/path` of the target",
		         t->view.facts.user);
	return r;
}

/* Makes the entries of a lock's directory once it is ours, and removes those that were only needed to take it. A power cut may have
 * removed the directories and left the lock. */
static int make_inside(struct target *t, const char *former_name, struct err *err)
{
	const struct node_attr ours = {.set_mode = true, .mode = 0700}, file = {.set_mode = true, .mode = 0600};
	_cleanup_free_ char *undo = fs_join(t->lock_dir, "undo"), *pids = fs_join(t->lock_dir, "pids"),
			    *renewed = fs_join(t->lock_dir, "renewed");
	_cleanup_free_ char *text = renewed_text(t, 0);
	const struct target_op ops[] = {
		{TARGET_MKDIR, .path = undo, .attr = &ours, .fine = ERR_EXISTS},
		{TARGET_MKDIR, .path = pids, .attr = &ours, .fine = ERR_EXISTS},
		{TARGET_PUT, .path = renewed, .data = text, .len = strlen(text), .attr = &file},
		{TARGET_REMOVE, .path = former_name, .fine = ERR_NOT_FOUND},
	};
	return target_do(t, ops, ARRAY_SIZE(ops) - (former_name == NULL), err);
}

bool lock_id_is_sound(const char *id)
{
	size_t len = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_");
	return len > 0 && len <= MAX_ID && id[len] == '\0';
}

/* read: the result of reading the text. */
static int parse_record(const struct view *v, const char *path, int read, const struct str *text, json_t **ret,
                        struct err *err)
{
	_cleanup_json_ json_t *record = NULL;
	int r = read;
	if (r == 0)
		r = json_parse(str_peek(text), text->len, MAX_RECORD, &record, err);
	if (r < 0)
		return r == ERR_NOT_FOUND ? r : err_wrap(err, r, "read the lock '%s' on '%s'", path, v->name);
	int64_t format = json_get_int(record, "format", 0);
	if (format > LOCK_FORMAT)
		return err_set(err, ERR_UNSUPPORTED,
		               "the lock '%s' on '%s' has format %" PRId64 "; this program reads up to %d", path,
		               v->name, format, LOCK_FORMAT);
	/* The id becomes part of names here. */
	const char *id = json_get_string(record, "deployment");
	if (id && !lock_id_is_sound(id)) {
		err_set(err, ERR_PROTOCOL, "the lock '%s' on '%s' names a deployment by an invalid id", path, v->name);
		return err_hint(err, ERR_PROTOCOL,
		                "no davit wrote that: look at '%s' on '%s', and remove it if nothing is deployed there",
		                path, v->name);
	}
	*ret = TAKE(record);
	return 0;
}

int lock_read(struct view *v, const char *lock_dir, json_t **ret, struct err *err)
{
	_cleanup_free_ char *path = fs_join(lock_dir, "lock");
	_cleanup_(str_done) struct str text = STR_INIT(MAX_RECORD);
	int r = host_read(v, path, MAX_RECORD, &text, err);
	return parse_record(v, path, r, &text, ret, err);
}

static bool is_ours(const json_t *holder, const json_t *record)
{
	const char *a = json_get_string(holder, "token"), *b = json_get_string(record, "token");
	return a && b && strcmp(a, b) == 0;
}

static void own(struct target *t, const char *lock_dir, const char *token)
{
	free(t->lock_dir);
	free(t->token);
	t->lock_dir = xstrdup(lock_dir);
	t->token = xstrdup(token);
}

static char *new_name(const char *lock_dir, const char *deployment_id)
{
	return xasprintf("%s/new-%s", lock_dir, deployment_id);
}

/* Makes the directories, the record under a name of our own, and the link that only one process can make. */
static int link_it(struct target *t, const char *lock_dir, const json_t *record, struct err *err)
{
	const struct node_attr dir = {.set_mode = true, .mode = 0700}, file = {.set_mode = true, .mode = 0600};
	_cleanup_free_ char *name = new_name(lock_dir, json_get_string(record, "deployment")),
			    *lock = fs_join(lock_dir, "lock");
	_cleanup_free_ char *open_dir = fs_join(t->view.facts.base, "open"), *text = json_text(record);
	const struct target_op ops[] = {
		{TARGET_MKDIR, .path = t->view.facts.base, .attr = &dir, .fine = ERR_EXISTS},
		{TARGET_MKDIR, .path = open_dir, .attr = &dir, .fine = ERR_EXISTS},
		{TARGET_MKDIR, .path = lock_dir, .attr = &dir, .fine = ERR_EXISTS},
		{TARGET_PUT, .path = name, .data = text, .len = strlen(text), .attr = &file},
		{TARGET_LINK_NEW, .path = lock, .from = name},
	};
	return target_do(t, ops, ARRAY_SIZE(ops), err);
}

/* One try: 0 ours, ERR_LOCKED, ERR_NOT_FOUND (the directory was removed meanwhile: retry), or another error. */
static int try_link(struct target *t, const char *lock_dir, const json_t *record, json_t **ret_holder, struct err *err)
{
	_cleanup_json_ json_t *holder = NULL;
	int r = link_it(t, lock_dir, record, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		r = make_base(t, err);
		r = r < 0 ? without_base(t, r, err) : link_it(t, lock_dir, record, err);
	}
	/* Only the link itself can block another one. */
	if (r == ERR_EXISTS || r == ERR_UNKNOWN) {
		/* Perhaps it is ours: the reply to a previous try may have been lost. */
		int seen = lock_read(&t->view, lock_dir, &holder, err);
		if (seen == 0)
			r = is_ours(holder, record) ? 0 : ERR_LOCKED;
		else
			r = seen;
	}
	if (r == ERR_LOCKED) {
		_cleanup_free_ char *who = lock_describe(holder);
		err_set(err, ERR_LOCKED, "'%s' is locked %s", t->view.name, who);
		if (ret_holder) {
			json_decref(*ret_holder);
			*ret_holder = TAKE(holder);
		}
	}
	return r;
}

/* Checked again after the barrier: a target may have lost its power between the two. */
static int durable_and_there(struct target *t, const json_t *record, const char *mark, struct err *err)
{
	_cleanup_json_ json_t *seen = NULL;
	_cleanup_free_ char *path = fs_join(t->lock_dir, "lock");
	_cleanup_(str_done) struct str text = STR_INIT(MAX_RECORD);
	const char *const paths[] = {t->lock_dir};
	int r = target_barrier_read(t, paths, 1, path, MAX_RECORD, &text, err);
	r = parse_record(&t->view, path, r, &text, &seen, err);
	if (r == ERR_NOT_FOUND)
		return err_set(err, ERR_UNKNOWN, "the lock on '%s' did not stay: the target lost its power",
		               t->view.name);
	if (r < 0)
		return r;
	if (!is_ours(seen, record))
		return err_set(err, ERR_UNKNOWN, "the lock on '%s' is not what was written", t->view.name);
	const char *there = json_get_string(seen, "mark");
	if (mark && (!there || strcmp(there, mark) != 0))
		return err_set(err, ERR_UNKNOWN, "the mark on '%s' did not stay: the target lost its power",
		               t->view.name);
	return 0;
}

int lock_take(struct target *t, const char *lock_dir, const json_t *record, json_t **ret_holder, struct err *err)
{
	int r = ERR_NOT_FOUND;
	free(TAKE(t->lock_dir));
	for (int i = 0; i < TAKE_TRIES && (r == ERR_NOT_FOUND || r == ERR_UNKNOWN); i++)
		r = try_link(t, lock_dir, record, ret_holder, err);
	if (r < 0) {
		struct err ignored = ERR_INIT;
		lock_sweep(t, lock_dir, json_get_string(record, "deployment"), &ignored);
		return r;
	}
	own(t, lock_dir, json_get_string(record, "token"));
	_cleanup_free_ char *name = new_name(lock_dir, json_get_string(record, "deployment"));
	r = make_inside(t, name, err);
	if (r == 0)
		r = durable_and_there(t, record, NULL, err);
	return r < 0 ? err_wrap(err, r, "take the lock on '%s'", t->view.name) : 0;
}

static char *mark_text(const char *mark, const json_t *record)
{
	const char *id = json_get_string(record, "deployment");
	return xasprintf("%s %s\n", mark, id ? id : "");
}

/* A power cut brought back a file that names another deployment. */
int lock_read_mark(struct view *v, const char *lock_dir, const json_t *record, char **ret, struct err *err)
{
	static const char *const marks[] = {"committed", "undone"};
	_cleanup_free_ char *path = fs_join(lock_dir, "mark");
	_cleanup_(str_done) struct str text = STR_INIT(MAX_MARK);
	const char *there = json_get_string(record, "mark");
	*ret = there ? xstrdup(there) : NULL;
	if (there)
		return 0;
	int r = ignore(host_read(v, path, MAX_MARK - 1, &text, err), ERR_NOT_FOUND, err);
	for (size_t i = 0; r == 0 && *ret == NULL && i < ARRAY_SIZE(marks); i++) {
		_cleanup_free_ char *wanted = mark_text(marks[i], record);
		if (strcmp(str_peek(&text), wanted) == 0)
			*ret = xstrdup(marks[i]);
	}
	return r < 0 ? err_wrap(err, r, "read the mark '%s' on '%s'", path, v->name) : 0;
}

/* The lock is ours and nothing of the previous owner can arrive any more: its decision up to now counts. */
static int keep_mark(struct target *t, json_t *record, struct err *err)
{
	_cleanup_free_ char *mark = NULL;
	int r = lock_read_mark(&t->view, t->lock_dir, record, &mark, err);
	if (r < 0 || mark == NULL || json_get_string(record, "mark"))
		return r;
	r = lock_mark(t, mark, err);
	if (r == 0)
		json_object_set_new(record, "mark", json_string(mark));
	return r;
}

int lock_take_over(struct target *t, const char *lock_dir, const json_t *former, json_t *record, struct err *err)
{
	const struct node_attr ours = {.set_mode = true, .mode = 0600};
	_cleanup_free_ char *lock = fs_join(lock_dir, "lock");
	_cleanup_free_ char *text = json_text(record);
	_cleanup_json_ json_t *seen = NULL;
	const char *former_token = json_get_string(former, "token");
	if (former_token == NULL)
		return err_set(err, ERR_PROTOCOL, "the lock '%s' on '%s' carries no token", lock, t->view.name);
	own(t, lock_dir, former_token);
	int put = host_put(t, lock, text, strlen(text), &ours, err);
	if (put < 0 && put != ERR_UNKNOWN && put != ERR_FENCED)
		return err_wrap(err, put, "take over the lock on '%s'", t->view.name);
	int r = lock_read(&t->view, lock_dir, &seen, err);
	if (r < 0)
		return r;
	if (!is_ours(seen, record))
		return err_set(err, put == ERR_UNKNOWN ? ERR_UNKNOWN : ERR_FENCED,
		               "the lock on '%s' was not taken over", t->view.name);
	own(t, lock_dir, json_get_string(record, "token"));
	r = host_fence(t, lock_dir, err);
	if (r == 0)
		r = make_inside(t, NULL, err);
	if (r == 0)
		r = keep_mark(t, record, err);
	if (r == 0)
		r = durable_and_there(t, record, NULL, err);
	return r < 0 ? err_wrap(err, r, "take over the lock on '%s'", t->view.name) : 0;
}

int lock_mark(struct target *t, const char *mark, struct err *err)
{
	const struct node_attr ours = {.set_mode = true, .mode = 0600};
	_cleanup_free_ char *lock = fs_join(t->lock_dir, "lock");
	_cleanup_json_ json_t *record = NULL;
	int r = lock_read(&t->view, t->lock_dir, &record, err);
	if (r < 0)
		return r == ERR_NOT_FOUND ? err_set(err, ERR_FENCED, "the lock on '%s' is gone", t->view.name) : r;
	const char *token = json_get_string(record, "token");
	if (token == NULL || strcmp(token, t->token) != 0)
		return err_set(err, ERR_FENCED, "the lock on '%s' is no longer ours", t->view.name);
	const char *there = json_get_string(record, "mark");
	if (there == NULL || strcmp(there, mark) != 0) {
		json_object_set_new(record, "mark", json_string(mark));
		_cleanup_free_ char *text = json_text(record), *file = fs_join(t->lock_dir, "mark"),
				    *said = mark_text(mark, record);
		/* The file first: a process that replaces the record from now on finds it. */
		const struct target_op ops[] = {
			{TARGET_PUT, .path = file, .data = said, .len = strlen(said), .attr = &ours},
			{TARGET_PUT, .path = lock, .data = text, .len = strlen(text), .attr = &ours},
		};
		r = target_do(t, ops, ARRAY_SIZE(ops), err);
	}
	if (r == 0)
		r = durable_and_there(t, record, mark, err);
	return r < 0 ? err_wrap(err, r, "mark the lock on '%s'", t->view.name) : 0;
}

int lock_guard(struct target *t, struct err *err)
{
	_cleanup_json_ json_t *record = NULL;
	int r = t->lock_dir ? lock_read(&t->view, t->lock_dir, &record, err) : ERR_NOT_FOUND;
	if (r == ERR_NOT_FOUND)
		return err_set(err, ERR_FENCED, "the lock on '%s' is gone", t->view.name);
	if (r < 0)
		return r;
	const char *token = json_get_string(record, "token");
	if (token == NULL || t->token == NULL || strcmp(token, t->token) != 0)
		return err_set(err, ERR_FENCED, "the lock on '%s' is no longer ours", t->view.name);
	return 0;
}

int lock_renew(struct target *t, int64_t counter, struct err *err)
{
	const struct node_attr ours = {.set_mode = true, .mode = 0600};
	_cleanup_free_ char *path = fs_join(t->lock_dir, "renewed");
	_cleanup_free_ char *text = renewed_text(t, counter);
	return host_put(t, path, text, strlen(text), &ours, err);
}

/* ---- giving back ---- */

/* t must be unguarded here. rmdir takes empty directories only, so this harms nobody who comes in between. */
static int remove_empty_dirs(struct target *t, const char *lock_dir, const char *const *before, size_t before_count,
                             struct err *err)
{
	_cleanup_free_ char *pids = fs_join(lock_dir, "pids");
	_cleanup_free_ char *open_dir = fs_join(t->view.facts.base, "open");
	_cleanup_free_ char *snapshots = fs_join(t->view.facts.base, "snapshots");
	_cleanup_free_ char *own_snapshots = fs_join(snapshots, strrchr(lock_dir, '/') + 1);
	const char *const paths[] = {pids, lock_dir, open_dir, own_snapshots, snapshots, t->view.facts.base};
	struct target_op ops[16];
	size_t count = 0;
	for (size_t i = 0; i < before_count + ARRAY_SIZE(paths) && count < ARRAY_SIZE(ops); i++)
		/* Not empty: another deployment lives there. */
		ops[count++] = (struct target_op){TARGET_REMOVE,
		                                  .path = i < before_count ? before[i] : paths[i - before_count],
		                                  .fine = ERR_NOT_FOUND, .also_fine = ERR_EXISTS};
	/* BASE may be a mount point, or lie in a directory of somebody else. An empty one means nothing. */
	ops[count - 1].may_stay = true;
	return target_do(t, ops, count, err);
}

/* Removes everything in the directory, and the lock last. */
static int remove_contents(struct target *t, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	_cleanup_(strv_done) struct strv paths = {0};
	_cleanup_free_ char *lock = fs_join(t->lock_dir, "lock"), *mark = fs_join(t->lock_dir, "mark");
	int r = ignore(host_list(&t->view, t->lock_dir, &names, err), ERR_NOT_FOUND, err);
	if (r < 0)
		return r;
	_cleanup_free_ struct target_op *ops = xcalloc(names.count + 2, sizeof(ops[0]));
	for (size_t i = 0; i < names.count; i++)
		if (strcmp(names.items[i], "lock") != 0 && strcmp(names.items[i], "mark") != 0)
			strv_addf(&paths, "%s/%s", t->lock_dir, names.items[i]);
	for (size_t i = 0; i < paths.count; i++)
		ops[i] = (struct target_op){TARGET_REMOVE_TREE, .path = paths.items[i]};
	ops[paths.count] = (struct target_op){TARGET_REMOVE, .path = mark, .fine = ERR_NOT_FOUND};
	ops[paths.count + 1] = (struct target_op){TARGET_REMOVE, .path = lock, .fine = ERR_NOT_FOUND};
	return target_do(t, ops, paths.count + 2, err);
}

int lock_release(struct target *t, struct err *err)
{
	_cleanup_free_ char *dir = xstrdup(t->lock_dir);
	int r = remove_contents(t, err);
	if (r == ERR_FENCED) {
		/* Perhaps it was already given back, and only the reply was lost. */
		_cleanup_json_ json_t *there = NULL;
		if (lock_read(&t->view, dir, &there, NULL) == ERR_NOT_FOUND) {
			err_clear(err);
			r = 0;
		}
	}
	if (r < 0)
		return err_wrap(err, r, "give the lock on '%s' back", t->view.name);
	free(TAKE(t->lock_dir));
	free(TAKE(t->token));
	r = remove_empty_dirs(t, dir, NULL, 0, err);
	return r < 0 ? err_wrap(err, r, "give the lock on '%s' back", t->view.name) : 0;
}

int lock_sweep(struct target *t, const char *lock_dir, const char *deployment_id, struct err *err)
{
	_cleanup_free_ char *name = new_name(lock_dir, deployment_id);
	_cleanup_free_ char *beside = target_private_name(name);
	free(TAKE(t->lock_dir));
	const char *const own[] = {name, beside};
	return remove_empty_dirs(t, lock_dir, own, ARRAY_SIZE(own), err);
}

/* ---- the copy of the changes ---- */

static int append(struct target *t, const struct str *lines, struct err *err)
{
	_cleanup_free_ char *path = fs_join(t->lock_dir, "changes.jsonl");
	if (lines->failed)
		return err_set(err, ERR_LIMIT, "more changes than %d bytes of records", MAX_COPY);
	return host_append(t, path, str_peek(lines), lines->len, err);
}

int lock_append_changes(struct target *t, const struct change *changes, size_t count, struct err *err)
{
	/* The line break in front ends a line that a power cut tore. */
	_cleanup_(str_done) struct str lines = STR_INIT(MAX_COPY);
	str_append_c(&lines, '\n');
	for (size_t i = 0; i < count; i++) {
		_cleanup_json_ json_t *record = change_record(&changes[i]);
		_cleanup_free_ char *text = json_text(record);
		str_append(&lines, text);
		str_append_c(&lines, '\n');
	}
	return append(t, &lines, err);
}

int lock_append_state(struct target *t, const struct change *c, enum change_state state, struct err *err)
{
	_cleanup_(str_done) struct str line = STR_INIT(MAX_COPY);
	_cleanup_json_ json_t *record = json_pack("{s:i, s:I, s:s}", "format", CHANGE_FORMAT, "id", (json_int_t)c->id,
	                                          "state", change_state_name(state));
	json_set_string(record, "task", c->task);
	_cleanup_free_ char *text = json_text(record);
	str_appendf(&line, "\n%s\n", text);
	return append(t, &line, err);
}

static struct change *find_change(struct plan *p, int64_t id)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->changes[i].id == id)
			return &p->changes[i];
	return NULL;
}

static int take_line(struct plan *p, const char *line, size_t len, struct err *err)
{
	_cleanup_json_ json_t *record = NULL;
	/* A torn line: its append was not made durable, so its content did not count yet. */
	if (len == 0 || json_parse(line, len, MAX_COPY, &record, NULL) < 0)
		return 0;
	struct change *known = find_change(p, json_get_int(record, "id", 0));
	if (known == NULL) {
		if (json_get_string(record, "kind") == NULL)
			return 0;
		p->changes = xgrow(p->changes, &p->cap, p->count + 1, sizeof(p->changes[0]));
		int r = change_from_record(record, &p->changes[p->count], err);
		p->count += r == 0;
		return r;
	}
	_cleanup_json_ json_t *whole = change_record(known);
	_cleanup_(change_done) struct change changed = {0};
	json_object_set(whole, "state", json_object_get(record, "state"));
	if (json_get_string(record, "task"))
		json_object_set(whole, "task", json_object_get(record, "task"));
	int r = change_from_record(whole, &changed, err);
	if (r < 0)
		return r;
	known->state = changed.state;
	free(known->task);
	known->task = TAKE(changed.task);
	return r;
}

int lock_read_changes(struct view *v, const char *lock_dir, struct plan *ret, struct err *err)
{
	_cleanup_free_ char *path = fs_join(lock_dir, "changes.jsonl");
	_cleanup_(str_done) struct str text = STR_INIT(MAX_COPY);
	_cleanup_(plan_done) struct plan p = {0};
	int r = ignore(host_read(v, path, MAX_COPY - 1, &text, err), ERR_NOT_FOUND, err);
	const char *at = str_peek(&text);
	for (const char *end; r == 0 && *at; at = *end ? end + 1 : end) {
		end = strchrnul(at, '\n');
		r = take_line(&p, at, (size_t)(end - at), err);
	}
	if (r < 0)
		return err_wrap(err, r, "read the changes '%s' on '%s'", path, v->name);
	*ret = p;
	memset(&p, 0, sizeof(p));
	return 0;
}

/* ---- the owner's file ---- */

static bool same_file(int fd, const char *path)
{
	struct stat a, b;
	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static int claim_file(const struct store *s, const char *id, int *ret_fd, struct err *err)
{
	if (!lock_id_is_sound(id))
		return err_set(err, ERR_INVALID, "invalid deployment id");
	_cleanup_free_ char *path = xasprintf("%s/owners/%s", store_dir(s), id);
	for (int i = 0; i < 10; i++) {
		_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			return err_errno(err, errno, "open '%s'", path);
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			if (errno == EWOULDBLOCK)
				return err_set(err, ERR_LOCKED, "the process that owns the deployment %s is alive", id);
			return err_errno(err, errno, "lock '%s'", path);
		}
		/* The previous owner may have removed the file between our open and our lock. */
		if (same_file(fd, path)) {
			*ret_fd = take_fd(&fd);
			return 0;
		}
	}
	return err_set(err, ERR_LOCKED, "the owner's file '%s' changes all the time", path);
}

int lock_owner_claim(struct store *s, const char *id, int *ret_fd, bool *ret_elsewhere, struct err *err)
{
	int fd = -1;
	bool elsewhere = false;
	int r = claim_file(s, id, &fd, err);
	if (r < 0)
		return r;
	r = store_claim(s, id, &elsewhere, err);
	if (r == 0 && elsewhere && ret_elsewhere == NULL)
		r = err_set(err, ERR_LOCKED, "another machine owns the deployment %s", id);
	if (r < 0) {
		lock_owner_drop(s, id, &fd, store_is_shared(s));
		return r;
	}
	if (ret_elsewhere)
		*ret_elsewhere = elsewhere;
	*ret_fd = fd;
	return 0;
}

void lock_owner_drop(struct store *s, const char *id, int *fd, bool remove)
{
	if (*fd < 0)
		return;
	_cleanup_free_ char *path = xasprintf("%s/owners/%s", store_dir(s), id);
	store_release(s, id);
	if (remove)
		unlink(path);
	closep(fd);
	*fd = -1;
}
