/* Which snapshot is meant: by its name or the newest one, of this deployment or of another one on the same target. */
#include "steps/sources/sources.h"
#include "base/sys/fs.h"
#include "steps/common/retention.h"

json_t *source_only_paths(const struct source_call *s, const json_t *head)
{
	const json_t *wanted = json_get_array(s->in, "paths"), *there = json_get_array(head, "paths");
	json_t *copy = json_deep_copy(head), *paths = json_get_array(copy, "paths");
	size_t found = 0;

	for (size_t i = 0; i < json_array_size(there); i++) {
		const char *path = json_get_string(json_array_get(there, i), "path");
		bool meant = false;
		for (size_t k = 0; path && !meant && k < json_array_size(wanted); k++) {
			_cleanup_free_ char *one = NULL;
			meant = fs_normalize(json_string_value(json_array_get(wanted, k)), &one, NULL) == 0 &&
			        strcmp(one, path) == 0;
		}
		found += meant;
		if (!meant) /* its number stays: by that it is found */
			json_array_set_new(paths, i, json_object());
	}
	if (found == json_array_size(wanted))
		return copy;
	json_decref(copy);
	return NULL;
}

bool source_is_meant(const struct source_call *s, const char *there, const char *name)
{
	_cleanup_(str_done) struct str own = STR_INIT(SUBJECT_MAX);
	size_t len;

	if (name)
		str_appendf(&own, "%s %s", s->source->name, name);
	else
		source_subject(s, &own);
	len = own.len;
	return strncmp(there, str_peek(&own), len) == 0 && (there[len] == '\0' || (name && there[len] == ' '));
}

static int look_at(const struct source_call *s, struct view *v, const char *path, const char *name,
                   struct source_from *ret, struct err *err)
{
	_cleanup_free_ char *subject = fs_join(path, "subject"), *manifest = fs_join(path, "manifest");
	_cleanup_(str_done) struct str there = STR_INIT(SUBJECT_MAX);
	_cleanup_json_ json_t *head = NULL;
	_cleanup_(node_done) struct node n = {0};

	int r = host_read(v, subject, SUBJECT_MAX - 1, &there, err);
	bool files = r == ERR_NOT_FOUND;
	if (files) {
		err_clear(err);
		r = 0;
	}
	if (r < 0 || files != (s->source->subject == NULL) || (!files && !source_is_meant(s, str_peek(&there), name)))
		return r;
	r = host_stat(v, manifest, &n, err);
	if (r < 0 || n.type != NODE_FILE)
		return r;
	r = source_read_head(v, path, &head, err);
	if (r < 0)
		return r;
	json_t *meant = files ? source_only_paths(s, head) : json_incref(head);
	if (meant == NULL)
		return 0;
	ret->path = xstrdup(path);
	ret->head = meant;
	return 0;
}

/* The one of several places of a deployment that is meant. */
static int look_in(const struct source_call *s, struct view *v, const char *snapshot, const char *name,
                   struct source_from *ret, struct err *err)
{
	_cleanup_(strv_done) struct strv places = {0};
	_cleanup_(source_from_done) struct source_from other = {0};

	int r = host_list(v, snapshot, &places, err);
	for (size_t i = 0; i < places.count && r == 0; i++) {
		_cleanup_free_ char *path = fs_join(snapshot, places.items[i]);
		r = look_at(s, v, path, name, ret->path ? &other : ret, err);
		if (r == 0 && other.path)
			return err_set(err, ERR_REFUSED, "'%s' and '%s' on '%s' are both meant", ret->path, other.path,
			               v->name);
	}
	return r;
}

bool source_is_elsewhere(const struct source_call *s, const json_t *from)
{
	const char *deployment = json_get_string(from, "deployment"),
		   *environment = json_get_string(from, "environment");
	return (deployment && strcmp(deployment, s->c->deployment->name) != 0) ||
	       (environment && strcmp(environment, s->c->deployment->environment) != 0);
}

void source_from_done(struct source_from *f)
{
	free(f->path);
	free(f->copy_target);
	free(f->copy_name);
	json_decref(f->head);
	*f = (struct source_from){0};
}

int source_find_from(const struct source_call *s, struct view *v, const json_t *from, struct source_from *ret,
                     struct err *err)
{
	const struct step_deployment *d = s->c->deployment;
	const char *deployment = json_get_string(from, "deployment"),
		   *environment = json_get_string(from, "environment"), *wanted = json_get_string(from, "snapshot"),
		   *name = json_get_string(from, "name");
	_cleanup_free_ char *dir = xasprintf("%s/snapshots/%s.%s", v->facts.base, deployment ? deployment : d->name,
	                                     environment ? environment : d->environment);
	_cleanup_(retention_done) struct retention_list kept = {0};

	int r = retention_list(v, dir, "", "", &kept, err);
	for (size_t i = kept.count; r == 0 && ret->path == NULL && i-- > 0;) {
		_cleanup_free_ char *snapshot = fs_join(dir, kept.items[i].name);
		if (wanted == NULL || strcmp(wanted, kept.items[i].name) == 0)
			r = look_in(s, v, snapshot, name, ret, err);
	}
	if (r == 0 && ret->path == NULL)
		r = err_hint(err,
		             err_set(err, ERR_REFUSED, "'%s' on '%s' has no %s%s that is whole and holds it", dir,
		                     v->name, wanted ? "snapshot " : "snapshot", wanted ? wanted : ""),
		             "the directories in it are the snapshots; `from` names another one");
	return r;
}
