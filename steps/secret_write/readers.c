/* readable_by: each reader is served by being the owner, by the group, or by an ACL, and is then proved by reading as
 * that user. */
#include "steps/secret_write/secret_write.h"
#include "steps/common/paths.h"

/* $R reader, $O owner, $G group: names or numbers. Prints the reader's uid, its gids, the owner's uid, the group's gid,
 * a line each. */
static const char resolve_script[] =
	"uid() { case $1 in '') echo;; *[!0-9]*) id -u -- \"$1\" 2>/dev/null || id -u \"$1\" 2>/dev/null || echo;; *) "
	"echo \"$1\";; esac; }\n"
	"gid() { case $1 in '') echo;; *[!0-9]*) g=$(awk -F: -v g=\"$1\" '$1==g{print $3;exit}' /etc/group)\n"
	"  [ -n \"$g\" ] || g=$(getent group \"$1\" 2>/dev/null | cut -d: -f3); echo \"$g\";; *) echo \"$1\";; esac; "
	"}\n"
	"u=$(uid \"$R\")\n"
	"[ -n \"$u\" ] || exit 3\n"
	"n=$(awk -F: -v u=\"$u\" '$3==u{print $1;exit}' /etc/passwd)\n"
	"echo \"$u\"; id -G \"${n:-$R}\" 2>/dev/null || echo; uid \"$O\"; gid \"$G\"\n";

/* Runs $S as $U, with no login and no name needed: a container's user has none on its host. 9: the target has no program for that.
 */
static const char act_script[] = "[ \"$(id -u)\" = \"$U\" ] && exec sh -c \"$S\"\n"
				 "if setpriv --reuid=0 --clear-groups true 2>/dev/null; then\n"
				 "  if [ -n \"$L\" ]; then set -- \"--groups=$L\"; else set -- --clear-groups; fi\n"
				 "  exec setpriv --reuid=\"$U\" --regid=\"$G\" \"$@\" sh -c \"$S\"\n"
				 "fi\n"
				 "chroot --userspec=+0:+0 / true 2>/dev/null && exec chroot --userspec=\"+$U:+$G\" "
				 "--groups=\"$L\" / sh -c \"$S\"\n"
				 "exit 9\n";

/* Names the topmost directory that stops the reader. */
static const char prove_script[] = "cat -- \"$P\" >/dev/null 2>&1 && exit 0\n"
				   "d=$P; bad=\n"
				   "while d=${d%/*}; [ -n \"$d\" ]; do [ -x \"$d\" ] || bad=$d; done\n"
				   "printf %s \"$bad\"; exit 1\n";

/* A directory below one that stops the reader is invisible, so it is not reported. */
static const char traverse_script[] =
	"d=$P; bad=\n"
	"while d=${d%/*}; [ -n \"$d\" ]; do [ -e \"$d\" ] && [ ! -x \"$d\" ] && bad=$d; done\n"
	"printf %s \"$bad\"; [ -z \"$bad\" ]\n";

void secret_access_done(struct secret_access *a)
{
	for (size_t i = 0; i < a->count; i++) {
		free(a->readers[i].user);
		free(a->readers[i].uid);
	}
	free(a->readers);
	*a = (struct secret_access){0};
}

struct answer {
	char *lines[4];
};

static void answer_done(struct answer *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(a->lines); i++)
		free(a->lines[i]);
}

static int ask_ids(struct view *v, const char *reader, const char *owner, const char *group, struct answer *ret,
                   struct err *err)
{
	const struct field_pair env[] = {{"R", reader}, {"O", owner}, {"G", group}};
	_cleanup_(str_done) struct str out = STR_INIT(64 << 10);
	int r = step_ask(v, resolve_script, env, ARRAY_SIZE(env), NULL, &out, err);
	if (r < 0)
		return r;
	if (r == 3)
		return err_hint(err, err_set(err, ERR_REFUSED, "there is no user '%s' on '%s'", reader, v->name),
		                "give its number: that of a container's user need not have a name there");
	const char *p = str_peek(&out);
	for (size_t i = 0; i < ARRAY_SIZE(ret->lines); i++) {
		const char *end = strchrnul(p, '\n');
		ret->lines[i] = xstrndup(p, (size_t)(end - p));
		p = *end == '\n' ? end + 1 : end;
	}
	return r == 0 ? 0 : err_set(err, ERR_FAILED, "the users of '%s' cannot be looked up", v->name);
}

/* The script's exit status as that user. */
static int ask_as(struct view *v, const struct answer *ids, const char *script, const char *path, struct str *out,
                  struct err *err)
{
	_cleanup_free_ char *groups = xstrdup(ids->lines[1]);
	for (char *p = groups; *p != '\0'; p++) {
		if (*p == ' ')
			*p = ',';
	}
	_cleanup_free_ char *gid = xstrndup(groups, strcspn(groups, ","));
	const struct field_pair env[] = {
		{"U", ids->lines[0]}, {"G", *gid != '\0' ? gid : "65534"}, {"L", groups}, {"S", script}, {"P", path}};
	int r = step_ask(v, act_script, env, ARRAY_SIZE(env), NULL, out, err);
	if (r == 9)
		return err_hint(err,
		                err_set(err, ERR_REFUSED,
		                        "'%s' has no command to act as another user, so reading cannot be proved",
		                        v->name),
		                "install setpriv (package util-linux) there");
	return r;
}

static bool has_word(const char *words, const char *word)
{
	size_t len = strlen(word);
	for (const char *p = words; len > 0 && (p = strstr(p, word)) != NULL; p += len) {
		bool begins = p == words || p[-1] == ' ', ends = p[len] == '\0' || p[len] == ' ';
		if (begins && ends)
			return true;
	}
	return false;
}

static int refuse(const struct view *v, const char *user, const char *why, struct err *err)
{
	err_set(err, ERR_REFUSED, "user '%s' on '%s' %s", user, v->name, why);
	return err_hint(err, ERR_REFUSED,
	                "give `group:` with a group that the user is in, or `owner: %s`; an ACL needs setfacl on the "
	                "target (package acl)",
	                user);
}

static int check_way(struct view *v, const struct answer *ids, const char *user, const char *path, struct err *err)
{
	_cleanup_(str_done) struct str out = STR_INIT(64 << 10);
	int r = ask_as(v, ids, traverse_script, path, &out, err);
	if (r <= 0 || out.len == 0)
		return r < 0 ? r : 0;
	return err_hint(err,
	                err_set(err, ERR_REFUSED, "user '%s' on '%s' cannot enter %s, and so not read '%s'", user,
	                        v->name, out.data, path),
	                "let it pass: chmod o+x, or an ACL, on that directory");
}

static int resolve_one(const struct step_context *c, struct view *v, const char *owner, const char *group,
                       const char *name, struct secret_access *a, struct err *err)
{
	const struct secret_write_in *in = c->input;
	_cleanup_(answer_done) struct answer ids = {{NULL}};
	const char *user = str_starts(name, "user:") ? name + 5 : name;
	int r = ask_ids(v, user, owner, group, &ids, err);
	if (r < 0)
		return r;
	struct secret_reader *reader = &a->readers[a->count++];
	reader->user = xstrdup(user);
	reader->uid = xstrdup(ids.lines[0]);
	bool self = strcmp(user, v->facts.user) == 0;
	if (!v->facts.is_root && !self)
		return err_hint(err,
		                err_set(err, ERR_REFUSED,
		                        "that user '%s' can read '%s' cannot be proved as '%s' on '%s'", user, in->path,
		                        v->facts.user, v->name),
		                "give the target `become: sudo`");
	r = check_way(v, &ids, user, in->path, err);
	if (r < 0)
		return r;
	if (strcmp(reader->uid, "0") == 0 || (strcmp(reader->uid, ids.lines[2]) == 0 && (in->mode & 0400) != 0))
		return 0;
	if (*group != '\0' && has_word(ids.lines[1], ids.lines[3])) {
		reader->by_group = true;
		a->mode |= 0040;
		return 0;
	}
	if ((a->mode & 0004) != 0)
		return 0;
	if (!v->facts.has_setfacl)
		return refuse(v, user, "would not be able to read the secret", err);
	reader->by_acl = true;
	a->acl = true;
	return 0;
}

int secret_access_resolve(const struct step_context *c, struct view *v, const char *existing_owner,
                          const char *existing_group, struct secret_access *ret, struct err *err)
{
	const struct secret_write_in *in = c->input;
	const char *owner = in->owner != NULL ? in->owner : existing_owner != NULL ? existing_owner : v->facts.user;
	const char *group = in->group != NULL ? in->group : existing_group != NULL ? existing_group : "";
	*ret = (struct secret_access){.mode = (mode_t)in->mode};
	ret->readers = xcalloc(in->readable_by.count + 1, sizeof(*ret->readers));
	for (size_t i = 0; i < in->readable_by.count; i++) {
		int r = resolve_one(c, v, owner, group, in->readable_by.items[i], ret, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The number of users and groups in the list, beside owner and group. */
static size_t count_named(const char *list)
{
	size_t count = 0;
	for (const char *line = list; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *id = str_starts(line, "user:") ? line + 5 : str_starts(line, "group:") ? line + 6 : ":";
		count += *id != ':';
	}
	return count;
}

bool secret_access_has_acl(struct view *v, const char *path, const json_t *acl, bool directory, mode_t base)
{
	const char *const argv[] = {"getfacl", "-cpn", "--", path, NULL};
	struct target_command command = {.argv = argv, .max_output = 64 << 10};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	struct err ignored = ERR_INIT;
	/* Without the command there is no list made by us. */
	if (host_query(v, &command, &result, &ignored) < 0 || result.status != 0)
		return json_array_size(acl) == 0;
	if (count_named(str_peek(&result.out)) != json_array_size(acl))
		return false;
	_cleanup_free_ char *group =
		xasprintf("group::%c%c%c", base & 0040 ? 'r' : '-', base & 0020 ? 'w' : '-', base & 0010 ? 'x' : '-');
	if (strstr(str_peek(&result.out), group) == NULL)
		return false;
	for (size_t i = 0; i < json_array_size(acl); i++) {
		_cleanup_free_ char *want =
			xasprintf("user:%s:%s", json_string_value(json_array_get(acl, i)), directory ? "r-x" : "r--");
		if (strstr(str_peek(&result.out), want) == NULL)
			return false;
	}
	return true;
}

int secret_access_prove(const struct step_context *c, struct view *v, const char *path, const char *user,
                        struct err *err)
{
	_cleanup_(answer_done) struct answer ids = {{NULL}};
	_cleanup_(str_done) struct str out = STR_INIT(64 << 10);
	(void)c;
	int r = ask_ids(v, user, "", "", &ids, err);
	if (r == 0)
		r = ask_as(v, &ids, prove_script, path, &out, err);
	if (r <= 0)
		return r;
	if (out.len > 0)
		return err_set(err, ERR_CONFLICT, "user '%s' on '%s' cannot read '%s': it cannot enter %s", user,
		               v->name, path, str_peek(&out));
	return err_set(err, ERR_CONFLICT, "user '%s' on '%s' cannot read '%s'", user, v->name, path);
}
