#include "providers/scaleway/catalog.h"

#include "base/core/mem.h"
#include "providers/scaleway/reply.h"
#include "providers/scaleway/volume.h"

#include <inttypes.h>
#include <string.h>

enum { LISTED = 12, LIST_MAX = 460, NAMES_MAX = 2000 };

/* ---- names that are near ---- */

struct names {
	const char *items[NAMES_MAX]; /* borrowed */
	size_t count;
};

static void add_name(struct names *n, const char *name)
{
	if (name != NULL && n->count < ARRAY_SIZE(n->items))
		n->items[n->count++] = name;
}

/* "DEV1-" of "DEV1-XXL": what a person probably means is sold in several sizes. */
static size_t family_of(const char *name)
{
	const char *end = strpbrk(name, "-_");
	return end != NULL ? (size_t)(end - name) + 1 : strlen(name);
}

static void list_near(const struct names *n, const char *word, struct str *out)
{
	size_t family = family_of(word), shown = 0;
	for (size_t i = 0; i < n->count && shown < LISTED; i++) {
		if (strncasecmp(n->items[i], word, family) != 0)
			continue;
		str_append(out, shown++ > 0 ? ", " : "");
		str_append_safe(out, n->items[i], MIN(strlen(n->items[i]), (size_t)60));
	}
}

static int not_sold(const struct names *n, const char *word, int code, struct err *err)
{
	struct str near _cleanup_(str_done) = STR_INIT(LIST_MAX);
	const char *nearest = str_nearest(word, n->items, n->count);
	list_near(n, word, &near);
	if (nearest != NULL)
		return err_hint(err, code, "did you mean '%.60s'?%s%s", nearest, near.len > 0 ? " There are " : "",
		                str_peek(&near));
	return near.len > 0 ? err_hint(err, code, "there are %s", str_peek(&near)) : code;
}

/* ---- types ---- */

static int unknown_type(const struct scaleway *s, json_t *types, const char *type, struct err *err)
{
	_cleanup_free_ struct names *names = xcalloc(1, sizeof(*names));
	const char *name;
	json_t *value;
	json_object_foreach(types, name, value) add_name(names, name);
	err_set(err, ERR_NOT_FOUND, "there is no type of instances '%s' in %s", type, scaleway_zone(s));
	return not_sold(names, type, ERR_NOT_FOUND, err);
}

static bool is_local(const char *root_type)
{
	return root_type != NULL && strcmp(root_type, "l_ssd") == 0;
}

/* Local volumes lie on the machine, which has room for so much of them; types of today may have none. */
static int check_local(const json_t *type, const struct catalog_wish *wish, struct err *err)
{
	const json_t *sum = json_get_object(type, "volumes_constraint");
	int64_t least = json_get_int(sum, "min_size", 0) / VOLUME_GB,
		most = json_get_int(sum, "max_size", 0) / VOLUME_GB;
	if (!is_local(wish->root_type) || (wish->root_gb >= least && wish->root_gb <= most))
		return 0;
	if (most <= 0)
		return err_set(err, ERR_INVALID, "a %s has no local volumes (`root_type: l_ssd`)",
		               wish->commercial_type);
	return err_set(err, ERR_INVALID, "a %s has local volumes of %" PRId64 " to %" PRId64 " GB, not of %" PRId64,
	               wish->commercial_type, least, most, wish->root_gb);
}

static int check_stock(struct scaleway *s, const char *type, struct wait *w, struct err *err)
{
	json_t *all _cleanup_json_ = NULL;
	_cleanup_free_ char *path = scaleway_instance_path(s, "products/servers/availability");
	int r = scaleway_list_once(s, path, "servers", w, &all, err);
	const char *stock = json_get_string(json_object_get(all, type), "availability");
	if (r < 0 || stock == NULL || strcmp(stock, "shortage") != 0)
		return r;
	err_set(err, ERR_FAILED, "a %s is out of stock in %s", type, scaleway_zone(s));
	return err_hint(err, ERR_FAILED, "take another type or zone, or wait");
}

int catalog_check_type(struct scaleway *s, const struct catalog_wish *wish, struct wait *w, struct err *err)
{
	json_t *types _cleanup_json_ = NULL;
	_cleanup_free_ char *path = scaleway_instance_path(s, "products/servers");
	int r = scaleway_list_once(s, path, "servers", w, &types, err);
	const json_t *type = json_get_object(types, wish->commercial_type);
	if (r < 0)
		return r;
	if (type == NULL)
		return unknown_type(s, types, wish->commercial_type, err);
	if (!wish->makes)
		return 0;
	if (json_get_bool(type, "end_of_service", false))
		return err_set(err, ERR_REFUSED, "a %s is not sold any more in %s", wish->commercial_type,
		               scaleway_zone(s));
	r = check_local(type, wish, err);
	return r < 0 ? r : check_stock(s, wish->commercial_type, w, err);
}

/* ---- images ---- */

static int unknown_label(struct scaleway *s, const char *label, struct wait *w, struct err *err)
{
	json_t *images _cleanup_json_ = NULL;
	_cleanup_free_ struct names *names = xcalloc(1, sizeof(*names));
	int r = scaleway_list_once(s, "/marketplace/v2/images", "images", w, &images, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < json_array_size(images); i++)
		add_name(names, json_get_string(json_array_get(images, i), "label"));
	err_set(err, ERR_NOT_FOUND, "there is no image with the label '%s'", label);
	return not_sold(names, label, ERR_NOT_FOUND, err);
}

static bool runs_on(const json_t *image, const char *commercial_type)
{
	const json_t *types = json_get_array(image, "compatible_commercial_types");
	for (size_t i = 0; i < json_array_size(types); i++) {
		const char *one = json_string_value(json_array_get(types, i));
		if (one != NULL && strcasecmp(one, commercial_type) == 0)
			return true;
	}
	return false;
}

int catalog_find_image(struct scaleway *s, const char *image, const char *commercial_type, const char *root_type,
                       struct wait *w, char **ret, struct err *err)
{
	const char *kind = is_local(root_type) ? "instance_local" : "instance_sbs";
	json_t *images _cleanup_json_ = NULL;
	if (reply_is_id(image)) {
		*ret = xstrdup(image);
		return 0;
	}
	_cleanup_free_ char *label = scaleway_query("image_label", image),
			    *path = xasprintf("/marketplace/v2/local-images?%s&zone=%s&type=%s", label,
	                                      scaleway_zone(s), kind);
	int r = scaleway_list_once(s, path, "local_images", w, &images, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return unknown_label(s, image, w, err);
	}
	for (size_t i = 0; r == 0 && i < json_array_size(images); i++) {
		const json_t *one = json_array_get(images, i);
		if (!runs_on(one, commercial_type) || !reply_is_id(json_get_string(one, "id")))
			continue;
		*ret = xstrdup(json_get_string(one, "id"));
		return 0;
	}
	if (r < 0)
		return r;
	err_set(err, ERR_NOT_FOUND, "the image '%s' does not run on a %s with a root volume of the type %s in %s",
	        image, commercial_type, is_local(root_type) ? "l_ssd" : "sbs_volume", scaleway_zone(s));
	return err_hint(err, ERR_NOT_FOUND, "take another image or type, or another `root_type`");
}
