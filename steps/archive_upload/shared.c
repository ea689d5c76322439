/* The places of shared paths in a release: the tree may have links on the way to them. */
#include "steps/archive_upload/archive_upload.h"
#include "base/sys/fs.h"

#include <sys/stat.h>

enum { HOPS_MAX = 40 };

char *upload_shared_name(const struct archive_upload_in *in, size_t n)
{
	const char *given;

	if (n < in->shared.count)
		given = in->shared.items[n];
	else if (n < in->shared.count + in->shared_files.count)
		given = in->shared_files.items[n - in->shared.count];
	else
		return NULL;
	char *name = NULL;
	if (fs_normalize(given, &name, NULL) < 0) /* refused by validate */
		name = xstrdup(given);
	return name;
}

static int leaves(const char *name, const char *link, const char *to, struct err *err)
{
	int r = err_set(err, ERR_REFUSED, "the shared path '%s' leads out of the release: '%s' is a link to '%s'", name,
	                link, to);
	return err_hint(err, r, "share a path that does not lead through that link");
}

/* The first link of the tree above `path`; NULL: there is none. *ret_len: how much of path names it. */
static const struct tree_entry *link_above(const struct tree *t, const char *path, size_t *ret_len)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		_cleanup_free_ char *above = xstrndup(path, (size_t)(slash - path));
		const struct tree_entry *e = tree_find(t, above);
		*ret_len = (size_t)(slash - path);
		if (e && S_ISLNK(e->mode))
			return e;
	}
	return NULL;
}

static int resolve(const struct tree *t, const char *name, char **ret, struct err *err)
{
	_cleanup_free_ char *path = xstrdup(name);

	for (int hops = 0;; hops++) {
		size_t len;
		const struct tree_entry *e = link_above(t, path, &len);
		if (!e) {
			*ret = TAKE(path);
			return 0;
		}
		if (*e->link == '/' || hops == HOPS_MAX)
			return leaves(name, e->path, e->link, err);
		const char *slash = strrchr(e->path, '/');
		_cleanup_free_ char *way =
			xasprintf("%.*s%s%s", slash ? (int)(slash - e->path + 1) : 0, e->path, e->link, path + len);
		char *next = NULL;
		if (fs_normalize(way, &next, NULL) < 0)
			return leaves(name, e->path, e->link, err);
		free(path);
		path = next;
	}
}

static int refuse_taken(const struct tree *t, const char *name, const char *place, struct err *err)
{
	if (strcmp(name, place) == 0) /* left out of the tree */
		return 0;
	for (size_t i = 0; i < t->count; i++) {
		if (!fs_below(place, t->entries[i].path))
			continue;
		int r = err_set(err, ERR_REFUSED, "the shared path '%s' lies at '%s', where the source has '%s'", name,
		                place, t->entries[i].path);
		return err_hint(err, r, "share '%s' by that name", place);
	}
	return 0;
}

int upload_place_shared(struct upload *u, struct err *err)
{
	for (size_t n = 0;; n++) {
		_cleanup_free_ char *name = upload_shared_name(u->in, n), *place = NULL;
		if (!name)
			return 0;
		int r = resolve(&u->source->tree, name, &place, err);
		if (r == 0)
			r = refuse_taken(&u->source->tree, name, place, err);
		for (size_t k = 0; r == 0 && k < u->places.count; k++)
			if (fs_below(u->places.items[k], place) || fs_below(place, u->places.items[k]))
				r = err_set(err, ERR_REFUSED,
				            "the shared path '%s' lies in the release where another one lies, at '%s'",
				            name, u->places.items[k]);
		if (r < 0)
			return r;
		strv_add(&u->places, place);
	}
}
