/* The extent of history here: the list of commits at which it ends (.git/shallow), and its depth. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "base/git/git_priv.h"
#include "base/git/tags.h"

enum { SHALLOW_MAX = 4 << 20 };

static const char shallow_path[] = "shallow"; /* in .git */

int git_area_read_shallow(const struct git_area *a, struct strv *ret, struct err *err)
{
	struct str text _cleanup_(str_done) = STR_INIT(SHALLOW_MAX);
	struct err why = ERR_INIT;
	int r = fs_read_beneath(a->git, shallow_path, SHALLOW_MAX, &text, &why);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r < 0) {
		if (err != NULL)
			*err = why;
		return err_wrap(err, r, "read where the history ends");
	}
	char *rest = NULL;
	for (char *line = text.data ? strtok_r(text.data, "\n", &rest) : NULL; line != NULL;
	     line = strtok_r(NULL, "\n", &rest))
		strv_add(ret, line);
	return 0;
}

int git_area_write_shallow(struct git_area *a, const struct strv *shallow, const struct strv *unshallow,
                           struct err *err)
{
	struct strv old _cleanup_(strv_done) = {0}, list _cleanup_(strv_done) = {0};
	struct str text _cleanup_(str_done) = STR_INIT(SHALLOW_MAX);
	if (shallow->count == 0 && unshallow->count == 0)
		return 0;
	int r = git_area_read_shallow(a, &old, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < shallow->count; i++)
		strv_add(&list, shallow->items[i]);
	for (size_t i = 0; i < old.count; i++)
		if (!strv_has(unshallow, old.items[i]) && !strv_has(shallow, old.items[i]))
			strv_add(&list, old.items[i]);
	strv_sort(&list);
	for (size_t i = 0; i < list.count; i++)
		str_appendf(&text, "%s\n", list.items[i]);
	if (text.failed)
		return err_set(err, ERR_LIMIT, "the list of shallow commits is too long");
	if (text.len > 0)
		return fs_write_replace(a->git, shallow_path, text.data, text.len, 0644, err);
	return unlinkat(a->git, shallow_path, 0) == 0 || errno == ENOENT
	               ? 0
	               : err_errno(err, errno, "remove .git/%s", shallow_path);
}

bool git_area_is_shallow(const struct git_area *a)
{
	return fs_exists(a->git, shallow_path);
}

static bool has_parents(struct git_area *a, const char *commit)
{
	git_oid id;
	git_commit *found _cleanup_(commit_freep) = NULL;
	if (git_oid_fromstr(&id, commit) != 0 || git_commit_lookup(&found, a->repo, &id) != 0)
		return false;
	for (unsigned i = 0; i < git_commit_parentcount(found); i++) {
		git_commit *parent _cleanup_(commit_freep) = NULL;
		if (git_commit_parent(&parent, found, i) != 0)
			return false;
	}
	return true;
}

/* Commits with missing parents may have them now. */
int git_area_deepened(struct git_area *a, struct err *err)
{
	struct strv old _cleanup_(strv_done) = {0}, none _cleanup_(strv_done) = {0}, whole _cleanup_(strv_done) = {0};
	int r = git_area_read_shallow(a, &old, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < old.count; i++)
		if (has_parents(a, old.items[i]))
			strv_add(&whole, old.items[i]);
	return git_area_write_shallow(a, &none, &whole, err);
}

/* ---- depth ---- */

/* Ids by open addressing, a power of two of places, at most half of them taken. */
struct ids {
	git_oid *places;
	size_t room, count;
};

static bool ids_add(struct ids *s, const git_oid *id);

static void ids_grow(struct ids *s)
{
	struct ids old = *s;
	s->room = MAX(old.room * 2, (size_t)1024);
	s->count = 0;
	s->places = xcalloc(s->room, sizeof(*s->places));
	for (size_t i = 0; i < old.room; i++)
		if (!git_oid_is_zero(&old.places[i]))
			ids_add(s, &old.places[i]);
	free(old.places);
}

/* The slot where it is or would be. */
static git_oid *ids_place(const struct ids *s, const git_oid *id)
{
	size_t at;
	memcpy(&at, id->id, sizeof(at));
	for (at &= s->room - 1; !git_oid_is_zero(&s->places[at]) && !git_oid_equal(&s->places[at], id);)
		at = (at + 1) & (s->room - 1);
	return &s->places[at];
}

static bool ids_has(const struct ids *s, const git_oid *id)
{
	return s->room > 0 && git_oid_equal(ids_place(s, id), id);
}

/* False: it was in the set. */
static bool ids_add(struct ids *s, const git_oid *id)
{
	if (s->count * 2 >= s->room)
		ids_grow(s);
	git_oid *place = ids_place(s, id);
	if (git_oid_equal(place, id))
		return false;
	*place = *id;
	s->count++;
	return true;
}

struct level {
	git_oid *items;
	size_t count, cap;
};

static void level_done(struct level *l)
{
	free(l->items);
}

static void ids_done(struct ids *s)
{
	free(s->places);
}

static void level_add(struct level *l, struct ids *seen, const git_oid *id)
{
	if (!ids_add(seen, id))
		return;
	l->items = xgrow(l->items, &l->cap, l->count + 1, sizeof(*l->items));
	l->items[l->count++] = *id;
}

/* The parents of one commit into the next level; false: history ends here though the commit has parents. */
static bool add_parents(struct git_area *a, const git_oid *id, const struct ids *ends, struct ids *seen,
                        struct level *next)
{
	git_commit *commit _cleanup_(commit_freep) = NULL;
	if (ids_has(ends, id) || git_commit_lookup(&commit, a->repo, id) != 0)
		return false;
	for (unsigned i = 0; i < git_commit_parentcount(commit); i++)
		level_add(next, seen, git_commit_parent_id(commit, i));
	return true;
}

/* The commits of the tags into the first level. False: an object is missing. */
static bool add_tags(struct git_area *a, const struct git_tags *tags, struct ids *seen, struct level *first)
{
	for (size_t i = 0; i < tags->count; i++) {
		git_object *object = NULL, *commit = NULL;
		int r = git_object_lookup(&object, a->repo, &tags->items[i].id, GIT_OBJECT_ANY);
		if (r == 0 && git_object_peel(&commit, object, GIT_OBJECT_COMMIT) == 0)
			level_add(first, seen, git_object_id(commit));
		git_object_free(commit);
		git_object_free(object);
		if (r != 0)
			return false;
	}
	return true;
}

/* From level 1 on, as the server counts: by the shortest way from any of them. */
static bool are_deep(struct git_area *a, struct level *now, const struct ids *ends, struct ids *seen, int depth)
{
	for (int d = 1; d < depth && now->count > 0; d++) {
		struct level next = {0};
		bool whole = true;
		for (size_t i = 0; whole && i < now->count; i++)
			whole = add_parents(a, &now->items[i], ends, seen, &next);
		level_done(now);
		*now = next;
		if (!whole)
			return false;
	}
	/* The last level's own commits must be here too. */
	for (size_t i = 0; i < now->count; i++) {
		git_commit *commit _cleanup_(commit_freep) = NULL;
		if (git_commit_lookup(&commit, a->repo, &now->items[i]) != 0)
			return false;
	}
	return true;
}

bool git_area_is_deep(struct git_area *a, const struct git_wanted *want, const struct git_tags *tags, int depth)
{
	struct strv shallow _cleanup_(strv_done) = {0};
	struct ids seen _cleanup_(ids_done) = {0}, ends _cleanup_(ids_done) = {0};
	struct level first _cleanup_(level_done) = {0};
	git_oid id;
	if (!git_area_has_object(a, want->object) || git_oid_fromstr(&id, want->commit) != 0)
		return false;
	bool has = git_area_has(a, want->commit);
	/* A tag of something else is here: reported to the caller. */
	if (!has && strcmp(want->object, want->commit) == 0)
		return false;
	if (git_area_read_shallow(a, &shallow, NULL) < 0)
		return false;
	for (size_t i = 0; i < shallow.count; i++) {
		git_oid end;
		if (git_oid_fromstr(&end, shallow.items[i]) == 0)
			ids_add(&ends, &end);
	}
	if (has)
		level_add(&first, &seen, &id);
	return add_tags(a, tags, &seen, &first) && are_deep(a, &first, &ends, &seen, depth);
}
