/* source of a PostgreSQL database: a dump in the custom format. It goes from pg_dump into a file of the target without passing through davit.
 *
 * Put back, it is restored into a new database, which then takes the old one's place by two renames in one transaction: whoever is killed
 * leaves the one or the other, whole. (pg_restore --clean --single-transaction would leave what a later migration created.) Databases
 * of davit have names that follow from the snapshot's place, and the file `databases` lies in it, durable, before one is created: an undo
 * without that file asks no server for anything. */
#include "steps/sources/postgres_priv.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "steps/sources/programs.h"
#include <inttypes.h>

enum { NAME_DIGITS = 16, MAX_ANSWER = 64 << 10, LOOK_MS = 60000, SWEEP_MS = 60000, SQUEEZED = 10 };

/* ---- its inputs ---- */

static const char *text_of(const struct source_call *s, const char *name)
{
	const char *text = json_get_string(s->in, name);
	return text ? text : "";
}

static bool in_container(const struct source_call *s)
{
	return *text_of(s, "container") || *text_of(s, "service");
}

static void describe(const struct source_call *s, struct str *out)
{
	str_appendf(out, "the database %s", text_of(s, "database"));
	if (in_container(s))
		str_appendf(out, " in %s", *text_of(s, "service") ? text_of(s, "service") : text_of(s, "container"));
	if (json_get_bool(s->in, "prove", false))
		str_append(out, ", proven");
}

static void subject(const struct source_call *s, struct str *out)
{
	const char *const where[] = {text_of(s, "service"), text_of(s, "container"), text_of(s, "host")};

	str_append(out, text_of(s, "database"));
	for (size_t i = 0; i < ARRAY_SIZE(where); i++)
		if (*where[i]) {
			str_appendf(out, " %s", where[i]);
			break;
		}
	if (json_get_int(s->in, "port", 0) > 0)
		str_appendf(out, ":%" PRId64, json_get_int(s->in, "port", 0));
}

static void validate(const struct source_call *s, struct faults *faults)
{
	if (*text_of(s, "container") && *text_of(s, "service"))
		faults_add(faults, NULL, "/postgres/service",
		           "`container` and `service` name the same thing: give one of them");
	if (in_container(s) && *text_of(s, "become_user")) {
		faults_add(faults, NULL, "/postgres/become_user",
		           "in a container the programs run as the container's user");
		faults_hint(faults, "leave it out; `user` says who connects");
	}
	if (strcmp(text_of(s, "database"), text_of(s, "maintenance_database")) == 0 &&
	    (json_get_bool(s->in, "prove", false) || json_get_bool(s->in, "restore_on_rollback", false))) {
		faults_add(faults, NULL, "/postgres/maintenance_database",
		           "it must be another database than the one that is restored");
		faults_hint(faults, "`template1` is on every server");
	}
}

/* ---- its programs ---- */

static void pass_into_container(const struct source_env *env, struct str *out)
{
	for (size_t i = 0; i < env->count; i++)
		if (str_starts(env->items[i].key, "PG"))
			str_appendf(out, "%s-e %s", out->len ? " " : "", env->items[i].key);
}

/* own: the place that davit's databases are named after; dir: where the dump lies. */
static void make_env(const struct source_call *s, const struct view *v, const char *own, const char *dir,
                     struct source_env *env)
{
	const char *user = text_of(s, "user"), *programs = text_of(s, "programs");
	_cleanup_free_ char *place = xasprintf("%s@%s", own, v->name);
	_cleanup_(str_done) struct str pass = STR_INIT(MAX_ANSWER);
	char hex[DIGEST_HEX];

	digest_of(place, strlen(place), hex);
	source_env_inputs(env, s);
	if (*text_of(s, "host"))
		source_env_add(env, "PGHOST", text_of(s, "host"));
	if (json_get_int(s->in, "port", 0) > 0)
		source_env_addf(env, "PGPORT", "%" PRId64, json_get_int(s->in, "port", 0));
	if (*user || in_container(s))
		source_env_add(env, "PGUSER", *user ? user : "postgres");
	source_env_add(env, "PGCONNECT_TIMEOUT", "10");
	source_env_addf(env, "PGAPPNAME", "davit-%.*s", NAME_DIGITS, hex);
	pass_into_container(env, &pass);
	source_env_addf(env, "DAVIT_PASS", "%s", str_peek(&pass));
	source_env_add(env, "DAVIT_DIR", dir);
	source_env_add(env, "DAVIT_DB", text_of(s, "database"));
	source_env_add(env, "DAVIT_MAIN", text_of(s, "maintenance_database"));
	source_env_addf(env, "DAVIT_NEW", "davit_new_%.*s", NAME_DIGITS, hex);
	source_env_addf(env, "DAVIT_FORMER", "davit_former_%.*s", NAME_DIGITS, hex);
	source_env_add(env, "DAVIT_CONTAINER", text_of(s, "container"));
	source_env_add(env, "DAVIT_SERVICE", text_of(s, "service"));
	source_env_add(env, "DAVIT_USER", text_of(s, "become_user"));
	source_env_addf(env, "DAVIT_PROGRAMS", "%s%s", programs, *programs && !str_ends(programs, "/") ? "/" : "");
	source_env_addf(env, "DAVIT_LOCK_MS", "%" PRId64, MAX(source_duration_ms(s->in, "lock_wait"), (int64_t)1));
	source_env_add(env, "DAVIT_PROVE", json_get_bool(s->in, "prove", false) ? "1" : "");
	/* Of another environment's dump only: what an undo puts back has the owners that it had. */
	bool no_owner = json_get_bool(s->in, "no_owner", false) && strcmp(own, dir) != 0;
	source_env_add(env, "DAVIT_NO_OWNER", no_owner ? "1" : "");
}

static int run_script(const struct source_call *s, struct target *t, const char *script, const char *own,
                      const char *dir, int64_t timeout_ms, struct str *out, struct err *err)
{
	_cleanup_(source_env_done) struct source_env env = {0};

	make_env(s, &t->view, own, dir, &env);
	const struct source_program p = {.script = script, .env = &env, .timeout_ms = timeout_ms};
	return source_run(s, t, &p, out, err);
}

/* ---- plan ---- */

struct facts {
	bool none;
	long long bytes, version; /* 150020 */
	bool may_create, owns;
	char *tool; /* "pg_dump (PostgreSQL) 15.20" */
};

static int look(const struct source_call *s, struct view *v, struct facts *ret, struct err *err)
{
	_cleanup_(source_env_done) struct source_env env = {0};
	_cleanup_(str_done) struct str answer = STR_INIT(MAX_ANSWER);
	char create = 0, owns = 0;
	int used = 0;

	make_env(s, v, "", "", &env);
	const struct source_program p = {.script = postgres_script_look, .env = &env, .timeout_ms = LOOK_MS};
	int r = source_ask(v, &p, &answer, err);
	if (r < 0)
		return r;
	ret->none = strcmp(str_peek(&answer), "none\n") == 0;
	if (ret->none)
		return 0;
	if (sscanf(str_peek(&answer), "%lld|%lld|%c|%c|%n", &ret->bytes, &ret->version, &create, &owns, &used) < 4 ||
	    used == 0)
		return err_set(err, ERR_PROTOCOL, "unexpected reply: '%.100s'", str_peek(&answer));
	ret->may_create = create == 't';
	ret->owns = owns == 't';
	ret->tool = xstrndup(str_peek(&answer) + used, strcspn(str_peek(&answer) + used, "\n"));
	return 0;
}

static int check_facts(const struct source_call *s, const struct facts *f, bool to_put_back, struct err *err)
{
	const char *number = strstr(f->tool, ") ");
	long major = number ? strtol(number + 2, NULL, 10) : 0;

	if (major > 0 && major < f->version / 10000)
		return err_hint(
			err,
			err_set(err, ERR_REFUSED, "%s is older than the server (%lld)", f->tool, f->version / 10000),
			"name newer ones by `programs`, or run them in the server's container");
	if ((to_put_back || json_get_bool(s->in, "prove", false)) && !f->may_create)
		return err_hint(err,
		                err_set(err, ERR_REFUSED, "the user may not create databases, which %s needs",
		                        to_put_back ? "a restore" : "`prove`"),
		                "ALTER ROLE … CREATEDB, or another `user`");
	if (to_put_back && !f->owns)
		return err_set(err, ERR_REFUSED, "the user does not own the database, which a restore has to rename");
	return 0;
}

static int none_there(const struct source_call *s, struct view *v, bool to_put_back, struct plan *plan, struct err *err)
{
	_cleanup_(str_done) struct str what = STR_INIT(MAX_ANSWER);

	describe(s, &what);
	if (strcmp(text_of(s, "when_none"), "skip") == 0) {
		strv_addf(&plan->warnings, "%s on '%s' is not there: nothing is kept", str_peek(&what), v->name);
		return 0;
	}
	return err_hint(err, err_set(err, ERR_REFUSED, "%s is not there", str_peek(&what)),
	                to_put_back ? "create an empty one first" : "before a first deployment: `when_none: skip`");
}

/* How well data can be squeezed is known afterwards: what is surely too little is refused. */
static int check_room(struct view *v, const struct facts *f, int64_t *ret_room, struct plan *plan, struct err *err)
{
	const struct source_sizes least = {.bytes = f->bytes / SQUEEZED, .files = 1};

	int r = source_check_space(v, &least, plan, ret_room, err);
	if (r == 0 && *ret_room < f->bytes)
		strv_addf(&plan->warnings, "'%s' has %" PRId64 " MB free for a dump of a database of %lld MB", v->name,
		          *ret_room / 1000000, f->bytes / 1000000);
	return r;
}

static void fill_plan(const struct source_call *s, const struct facts *f, int64_t room, struct source_plan *ret)
{
	_cleanup_(str_done) struct str what = STR_INIT(MAX_ANSWER), name = STR_INIT(SUBJECT_MAX);
	bool prove = json_get_bool(s->in, "prove", false);

	describe(s, &what);
	source_subject(s, &name);
	ret->extra =
		json_pack("{s:{s:s,s:s,s:b}}", "plan", "type", "snapshot", "subject", str_peek(&name), "prove", prove);
	ret->summary = xasprintf("snapshot of %s, %.1f MB in the server", str_peek(&what), (double)f->bytes / 1e6);
	ret->shown = json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:b}", "source", s->source->name, "database",
	                       text_of(s, "database"), "bytes", (json_int_t)f->bytes, "free", (json_int_t)room,
	                       "server", "", "program", f->tool, "prove", prove);
	json_object_set_new(ret->shown, "server", json_stringf("%lld", f->version / 10000));
}

static int plan(const struct source_call *s, struct view *v, bool to_put_back, struct plan *plan,
                struct source_plan *ret, struct err *err)
{
	struct facts f = {0};
	int64_t room = 0;

	int r = look(s, v, &f, err);
	if (r == 0 && f.none) {
		r = none_there(s, v, to_put_back, plan, err);
	} else if (r == 0) {
		r = check_facts(s, &f, to_put_back, err);
		if (r == 0)
			r = check_room(v, &f, &room, plan, err);
		if (r == 0)
			fill_plan(s, &f, room, ret);
	}
	free(f.tool);
	return r < 0 ? err_wrap(err, r, "the database '%s' on '%s'", text_of(s, "database"), v->name) : 0;
}

/* ---- keep ---- */

static char *marker_of(const char *own)
{
	return fs_join(own, "databases");
}

/* From here on the server may hold a database of ours. */
static int note_databases(struct target *t, const char *own, struct err *err)
{
	const struct node_attr attr = {.set_mode = true, .mode = 0600};
	_cleanup_free_ char *marker = marker_of(own);

	int r = host_put(t, marker, "", 0, &attr, err);
	return r < 0 ? r : host_barrier(t, (const char *const[]){own}, 1, err);
}

static int prove(const struct source_call *s, struct target *t, const char *dir, struct err *err)
{
	_cleanup_free_ char *marker = marker_of(dir);

	int r = note_databases(t, dir, err);
	if (r == 0)
		r = run_script(s, t, postgres_script_prove, dir, dir, source_duration_ms(s->in, "timeout"), NULL, err);
	if (r < 0)
		return err_wrap(err, r, "prove the dump of '%s' in a scratch database", text_of(s, "database"));
	s->c->report(s->c->engine, "proven: restored into a scratch database, with the same rows in each table");
	return host_remove(t, marker, err);
}

static void add_facts(const struct source_call *s, const struct str *answer, json_t *head)
{
	const char *text = str_peek(answer);
	size_t server = strcspn(text, "\n");
	const char *tool = text[server] ? text + server + 1 : "";

	json_object_set_new(head, "source", json_string(s->source->name));
	json_object_set_new(head, "database", json_string(text_of(s, "database")));
	json_object_set_new(head, "server", json_string_lossy(text, server));
	json_object_set_new(head, "program", json_string_lossy(tool, strcspn(tool, "\n")));
	json_object_set_new(head, "verified", json_string(json_get_bool(s->in, "prove", false) ? "proven" : "read"));
}

static int keep(const struct source_call *s, struct target *t, const struct change *change, json_t *head,
                struct tree *all, struct err *err)
{
	_cleanup_(str_done) struct str answer = STR_INIT(MAX_ANSWER);

	int r = run_script(s, t, postgres_script_dump, change->path, change->path, source_duration_ms(s->in, "timeout"),
	                   &answer, err);
	if (r < 0)
		return err_wrap(err, r, "dump the database '%s' on '%s'", text_of(s, "database"), t->view.name);
	if (json_get_bool(s->in, "prove", false))
		r = prove(s, t, change->path, err);
	if (r < 0)
		return r;
	add_facts(s, &answer, head);
	return source_add_directory(t, change->path, all, err);
}

/* ---- back ---- */

static int put_back(const struct source_call *s, struct target *t, const char *from, const json_t *head,
                    const char *own, struct err *err)
{
	(void)head;
	s->c->report(s->c->engine, "put back the database %s", text_of(s, "database"));
	int r = note_databases(t, own, err);
	if (r == 0)
		r = run_script(s, t, postgres_script_restore, own, from, source_duration_ms(s->in, "timeout"), NULL,
		               err);
	return r < 0 ? err_wrap(err, r, "put back the database '%s' on '%s'", text_of(s, "database"), t->view.name) : 0;
}

/* Replacing is one transaction, and from there on the former database has a name of ours. */
static int is_untouched(const struct source_call *s, struct view *v, const char *own, bool *ret, struct err *err)
{
	_cleanup_(source_env_done) struct source_env env = {0};
	_cleanup_(str_done) struct str answer = STR_INIT(MAX_ANSWER);
	_cleanup_(node_done) struct node n = {0};
	_cleanup_free_ char *marker = marker_of(own);

	int r = host_stat(v, marker, &n, err);
	*ret = n.type == NODE_ABSENT;
	if (r < 0 || *ret)
		return r;
	make_env(s, v, own, own, &env);
	const struct source_program p = {.script = postgres_script_replaced, .env = &env, .timeout_ms = LOOK_MS};
	r = source_ask(v, &p, &answer, err);
	*ret = r == 0 && strcmp(str_peek(&answer), "1\n") != 0;
	return r;
}

static int sweep(const struct source_call *s, struct target *t, const char *own, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	_cleanup_free_ char *marker = marker_of(own);

	int r = host_stat(&t->view, marker, &n, err);
	if (r < 0 || n.type == NODE_ABSENT)
		return r;
	r = run_script(s, t, postgres_script_sweep, own, own, SWEEP_MS, NULL, err);
	if (r < 0)
		return err_wrap(err, r, "drop davit's own databases beside '%s'", text_of(s, "database"));
	return host_remove(t, marker, err);
}

const struct source source_postgres = {
	.name = "postgres",
	.verb = "keep a dump of",
	.programs = true,
	.moves = true,
	.describe = describe,
	.validate = validate,
	.subject = subject,
	.plan = plan,
	.keep = keep,
	.put_back = put_back,
	.is_untouched = is_untouched,
	.sweep = sweep,
};
