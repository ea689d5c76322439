/* secret-write: plans one change a file, with names only; the bytes go to the target and nowhere else. */
#include "steps/secret_write/secret_write.h"
#include "base/sys/fs.h"
#include "base/secret/mask.h"
#include "steps/common/paths.h"

static const char *format_name(const struct secret_write_in *in)
{
	return in->format == SECRET_WRITE_FORMAT_ENV ? "env" : in->format == SECRET_WRITE_FORMAT_DIR ? "dir" : "file";
}

static void describe(const struct step_context *c, struct str *out)
{
	const struct secret_write_in *in = c->input;
	const char *dialect = in->dialect == SECRET_WRITE_DIALECT_COMPOSE   ? " for Compose"
	                      : in->dialect == SECRET_WRITE_DIALECT_SH      ? " for sh"
	                      : in->dialect == SECRET_WRITE_DIALECT_SYSTEMD ? " for systemd"
	                                                                    : "";
	str_appendf(out, "write secrets to %s (%s%s)", in->path, format_name(in), dialect);
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct secret_write_in *in = c->input;
	_cleanup_(secret_set_done) struct secret_set set = {0};
	free(step_target_path(in->path, "/path", faults));
	if (in->format != SECRET_WRITE_FORMAT_ENV && in->dialect != SECRET_WRITE_DIALECT_ANY)
		faults_add(faults, NULL, "/dialect", "`dialect` says who reads an env file, and `format: %s` is none",
		           format_name(in));
	if ((in->mode & 0004) != 0 && !in->allow_world_readable) {
		faults_add(faults, NULL, "/mode", "mode %04o lets everybody on the target read the secret",
		           (unsigned)in->mode);
		faults_hint(faults,
		            "name who has to read it in `readable_by:`, or consent with `allow_world_readable: true`");
	}
	if ((in->mode & 0022) != 0)
		faults_add(faults, NULL, "/mode", "mode %04o lets others than the owner write the secret",
		           (unsigned)in->mode);
	if ((in->mode & ~0666) != 0)
		faults_add(faults, NULL, "/mode", "mode %04o is not one for a file of secrets", (unsigned)in->mode);
	/* Layers lie in the source tree: `check` looks at them. */
	if (secret_layers_known(c))
		secret_select(c, &set, faults);
}

/* The desired state of one file: its part of the plan, and its bytes. */
struct wanted {
	struct str content;
	json_t *keys; /* name → new, changed, same, kept, generated, rotated, requoted, dropped */
	bool changed;
};

static void wanted_done(struct wanted *w)
{
	str_done(&w->content);
	json_decref(w->keys);
}

static void says(struct wanted *w, const char *name, const char *what)
{
	json_object_set_new(w->keys, name, json_string(what));
	if (strcmp(what, "same") != 0 && strcmp(what, "kept") != 0)
		w->changed = true;
}

/* The bytes for an item, given the existing content (NULL: none). */
static int settle(const struct secret_item *item, const char *now, size_t now_len, struct str *out,
                  const char **ret_what, struct err *err)
{
	if (item->spec != NULL) {
		if (now != NULL && now_len > 0 && !item->rotate) {
			mask_add(mask_process(), now, now_len);
			str_append_n(out, now, now_len);
			*ret_what = "kept";
			return 0;
		}
		*ret_what = now != NULL && now_len > 0 ? "rotated" : "generated";
		return secret_generate(item->spec, out, err);
	}
	const char *value = item->mended.len > 0 ? item->mended.data : item->value;
	size_t len = item->mended.len > 0 ? item->mended.len : item->len;
	str_append_n(out, value, len);
	*ret_what = now == NULL ? "new" : now_len == len && memcmp(now, value, len) == 0 ? "same" : "changed";
	return 0;
}

static const struct secret_item *find_item(const struct secret_set *set, const char *name)
{
	for (size_t i = 0; i < set->count; i++) {
		if (strcmp(set->items[i].name, name) == 0)
			return &set->items[i];
	}
	return NULL;
}

/* True: a line that is there is read alike in the dialect. By `any` what a person wrote stays, unless it is another dialect's. */
static bool stays_as_it_is(enum secret_write_dialect dialect, const char *raw, size_t raw_len, const struct str *quoted)
{
	if (raw_len == quoted->len && memcmp(raw, str_peek(quoted), raw_len) == 0)
		return true;
	return dialect == SECRET_WRITE_DIALECT_ANY && memmem(raw, raw_len, "\\'", 2) == NULL &&
	       memchr(raw, '`', raw_len) == NULL;
}

static int set_env_key(enum secret_write_dialect dialect, const struct secret_item *item, const struct env_line *now,
                       struct wanted *w, const char *raw, struct err *err)
{
	_cleanup_(str_done) struct str value = STR_SECRET_INIT(SECRET_MAX_VALUE + 2);
	const char *what = "new";
	bool known = now != NULL && now->readable;
	int r = settle(item, known ? str_peek(&now->value) : NULL, known ? now->value.len : 0, &value, &what, err);
	if (r < 0)
		return r;
	if (now != NULL && !known)
		what = "changed";
	_cleanup_(str_done) struct str quoted = STR_SECRET_INIT(SECRET_MAX_FILE);
	bool same = strcmp(what, "same") == 0 || strcmp(what, "kept") == 0;
	r = env_quote(dialect, item->name, str_peek(&value), value.len, &quoted, err);
	if (r == ERR_UNSUPPORTED && same && raw != NULL) {
		/* A value of somebody else's making stays as it stands. */
		err_clear(err);
		says(w, item->name, what);
		str_append_n(&w->content, raw, now->end - now->start);
		return 0;
	}
	if (r < 0)
		return r;
	bool stays = same && raw != NULL && stays_as_it_is(dialect, raw, now->end - now->start, &quoted);
	says(w, item->name, same && raw != NULL && !stays ? "requoted" : what);
	if (stays)
		str_append_n(&w->content, raw, now->end - now->start);
	else
		str_append_n(&w->content, str_peek(&quoted), quoted.len);
	return 0;
}

static void end_line(struct str *text)
{
	if (text->len > 0 && text->data[text->len - 1] != '\n')
		str_append_c(text, '\n');
}

static int want_env(const struct step_context *c, const struct secret_set *set, const struct str *now, struct wanted *w,
                    struct err *err)
{
	const struct secret_write_in *in = c->input;
	_cleanup_(env_file_done) struct env_file file = {0};
	int r = now != NULL ? env_read(str_peek(now), now->len, &file, err) : 0;
	for (size_t i = 0; r == 0 && i < file.count; i++) {
		const struct env_line *line = &file.lines[i];
		const char *raw = str_peek(&file.text) + line->start;
		const struct secret_item *item = line->name != NULL ? find_item(set, line->name) : NULL;
		end_line(&w->content);
		if (line->name == NULL) {
			str_append_n(&w->content, raw, line->end - line->start);
		} else if (item != NULL) {
			/* The last line of a duplicate key counts; one line is left. */
			if (json_object_get(w->keys, line->name) != NULL)
				w->changed = true;
			else if (env_find(&file, line->name) == line)
				r = set_env_key(in->dialect, item, line, w, raw, err);
			else
				r = set_env_key(in->dialect, item, env_find(&file, line->name), w, NULL, err);
		} else if (in->exact) {
			says(w, line->name, "dropped");
		} else {
			says(w, line->name, "kept");
			str_append_n(&w->content, raw, line->end - line->start);
		}
	}
	end_line(&w->content);
	for (size_t i = 0; r == 0 && i < set->count; i++) {
		if (json_object_get(w->keys, set->items[i].name) == NULL)
			r = set_env_key(in->dialect, &set->items[i], NULL, w, NULL, err);
	}
	return r < 0 ? r
	       : w->content.failed
	               ? err_set(err, ERR_LIMIT, "'%s' would be larger than %d bytes", in->path, SECRET_MAX_FILE)
	               : 0;
}

static int want_file(const struct secret_item *item, const char *shown_name, const struct str *now, struct wanted *w,
                     struct err *err)
{
	const char *what = "new";
	int r = settle(item, now != NULL ? str_peek(now) : NULL, now != NULL ? now->len : 0, &w->content, &what, err);
	if (r == 0)
		says(w, shown_name, what);
	return r;
}

static void summarize(const struct wanted *w, struct str *out)
{
	static const char *const order[] = {"generated", "rotated", "new",  "changed",
	                                    "requoted",  "dropped", "kept", "same"};
	const char *name;
	json_t *what;
	size_t groups = 0;
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		size_t count = 0;
		_cleanup_(str_done) struct str names = STR_INIT(2000);
		json_object_foreach(w->keys, name, what)
		{
			if (strcmp(json_string_value(what), order[i]) == 0)
				str_appendf(&names, "%s%s", count++ == 0 ? "" : ", ", name);
		}
		if (count > 0)
			str_appendf(out, "%s%s: %s", groups++ == 0 ? "" : "; ", order[i], str_peek(&names));
	}
}

/* Owner and group in the form of the existing node, so that 1000 and the name of that user do not differ. */
static const char *same_words(const char *given, const char *name, unsigned id)
{
	char digits[16];
	snprintf(digits, sizeof(digits), "%u", id);
	return given != NULL && (strcmp(given, name) == 0 || strcmp(given, digits) == 0) ? name : given;
}

struct place {
	const struct step_context *c;
	struct view *v;
	struct plan *plan;
	const struct secret_access *access;
	json_t *acl; /* uids; NULL: none */
};

static mode_t dir_mode(mode_t mode)
{
	return 0700 | (mode & 0044) | (mode & 0044) >> 2;
}

/* Adds the change that makes `path` so, unless it is so. An ACL shows as group bits in the mode; they are its mask. */
static void plan_node(struct place *p, const char *path, bool directory, const struct node *now, struct wanted *w)
{
	const struct secret_write_in *in = p->c->input;
	_cleanup_json_ json_t *before = node_to_json(now, NULL);
	mode_t base = directory ? dir_mode(p->access->mode) : p->access->mode;
	mode_t mode = base | (p->acl != NULL ? (directory ? 0050 : 0040) : 0);
	const char *owner = now->type != NODE_ABSENT ? same_words(in->owner, now->owner, now->uid) : in->owner;
	const char *group = now->type != NODE_ABSENT ? same_words(in->group, now->group, now->gid) : in->group;
	json_object_del(before, "size");
	_cleanup_json_ json_t *after = node_after(directory ? "dir" : "file", before, owner, group, mode);
	bool differs = node_differs(before, after) || (w != NULL && w->changed);
	/* Without group bits an ACL gives nothing: they are its mask. */
	if (!differs && (p->acl != NULL || (mode & 0070) != 0))
		differs = !secret_access_has_acl(p->v, path, p->acl, directory, base);
	if (!differs)
		return;
	struct change *change = plan_add(p->plan, directory ? &change_dir : &change_file,
	                                 now->type == NODE_ABSENT ? ACTION_CREATE : ACTION_UPDATE, path);
	_cleanup_(str_done) struct str text = STR_INIT(16384);
	change->secret = !directory;
	change->before = TAKE(before);
	change->after = TAKE(after);
	change->extra = json_object();
	json_t *plan = json_object();
	json_object_set_new(change->extra, "plan", plan);
	if (w != NULL) {
		json_object_set(plan, "keys", w->keys);
		str_append_n(&change->content, str_peek(&w->content), w->content.len);
		summarize(w, &text);
	} else {
		str_append(&text, "the directory of the files");
	}
	json_t *readers = json_array();
	for (size_t i = 0; i < p->access->count; i++)
		json_array_append_new(readers, json_string(p->access->readers[i].user));
	json_object_set_new(change->extra, "readers", readers);
	if (p->acl != NULL)
		json_object_set(plan, "acl", p->acl);
	json_object_set_new(change->extra, "base_mode", json_stringf("%04o", (unsigned)base));
	change->summary = str_take(&text);
}

static int look_file(struct view *v, const char *path, struct node *now, struct str *content, bool *ret_there,
                     struct err *err)
{
	int r = host_stat(v, path, now, err);
	if (r < 0)
		return r;
	*ret_there = now->type == NODE_FILE;
	if (now->type == NODE_LINK)
		return err_hint(err,
		                err_set(err, ERR_REFUSED, "'%s' on '%s' is a link to %s", path, v->name, now->link),
		                "name the file itself");
	if (now->type != NODE_FILE && now->type != NODE_ABSENT)
		return err_set(err, ERR_REFUSED, "'%s' on '%s' exists but is not a file", path, v->name);
	if (!*ret_there)
		return 0;
	r = host_read(v, path, SECRET_MAX_FILE, content, err);
	return r < 0 ? err_wrap(err, r, "read what '%s' on '%s' holds now", path, v->name) : 0;
}

/* One file. item NULL: the whole set as an env file. */
static int plan_file(struct place *p, const char *path, const struct secret_set *set, const struct secret_item *item,
                     struct err *err)
{
	_cleanup_(node_done) struct node now = {0};
	_cleanup_(str_done) struct str content = STR_SECRET_INIT(SECRET_MAX_FILE);
	_cleanup_(wanted_done) struct wanted w = {.content = STR_SECRET_INIT(SECRET_MAX_FILE), .keys = json_object()};
	bool there = false;
	int r = look_file(p->v, path, &now, &content, &there, err);
	if (r == 0 && item == NULL)
		r = want_env(p->c, set, there ? &content : NULL, &w, err);
	else if (r == 0)
		r = want_file(item, item->name, there ? &content : NULL, &w, err);
	size_t before = p->plan->count;
	if (r == 0)
		plan_node(p, path, false, &now, &w);
	/* An unchanged file gets no verify: proves it here. */
	for (size_t i = 0; r == 0 && there && before == p->plan->count && i < p->access->count; i++)
		r = secret_access_prove(p->c, p->v, path, p->access->readers[i].user, err);
	return r;
}

static int drop_others(struct place *p, const char *dir, const struct secret_set *set, struct err *err)
{
	struct strv names = {0};
	int r = host_list(p->v, dir, &names, err);
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		_cleanup_free_ char *path = fs_join(dir, names.items[i]);
		_cleanup_(node_done) struct node now = {0};
		if (find_item(set, names.items[i]) != NULL || str_starts(names.items[i], ".davit-"))
			continue;
		r = host_stat(p->v, path, &now, err);
		if (r < 0)
			break;
		if (now.type != NODE_FILE && now.type != NODE_LINK) {
			strv_addf(&p->plan->warnings, "'%s' is not a file and stays, `exact: true` or not", path);
			continue;
		}
		struct change *change = plan_add(p->plan, &change_remove, ACTION_DESTROY, path);
		change->secret = true;
		change->before = node_to_json(&now, NULL);
		json_object_del(change->before, "size");
		change->after = json_pack("{s:s}", "type", "absent");
		change->summary = xasprintf("dropped: %s", names.items[i]);
	}
	strv_done(&names);
	return r;
}

static int plan_dir(struct place *p, const char *path, const struct secret_set *set, struct err *err)
{
	const struct secret_write_in *in = p->c->input;
	_cleanup_(node_done) struct node now = {0};
	int r = host_stat(p->v, path, &now, err);
	if (r < 0)
		return r;
	bool there = now.type == NODE_DIR;
	if (!there && now.type != NODE_ABSENT)
		return err_set(err, ERR_REFUSED, "'%s' on '%s' exists but is not a directory", path, p->v->name);
	plan_node(p, path, true, &now, NULL);
	for (size_t i = 0; r == 0 && i < set->count; i++) {
		_cleanup_free_ char *file = fs_join(path, set->items[i].name);
		r = plan_file(p, file, set, &set->items[i], err);
	}
	return r == 0 && there && in->exact ? drop_others(p, path, set, err) : r;
}

/* Adds the plan's warnings: fixed keys, names left out. */
static void tell(const struct secret_set *set, struct plan *plan)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct secret_item *item = &set->items[i];
		if (item->mend != NULL)
			strv_addf(&plan->warnings, "the key '%s': %s fixed", item->name, item->mend);
		else if (!item->is_key && item->value != NULL && memchr(item->value, '\r', item->len) != NULL)
			strv_addf(&plan->warnings, "the value of '%s' holds a carriage return; it is written as it is",
			          item->name);
	}
	for (size_t i = 0; i < set->left_out.count; i++)
		strv_addf(&plan->warnings, "'%s' is left out: it logs in, and is never written to a target",
		          set->left_out.items[i]);
}

static int plan_secrets(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	const struct secret_write_in *in = c->input;
	struct faults faults = {0};
	_cleanup_(secret_set_done) struct secret_set set = {0};
	_cleanup_(secret_access_done) struct secret_access access = {0};
	_cleanup_(node_done) struct node now = {0};
	_cleanup_json_ json_t *acl = NULL;
	_cleanup_free_ char *path = step_target_path(in->path, "/path", &faults);
	secret_select(c, &set, &faults);
	int r = faults_to_err(&faults, NULL, err);
	faults_done(&faults);
	if (r < 0)
		return r;
	r = host_stat(v, path, &now, err);
	if (r < 0)
		return r;
	bool there = now.type != NODE_ABSENT;
	r = secret_access_resolve(c, v, there ? now.owner : NULL, there ? now.group : NULL, &access, err);
	if (r < 0)
		return r;
	if (access.acl) {
		acl = json_array();
		for (size_t i = 0; i < access.count; i++) {
			if (access.readers[i].by_acl)
				json_array_append_new(acl, json_string(access.readers[i].uid));
		}
	}
	struct place p = {.c = c, .v = v, .plan = plan, .access = &access, .acl = acl};
	_cleanup_(node_cache_done) struct node_cache seen = {0};
	_cleanup_(strv_done) struct strv way = {0};
	node_cache_add_way(&way, path);
	r = node_cache_fetch(&seen, v, &way, err);
	if (r == 0)
		r = step_plan_parents(v, &seen, plan, path, err);
	if (r < 0)
		return r;
	tell(&set, plan);
	if (in->format == SECRET_WRITE_FORMAT_DIR)
		return plan_dir(&p, path, &set, err);
	return plan_file(&p, path, &set, in->format == SECRET_WRITE_FORMAT_FILE ? &set.items[0] : NULL, err);
}

static int check(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct secret_write_in *in = c->input;
	_cleanup_(secret_set_done) struct secret_set set = {0};
	if (in->layers.count > 0)
		secret_select(c, &set, faults);
	for (size_t i = 0; i < c->target_count; i++) {
		struct view *v = &c->targets[i]->view;
		_cleanup_(secret_access_done) struct secret_access access = {0};
		_cleanup_(node_done) struct node now = {0};
		int r = host_stat(v, in->path, &now, err);
		if (r < 0)
			return r;
		bool there = now.type != NODE_ABSENT;
		r = secret_access_resolve(c, v, there ? now.owner : NULL, there ? now.group : NULL, &access, err);
		if (r == ERR_REFUSED && err != NULL) {
			char line[1024];
			faults_add(faults, NULL, "/readable_by", "%s", err_line(err, line, sizeof(line)));
			faults_hint(faults, "%s", err->hint);
			err_clear(err);
		} else if (r < 0) {
			return r;
		}
	}
	return 0;
}

static const char *lock_dir_of(const struct step_context *c, const struct view *v)
{
	for (size_t i = 0; i < c->target_count; i++) {
		if (&c->targets[i]->view == v)
			return c->targets[i]->lock_dir;
	}
	return NULL;
}

static int verify(const struct step_context *c, struct view *v, const struct change *change, struct err *err)
{
	enum change_match match;
	const json_t *reader;
	size_t i;
	int r = change_compare(v, lock_dir_of(c, v), change, &match, err);
	if (r < 0)
		return r;
	if (match != MATCH_AFTER && match != MATCH_BOTH) {
		_cleanup_(str_done) struct str why = STR_INIT(2000);
		r = change_explain(v, change, &why, err);
		return r < 0 ? r
		             : err_set(err, ERR_CONFLICT, "'%s' on '%s' is not as it was written: %s", change->path,
		                       v->name, str_peek(&why));
	}
	if (change->type != &change_file)
		return 0;
	json_array_foreach(json_object_get(change->extra, "readers"), i, reader)
	{
		r = secret_access_prove(c, v, change->path, json_string_value(reader), err);
		if (r < 0)
			return r;
	}
	return 0;
}

const struct step_type secret_write_step = {
	.info = &secret_write_info,
	.describe = describe,
	.validate = validate,
	.check = check,
	.plan = plan_secrets,
	.explain = secret_explain,
	.verify = verify,
};
