/* archive-upload: a tree becomes a release of its own beside the others, and one rename makes it the valid one. */
#include "steps/archive_upload/archive_upload.h"
#include "base/sys/fs.h"
#include "steps/common/retention.h"
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

/* ---- names and places ---- */

void upload_places_of(const char *path, const char *release, struct upload_places *ret)
{
	ret->path = xstrdup(path);
	ret->releases = fs_join(path, "releases");
	ret->release = fs_join(ret->releases, release);
	ret->manifest = xasprintf("%s/.%s.manifest", ret->releases, release);
	ret->current = fs_join(path, "current");
	ret->shared = fs_join(path, "shared");
	ret->before = fs_join(ret->releases, "before-davit");
}

void upload_places_done(struct upload_places *p)
{
	free(p->path);
	free(p->releases);
	free(p->release);
	free(p->manifest);
	free(p->current);
	free(p->shared);
	free(p->before);
	*p = (struct upload_places){0};
}

char *upload_shared_link(const char *place, const char *name)
{
	_cleanup_(str_done) struct str s = STR_INIT(16384);

	str_append(&s, "../../");
	for (const char *p = strchr(place, '/'); p; p = strchr(p + 1, '/'))
		str_append(&s, "../");
	str_appendf(&s, "shared/%s", name);
	return str_take(&s);
}

void upload_show_size(int64_t bytes, struct str *out)
{
	if (bytes < 10000)
		str_appendf(out, "%" PRId64 " bytes", bytes);
	else if (bytes < 10000000)
		str_appendf(out, "%.1f kB", (double)bytes / 1e3);
	else
		str_appendf(out, "%.1f MB", (double)bytes / 1e6);
}

void upload_free(void *payload)
{
	struct upload *u = payload;

	if (!u)
		return;
	upload_places_done(&u->at);
	free(u->release);
	free(u->deployment);
	upload_source_unref(u->source);
	free(u->former_release);
	free(u->former_name);
	upload_former_done(&u->former);
	free(u->same);
	strv_done(&u->made);
	strv_done(&u->places);
	node_cache_done(&u->seen);
	json_decref(u->largest);
	json_decref(u->head);
	free(u);
}

/* ---- checks before the first change ---- */

static void describe(const struct step_context *c, struct str *out)
{
	const struct archive_upload_in *in = c->input;
	str_appendf(out, "send %s to a new release of %s and switch to it", in->source, in->path);
}

static void check_shared(const char *list, const struct field_strings *names, struct faults *faults)
{
	for (size_t i = 0; i < names->count; i++) {
		_cleanup_free_ char *pointer = xasprintf("/%s/%zu", list, i), *name = NULL;
		if (names->items[i][0] == '/' || fs_normalize(names->items[i], &name, NULL) < 0 ||
		    strcmp(name, ".") == 0 || *name == 0) {
			faults_add(faults, NULL, pointer, "'%s' does not lie in the release", names->items[i]);
			faults_hint(faults, "a path relative to the release: uploads, var/log");
		}
	}
}

/* One link inside another would lie in the shared directory itself. */
static void check_nested(const struct archive_upload_in *in, struct faults *faults)
{
	for (size_t a = 0;; a++) {
		_cleanup_free_ char *one = upload_shared_name(in, a);
		if (!one)
			return;
		for (size_t b = 0;; b++) {
			_cleanup_free_ char *other = upload_shared_name(in, b);
			if (!other)
				break;
			if (a == b || !fs_below(one, other) || (strcmp(one, other) == 0 && a > b))
				continue;
			faults_add(faults, NULL, "/shared", "'%s' lies below '%s', which is shared as a whole", other,
			           one);
			faults_hint(faults, "name one of them");
		}
	}
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct archive_upload_in *in = c->input;
	_cleanup_free_ char *path = NULL;

	if (fs_normalize(in->path, &path, NULL) < 0 || *path != '/' || strcmp(path, "/") == 0) {
		faults_add(faults, NULL, "/path", "'%s' is not a directory for releases", in->path);
		faults_hint(faults, "an absolute path of the application's own: /opt/shop");
	}
	if (in->shared.count + in->shared_files.count > UPLOAD_MOST_SHARED)
		faults_add(faults, NULL, "/shared", "more than %d shared paths", UPLOAD_MOST_SHARED);
	check_shared("shared", &in->shared, faults);
	check_shared("shared_files", &in->shared_files, faults);
	check_nested(in, faults);
}

/* A relative source must lie in the source tree, links resolved: entries outside are in no commit, and often not of this project. */
static void check_inside(const char *root, const char *path, const char *given, const char *pointer,
                         struct faults *faults)
{
	_cleanup_free_ char *real_root = fs_real_path(root, NULL), *real = fs_real_path(path, NULL);

	if (*given == '/' || !real_root || !real || fs_below(real_root, real))
		return;
	faults_add(faults, NULL, pointer, "'%s' leaves the source tree %s: it is %s", given, real_root, real);
	faults_hint(faults, "give a path in the tree, or the absolute path where exactly that one is meant");
}

static void check_exclude_files(const struct step_context *c, const char *source, struct faults *faults)
{
	const struct archive_upload_in *in = c->input;
	_cleanup_free_ char *real = fs_real_path(source, NULL), *limit = upload_source_limit(c, real ? real : source);
	struct stat st;

	for (size_t i = 0; i < in->exclude_from.count; i++) {
		const char *file = in->exclude_from.items[i];
		_cleanup_free_ char *full = *file == '/' ? xstrdup(file) : fs_join(source, file);
		_cleanup_free_ char *pointer = xasprintf("/exclude_from/%zu", i);
		if (stat(full, &st) < 0 || !S_ISREG(st.st_mode))
			faults_add(faults, NULL, pointer, "'%s' is not there (looked for at %s)", file, full);
		else
			check_inside(limit, full, file, pointer, faults);
	}
}

static void check_source(const struct step_context *c, struct faults *faults)
{
	const struct archive_upload_in *in = c->input;
	const char *root = upload_source_root(c);
	_cleanup_free_ char *path = *in->source == '/' ? xstrdup(in->source) : fs_join(root, in->source);
	struct stat st;

	if (stat(path, &st) < 0)
		faults_add(faults, NULL, "/source", "'%s' is not there (looked for at %s)", in->source, path);
	else if (!S_ISDIR(st.st_mode))
		faults_add(faults, NULL, "/source", "'%s' is not a directory", in->source);
	else
		check_inside(root, path, in->source, "/source", faults);
	check_exclude_files(c, path, faults);
}

/* A local target unpacks by itself. */
static void check_tools(const struct archive_upload_in *in, const struct view *v, struct faults *faults)
{
	const struct target_facts *f = &v->facts;

	if (strcmp(v->kind->name, "local") == 0)
		return;
	if (!f->has_tar) {
		faults_add(faults, NULL, "/target", "target '%s' has no tar", v->name);
		faults_hint(faults, "install tar there");
	}
	if (in->compression == ARCHIVE_UPLOAD_COMPRESSION_ZSTD && !f->has_zstd) {
		faults_add(faults, NULL, "/compression", "target '%s' has no zstd", v->name);
		faults_hint(faults, "install zstd there, or leave `compression` out: then gzip is taken, or none");
	}
	if (in->compression == ARCHIVE_UPLOAD_COMPRESSION_GZIP && !f->has_gzip) {
		faults_add(faults, NULL, "/compression", "target '%s' has no gzip", v->name);
		faults_hint(faults, "install gzip there, or leave `compression` out");
	}
}

/* Owners by number need not be known anywhere. */
static int check_owner(struct view *v, const char *input, const char *name, bool group, struct faults *faults,
                       struct err *err)
{
	_cleanup_free_ char *pointer = xasprintf("/%s", input);
	const char *const argv[] = {group ? "getent" : "id", group ? "group" : "-u", "--", name, NULL};
	const struct target_command command = {.argv = argv};
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;

	if (!name)
		return 0;
	if (!v->facts.is_root) {
		faults_add(faults, NULL, pointer, "'%s' cannot give files to others: only root can", v->name);
		faults_hint(faults, "set `become: sudo` of the target, or leave `%s` out", input);
		return 0;
	}
	if (name[strspn(name, "0123456789")] == '\0')
		return 0;
	int r = host_query(v, &command, &said, err);
	if (r == 0 && said.status != 0) {
		faults_add(faults, NULL, pointer, "there is no %s '%s' on '%s'", group ? "group" : "user", name,
		           v->name);
		faults_hint(faults, "make it there first");
	}
	return r;
}

static int check_owners(const struct archive_upload_in *in, struct view *v, struct faults *faults, struct err *err)
{
	int r = check_owner(v, "owner", in->owner, false, faults, err);

	if (r == 0)
		r = check_owner(v, "group", in->group, true, faults, err);
	if (r == 0)
		r = check_owner(v, "shared_owner", in->shared_owner, false, faults, err);
	if (r == 0)
		r = check_owner(v, "shared_group", in->shared_group, true, faults, err);
	return r;
}

static int check(const struct step_context *c, struct faults *faults, struct err *err)
{
	int r = 0;

	check_source(c, faults);
	for (size_t i = 0; i < c->target_count && r == 0; i++) {
		check_tools(c->input, &c->targets[i]->view, faults);
		r = check_owners(c->input, &c->targets[i]->view, faults, err);
	}
	return r;
}

/* ---- making and looking ---- */

static int apply(const struct step_context *c, struct target *t, struct change *change, struct err *err)
{
	struct upload *u = change->payload;

	if (change->type != &change_release)
		return change_apply(t, change, err);
	if (!u)
		return err_set(err, ERR_INTERNAL, "release '%s' was planned by another process", change->path);
	u->in = c->input;
	int r = upload_fill(c, t, u, err);
	u->just_filled = r == 0;
	return r;
}

static int compare(struct view *v, const struct change *change, struct err *err)
{
	enum change_match match;
	int r = change_compare(v, NULL, change, &match, err);

	if (r < 0 || match == MATCH_AFTER || match == MATCH_BOTH)
		return r;
	return err_set(err, ERR_CONFLICT, "'%s' on '%s' is not as it was made", change->path, v->name);
}

/* The files themselves were checked when they were sent: this only checks that the release and its list exist. The
 * list is read when the deployment is about to be decided, after the barrier, not right after it was written. */
static int verify(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	const char *path = json_get_string(change->extra, "manifest"),
		   *want = json_get_string(change->extra, "manifest_digest");
	char hex[65];

	struct upload *u = change->type == &change_release ? change->payload : NULL;
	if (u && u->just_filled) {
		u->just_filled = false;
		return 0;
	}
	int r = compare(v, change, err);
	if (r < 0 || change->type != &change_release || !path || !want)
		return r;
	r = host_digest(v, path, hex, err);
	if (r == ERR_NOT_FOUND || (r == 0 && strcmp(hex, want) != 0))
		return err_set(err, ERR_CONFLICT, "the manifest '%s' on '%s' is not the one that was written", path,
		               v->name);
	(void)c;
	return r;
}

/* Removes directories that came with the release if they are empty; a shared one in use is the application's. */
static int remove_made(const struct step_context *c, struct target *t, const json_t *made, struct err *err)
{
	for (size_t i = json_array_size(made); i > 0; i--) {
		const char *path = json_string_value(json_array_get(made, i - 1));
		struct err why = ERR_INIT;
		int r = path ? host_remove(t, path, &why) : 0;
		if (r == ERR_EXISTS) {
			c->report(c->engine, "%s stays: it is not empty", path);
		} else if (r < 0 && r != ERR_NOT_FOUND) {
			if (err)
				*err = why;
			return r;
		}
	}
	return 0;
}

static int undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err)
{
	int r = change_undo(t, change, err);

	if (r == 0 && change->type == &change_release)
		r = remove_made(c, t, json_get_array(change->extra, "made"), err);
	return r;
}

static int release_now(const struct step_context *c, struct view *v, char **ret, struct err *err)
{
	const struct archive_upload_in *in = c->input;
	_cleanup_(node_done) struct node current = {0};
	_cleanup_free_ char *path = NULL;

	int r = fs_normalize(in->path, &path, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *link = fs_join(path, "current");
	r = host_stat(v, link, &current, err);
	const char *slash = r == 0 && current.type == NODE_LINK ? strrchr(current.link, '/') : NULL;
	if (r == 0)
		*ret = xstrdup(slash ? slash + 1 : current.type == NODE_LINK ? current.link : "");
	return r;
}

/* ---- retention ---- */

static int remove_release(const struct step_context *c, struct target *t, const struct upload_places *at,
                          const char *name, const char *deployment, struct err *err)
{
	_cleanup_free_ char *dir = fs_join(at->releases, name),
			    *path = xasprintf("%s/.%s.manifest", at->releases, name);
	_cleanup_free_ char *going = xasprintf("%s/.%s.removed", at->releases, name);
	_cleanup_json_ json_t *head = NULL;

	int r = upload_read_head(c, &t->view, path, &head, err);
	const char *owner = r == 0 ? json_get_string(head, "deployment") : NULL;
	bool ours = owner && strcmp(owner, deployment) == 0;
	if (r < 0)
		return r;
	if (!ours)
		return 0;
	/* Moved away first: a release that cannot be removed completely must not look like one to go back to. The manifest goes last:
	 * while it exists a second cleaning finds the rest. */
	r = host_rename(t, dir, going, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		r = 0;
	}
	if (r == 0)
		r = host_remove_tree(t, going, err);
	if (r == 0)
		r = host_remove(t, path, err);
	if (r == 0)
		c->report(c->engine, "removed release %s", name);
	return r;
}

/* One release that stays (files of another user in it) is no reason to keep all the others: 0 continues. The caller reports the first
 * error; further ones are reported here. */
static int cannot_remove(const struct step_context *c, const struct target *t, const char *name, int code,
                         const struct err *own, struct err *first)
{
	char line[ERR_FRAME_SIZE];

	if (first->code == 0)
		*first = *own;
	else
		c->report(c->engine, "release %s on '%s' stays: %s", name, t->view.name,
		          err_line(own, line, sizeof(line)));
	return code == ERR_NETWORK || code == ERR_CANCELLED || code == ERR_FENCED || code == ERR_UNKNOWN ||
	                       code == ERR_TIMEOUT
	               ? code
	               : 0;
}

static int clean(const struct step_context *c, struct target *t, struct err *err)
{
	const struct archive_upload_in *in = c->input;
	_cleanup_(retention_done) struct retention_list releases = {0};
	_cleanup_(upload_places_done) struct upload_places at = {0};
	_cleanup_(node_done) struct node current = {0};
	_cleanup_free_ char *deployment = xasprintf("%s.%s", c->deployment->name, c->deployment->environment),
			    *path = NULL;

	int r = fs_normalize(in->path, &path, err);
	if (r < 0)
		return r;
	upload_places_of(path, "-", &at);
	r = retention_list(&t->view, at.releases, ".", ".manifest", &releases, err);
	if (r == 0)
		r = host_stat(&t->view, at.current, &current, err);
	const char *slash = r == 0 && current.type == NODE_LINK ? strrchr(current.link, '/') : NULL;
	size_t left = releases.count;
	struct err first = ERR_INIT;
	for (size_t i = 0; i < releases.count && left > (size_t)in->keep && r == 0; i++) {
		if (slash && strcmp(releases.items[i].name, slash + 1) == 0)
			continue;
		struct err own = ERR_INIT;
		int one = remove_release(c, t, &at, releases.items[i].name, deployment, &own);
		left--;
		if (one < 0)
			r = cannot_remove(c, t, releases.items[i].name, one, &own, &first);
	}
	if (first.code < 0) {
		if (err)
			*err = first;
		return first.code;
	}
	return r;
}

const struct step_type archive_upload_step = {
	.info = &archive_upload_info,
	.describe = describe,
	.validate = validate,
	.check = check,
	.memory = sizeof(struct upload_memory),
	.forget = upload_forget,
	.begin = upload_source_begin,
	.end = upload_source_end,
	.plan = archive_upload_plan,
	.apply = apply,
	.verify = verify,
	.undo = undo,
	.release = release_now,
	.clean = clean,
};
