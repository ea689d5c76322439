#include "base/git/tags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/core/log.h"
#include "base/git/fetch_v0.h"
#include "base/git/partial.h"
#include "base/git/wire_priv.h"

static const char prefix[] = "refs/tags/", heads[] = "refs/heads/", origin[] = "refs/remotes/origin/";

void git_tags_done(struct git_tags *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->items[i].name);
	free(t->items);
	*t = (struct git_tags){.items = NULL};
}

/* ---- the list ---- */

int git_tags_add(struct git_tags *t, const char *name, const git_oid *id, struct err *err)
{
	int valid = 0;
	bool is_head = t->heads && str_starts(name, heads);
	if ((!is_head && !str_starts(name, prefix)) || git_reference_name_is_valid(&valid, name) != 0 || !valid)
		return 0;
	if (t->count == GIT_TAGS_MAX) {
		int r = err_set(err, ERR_LIMIT, "the git server lists more than %d %s", GIT_TAGS_MAX,
		                t->heads ? "branches and tags" : "tags");
		return err_hint(
			err, r,
			"leave `fetch-tags` off, give a `fetch-depth`, and fetch those that are needed in a step");
	}
	t->items = xgrow(t->items, &t->cap, t->count + 1, sizeof(*t->items));
	t->items[t->count++] = (struct git_tag){
		.name = is_head ? xasprintf("%s%s", origin, name + strlen(heads)) : xstrdup(name), .id = *id};
	return 0;
}

static int on_tag(void *context, int kind, const char *data, size_t len, struct err *err)
{
	struct git_tags *t = context;
	git_oid id;
	t->seen_any = true;
	int r = kind >= 0 ? 0 : git_wire_ref(data, &len, &t->bytes, err);
	if (r < 0 || kind >= 0)
		return r;
	size_t name_len = len - 41;
	const char *blank = memchr(data + 41, ' ', name_len);
	_cleanup_free_ char *name = xstrndup(data + 41, blank != NULL ? (size_t)(blank - data) - 41 : name_len);
	return git_oid_fromstrn(&id, data, 40) == 0 ? git_tags_add(t, name, &id, err) : 0;
}

static int list_v2(const struct git_remote_access *remote, struct git_tags *ret, struct err *err)
{
	struct git_exchange x _cleanup_(git_exchange_done) = GIT_EXCHANGE_INIT(on_tag, ret);
	struct str body _cleanup_(str_done) = STR_INIT(4096);
	git_wire_line(&body, "command=ls-refs");
	git_wire_line(&body, "agent=davit/" DAVIT_VERSION);
	str_append(&body, "0001");
	git_wire_linef(&body, "ref-prefix ", prefix);
	if (ret->heads)
		git_wire_linef(&body, "ref-prefix ", heads);
	str_append(&body, "0000");
	int r = git_wire_post(remote, &body, GIT_REFS_MS, &x, err);
	/* Version 0 does not understand the request and ends silently. */
	if (r >= 0 && !ret->seen_any)
		r = err_set(err, ERR_UNSUPPORTED, "the git server does not speak protocol version 2");
	return r;
}

int git_tags_list(const struct git_remote_access *remote, struct git_tags *ret, struct err *err)
{
	git_area_library();
	int r = list_v2(remote, ret, err);
	if (r == ERR_UNSUPPORTED) {
		log_debug("git", "%s: no protocol version 2, asking for tags by version 0", remote->url);
		err_clear(err);
		bool all = ret->heads;
		git_tags_done(ret);
		ret->heads = all;
		r = git_v0_tags(remote, ret, err);
	}
	return r < 0 ? err_wrap(err, r, "list the tags") : 0;
}

void git_tags_ids(const struct git_tags *t, struct strv *ret)
{
	struct strv all _cleanup_(strv_done) = {0};
	char hex[GIT_HEX];
	for (size_t i = 0; i < t->count; i++)
		strv_add(&all, git_oid_tostr(hex, sizeof(hex), &t->items[i].id));
	strv_sort(&all);
	for (size_t i = 0; i < all.count; i++)
		if (i == 0 || strcmp(all.items[i - 1], all.items[i]) != 0)
			strv_add(ret, all.items[i]);
}

/* ---- set here ---- */

static int compare(const void *a, const void *b)
{
	const struct git_tag *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

static int compare_name(const void *name, const void *tag)
{
	const struct git_tag *const *t = tag;
	return strcmp(name, (*t)->name);
}

/* First, since a tag that is gone may stand where a new one needs a directory. */
static int remove_others(struct git_area *a, const struct git_tags *t)
{
	const struct git_tag **sorted = xcalloc(t->count + 1, sizeof(*sorted));
	git_strarray names = {NULL, 0};
	for (size_t i = 0; i < t->count; i++)
		sorted[i] = &t->items[i];
	qsort(sorted, t->count, sizeof(*sorted), compare);
	int r = git_reference_list(&names, a->repo);
	for (size_t i = 0; r == 0 && i < names.count; i++)
		if ((str_starts(names.strings[i], prefix) || (t->heads && str_starts(names.strings[i], origin))) &&
		    bsearch(names.strings[i], sorted, t->count, sizeof(*sorted), compare_name) == NULL)
			r = git_reference_remove(a->repo, names.strings[i]);
	git_strarray_dispose(&names);
	free(sorted);
	return r;
}

/* An object of a tag names one that is here too, unless a filter may have left that out. */
static int check(struct git_area *a, const git_oid *id, bool partial)
{
	git_object *object = NULL, *named = NULL;
	int r = git_object_lookup(&object, a->repo, id, GIT_OBJECT_ANY);
	if (r == 0 && !partial && git_object_type(object) == GIT_OBJECT_TAG)
		r = git_object_peel(&named, object, GIT_OBJECT_ANY);
	git_object_free(named);
	git_object_free(object);
	return r;
}

static int set(struct git_area *a, const struct git_tag *t, bool partial, struct err *err)
{
	git_oid now;
	git_reference *made _cleanup_(reference_freep) = NULL;
	char line[256];
	if (git_reference_name_to_id(&now, a->repo, t->name) == 0 && git_oid_equal(&now, &t->id))
		return 0;
	snprintf(line, sizeof(line), "set %.200s", t->name);
	if (check(a, &t->id, partial) != 0)
		return err_set(err, ERR_PROTOCOL, "the git server sent no object for %.200s", t->name);
	int r = git_reference_create(&made, a->repo, t->name, &t->id, 1, NULL);
	return r == 0 ? 0 : git_area_error(err, r, line);
}

int git_tags_set(struct git_area *a, const struct git_tags *t, struct err *err)
{
	bool partial = git_partial_is(a);
	int r = remove_others(a, t);
	if (r != 0)
		return git_area_error(err, r, "remove a tag that the git server no longer has");
	for (size_t i = 0; r >= 0 && i < t->count; i++)
		r = set(a, &t->items[i], partial, err);
	return r;
}
