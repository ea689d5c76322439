/* The room that images need where the engine keeps them, by the sizes that the registries' manifests say: found before anything is fetched. A layer
 * needs at least as much as was packed of it; one that is there already needs nothing. */
#include "steps/compose_up/compose_up.h"

#include <inttypes.h>

enum { MEGABYTE = 1000000, KNOWN_MAX = 20 };

static int64_t sum_of(const json_t *layers)
{
	const char *digest;
	json_t *size;
	int64_t sum = 0;
	json_object_foreach((json_t *)(uintptr_t)layers, digest, size)
	{
		int64_t one = json_integer_value(size);
		sum = one > INT64_MAX - sum ? INT64_MAX : sum + one;
	}
	return sum;
}

/* Another machine's engine keeps them on another machine's disk. */
static int free_where_kept(const struct docker *d, char **ret_root, int64_t *ret_free, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	_cleanup_free_ char *host = NULL;
	int r = docker_root(d, &host, ret_root, err);
	if (r < 0 || d->v->facts.hostname == NULL || strcmp(host, d->v->facts.hostname) != 0 || (*ret_root)[0] != '/')
		return r < 0 ? r : 1;
	r = host_stat(d->v, *ret_root, &n, err);
	if (r == 0 && n.type != NODE_DIR)
		return 1;
	return r < 0 ? r : host_space(d->v, *ret_root, ret_free, err);
}

static void drop(json_t *layers, json_t *known)
{
	const char *digest;
	json_t *size;
	json_object_foreach(known, digest, size) json_object_del(layers, digest);
}

/* Takes out what images have that are there. False: some could not be asked, or no registry knows what they are made of. */
static int drop_known(const struct docker *d, json_t *layers, bool *ret_all, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	int r = docker_known_names(d, &names, err);
	*ret_all = r == 0 && names.count <= KNOWN_MAX;
	r = MIN(r, 0);
	for (size_t i = 0; r == 0 && i < names.count && i < KNOWN_MAX; i++) {
		_cleanup_json_ json_t *images = NULL;
		struct err why = ERR_INIT;
		r = docker_registry_image(d, names.items[i], &images, &why);
		if (r == ERR_NOT_FOUND) {
			*ret_all = false;
			r = 0;
		} else if (r < 0 && err != NULL) {
			*err = why;
		}
		for (size_t k = 0; k < json_array_size(images); k++)
			drop(layers, json_object_get(json_array_get(images, k), "layers"));
	}
	return r;
}

int compose_check_room(const struct docker *d, const json_t *layers, struct strv *faults, struct strv *warnings,
                       struct err *err)
{
	_cleanup_free_ char *root = NULL;
	_cleanup_json_ json_t *needed = json_copy((json_t *)(uintptr_t)layers);
	int64_t room = 0;
	bool all = true;
	if (sum_of(needed) == 0)
		return 0;
	int r = free_where_kept(d, &root, &room, err);
	if (r != 0 || sum_of(needed) <= room)
		return r < 0 ? r : 0;
	r = drop_known(d, needed, &all, err);
	if (r < 0 || sum_of(needed) <= room)
		return r;
	strv_addf(
		all ? faults : warnings,
		"the images to be fetched need at least %" PRId64 " MB in '%s', which has %" PRId64
		" MB free: `docker system df` shows what is there, and `docker image prune` removes what nothing needs",
		sum_of(needed) / MEGABYTE + 1, root, room / MEGABYTE);
	return 0;
}
