/* source of a Docker volume: its directory on the target, copied as files are. The files of a database that runs are no copy of it: there
 * only a dump is one. */
#include "base/sys/fs.h"
#include "steps/sources/programs.h"
#include <inttypes.h>

enum { MAX_ANSWER = 64 << 10, LOOK_MS = 60000, MAX_NAMES = 300 };

/* "none", or the directory; then the running containers that use it, NAME IMAGE, and the marks of a database that lie in it. */
static const char look_script[] =
	"set -eu\n"
	"m=$(docker volume inspect -f '{{.Mountpoint}}' \"$DAVIT_VOLUME\" 2>&1) || case $m in\n"
	"  *'o such volume'*) echo none; exit 0;; *) echo \"$m\" >&2; exit 1;; esac\n"
	"echo \"$m\"\n"
	"for c in $(docker ps -q --filter \"volume=$DAVIT_VOLUME\"); do\n"
	"  docker inspect -f 'used {{.Name}} {{.Config.Image}}' \"$c\"\n"
	"done\n"
	"for f in PG_VERSION ibdata1 aria_log_control WiredTiger mongod.lock dump.rdb appendonlydir appendonly.aof; do\n"
	"  for p in \"$m/$f\" \"$m\"/*/\"$f\"; do [ ! -e \"$p\" ] || { echo \"mark $f\"; break; }; done\n"
	"done\n";

struct facts {
	char *path;                 /* NULL: there is no such volume */
	struct str users, database; /* for people: "/shop-db-1 (postgres:15)"; "PG_VERSION" */
};

static void facts_done(struct facts *f)
{
	free(f->path);
	str_done(&f->users);
	str_done(&f->database);
}

static const char *volume_of(const struct source_call *s)
{
	return json_get_string(s->in, "volume");
}

static void read_line(struct facts *f, const char *line)
{
	if (str_starts(line, "used "))
		str_appendf(&f->users, "%s%s", f->users.len ? ", " : "", line + strlen("used "));
	else if (str_starts(line, "mark "))
		str_appendf(&f->database, "%s%s", f->database.len ? ", " : "", line + strlen("mark "));
	else if (f->path == NULL && strcmp(line, "none") != 0)
		f->path = xstrdup(line);
}

static int look(const struct source_call *s, struct view *v, struct facts *ret, struct err *err)
{
	_cleanup_(source_env_done) struct source_env env = {0};
	_cleanup_(str_done) struct str answer = STR_INIT(MAX_ANSWER);
	_cleanup_free_ char *normal = NULL;
	char *save = NULL;

	*ret = (struct facts){.users = STR_INIT(MAX_NAMES), .database = STR_INIT(MAX_NAMES)};
	source_env_inputs(&env, s);
	source_env_add(&env, "DAVIT_VOLUME", volume_of(s));
	const struct source_program p = {.script = look_script, .env = &env, .timeout_ms = LOOK_MS};
	int r = source_ask(v, &p, &answer, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *text = str_take(&answer);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		read_line(ret, line);
	if (ret->path && (fs_normalize(ret->path, &normal, NULL) < 0 || strcmp(normal, ret->path) != 0 ||
	                  ret->path[0] != '/' || !ret->path[1]))
		return err_set(err, ERR_PROTOCOL, "unexpected reply: the volume '%s' lies in '%s'", volume_of(s),
		               ret->path);
	return 0;
}

static int check(const struct source_call *s, const struct facts *f, bool now_put_back, struct err *err)
{
	if (f->users.len > 0 && f->database.len > 0)
		return err_hint(err,
		                err_set(err, ERR_REFUSED,
		                        "the volume '%s' is that of a running database (%s in use by %s)", volume_of(s),
		                        str_peek(&f->database), str_peek(&f->users)),
		                "a copy of its files would be no database: keep a dump (`postgres` or `command`)");
	if (f->users.len > 0 && now_put_back)
		return err_hint(err,
		                err_set(err, ERR_CONFLICT, "the volume '%s' is in use by %s", volume_of(s),
		                        str_peek(&f->users)),
		                "stop it, then roll back again");
	return 0;
}

/* ---- */

static void describe(const struct source_call *s, struct str *out)
{
	str_appendf(out, "the volume %s", volume_of(s));
}

static void subject(const struct source_call *s, struct str *out)
{
	str_append(out, volume_of(s));
}

static void validate(const struct source_call *s, struct faults *faults)
{
	(void)s;
	(void)faults;
}

static int none_there(const struct source_call *s, struct view *v, struct plan *plan, struct err *err)
{
	const char *when = json_get_string(s->in, "when_none");

	if (when && strcmp(when, "skip") == 0) {
		strv_addf(&plan->warnings, "the volume %s on '%s' is not there: nothing is kept", volume_of(s),
		          v->name);
		return 0;
	}
	return err_hint(err, err_set(err, ERR_REFUSED, "the volume '%s' on '%s' is not there", volume_of(s), v->name),
	                "before a first deployment: `when_none: skip`");
}

static int plan_there(const struct source_call *s, struct view *v, const struct facts *f, bool to_put_back,
                      struct plan *plan, struct source_plan *ret, struct err *err)
{
	_cleanup_(str_done) struct str name = STR_INIT(SUBJECT_MAX);
	enum node_type type = NODE_ABSENT;
	struct source_sizes sizes = {0};
	int64_t room = 0;

	int r = check(s, f, false, err);
	if (r == 0 && !v->facts.is_root)
		r = err_hint(err, err_set(err, ERR_REFUSED, "only root reads the volumes of '%s'", v->name),
		             "become: sudo");
	if (r == 0)
		r = source_measure(v, f->path, NULL, &type, &sizes, err);
	if (r == 0 && type != NODE_DIR)
		r = err_set(err, ERR_REFUSED, "the volume '%s' lies in no directory of '%s'", volume_of(s), v->name);
	if (r == 0)
		r = source_check_space(v, &sizes, plan, &room, err);
	if (r < 0)
		return r;
	if (to_put_back && f->users.len > 0)
		strv_addf(&plan->warnings,
		          "the volume %s is in use by %s: it can be put back only while that is stopped", volume_of(s),
		          str_peek(&f->users));
	source_subject(s, &name);
	ret->extra = json_pack("{s:{s:s,s:s}}", "plan", "type", "snapshot", "subject", str_peek(&name));
	ret->summary = xasprintf("snapshot of the volume %s, %" PRId64 " files, %.1f MB", volume_of(s), sizes.files,
	                         (double)sizes.bytes / 1e6);
	ret->shown = json_pack("{s:s,s:s,s:I,s:I,s:I,s:s}", "source", s->source->name, "volume", volume_of(s), "files",
	                       (json_int_t)sizes.files, "bytes", (json_int_t)sizes.bytes, "free", (json_int_t)room,
	                       "used_by", str_peek(&f->users));
	return 0;
}

static int plan(const struct source_call *s, struct view *v, bool to_put_back, struct plan *plan,
                struct source_plan *ret, struct err *err)
{
	struct facts f;

	int r = look(s, v, &f, err);
	if (r == 0)
		r = f.path ? plan_there(s, v, &f, to_put_back, plan, ret, err) : none_there(s, v, plan, err);
	facts_done(&f);
	return r;
}

/* Asked again each time: no record says where a volume lies. */
static int find(const struct source_call *s, struct view *v, bool now_put_back, char **ret, struct err *err)
{
	struct facts f;

	int r = look(s, v, &f, err);
	if (r == 0 && f.path == NULL)
		r = err_set(err, ERR_NOT_FOUND, "the volume '%s' on '%s' is not there", volume_of(s), v->name);
	if (r == 0)
		r = check(s, &f, now_put_back, err);
	if (r == 0)
		*ret = TAKE(f.path);
	facts_done(&f);
	return r;
}

static int keep(const struct source_call *s, struct target *t, const struct change *change, json_t *head,
                struct tree *all, struct err *err)
{
	_cleanup_free_ char *path = NULL, *goal = fs_join(change->path, "0");

	int r = find(s, &t->view, false, &path, err);
	if (r < 0)
		return r;
	json_object_set_new(head, "source", json_string(s->source->name));
	json_object_set_new(head, "volume", json_string(volume_of(s)));
	return source_copy_path(s->c, t, path, goal, "0", "dir", NULL, all, err);
}

static int put_back(const struct source_call *s, struct target *t, const char *from, const json_t *head,
                    const char *own, struct err *err)
{
	_cleanup_free_ char *path = NULL, *copy = fs_join(from, "0");
	(void)head;
	(void)own;

	int r = find(s, &t->view, true, &path, err);
	if (r < 0)
		return r;
	s->c->report(s->c->engine, "put back the volume %s", volume_of(s));
	r = source_copy_back(t, copy, path, NULL, err);
	return r < 0 ? r : host_barrier(t, (const char *const[]){path}, 1, err);
}

const struct source source_volume = {
	.name = "docker-volume",
	.verb = "keep a copy of",
	.programs = true,
	.describe = describe,
	.validate = validate,
	.subject = subject,
	.plan = plan,
	.keep = keep,
	.put_back = put_back,
};
