/* Where each image would come from, and whether it is there: asked before anything stops. */
#include "steps/compose_up/compose_up.h"

static void check_platform(const struct compose_service *one, const char *platform, const char *engine,
                           struct strv *faults)
{
	const char *wanted = one->platform != NULL ? one->platform : engine;
	/* "linux/arm64/v8" is an "linux/arm64". */
	size_t len = strlen(platform);
	if (strncmp(wanted, platform, len) == 0 && (wanted[len] == '\0' || wanted[len] == '/'))
		return;
	strv_addf(faults, "the image '%s' of '%s' is for %s, and %s is %s", one->image, one->name, platform,
	          one->platform != NULL ? "the service" : "the engine", wanted);
}

static void add_layers(const json_t *image, json_t *fetched)
{
	json_object_update_missing(fetched, json_object_get(image, "layers"));
}

/* fetched: gets the layers of what would be fetched. */
static int check_registry(const struct docker *d, const struct compose_service *one, const char *engine,
                          json_t *fetched, struct strv *faults, struct err *err)
{
	_cleanup_json_ json_t *images = NULL;
	struct err why = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	int r = docker_registry_image(d, one->image, &images, &why);
	if (r == ERR_NOT_FOUND) {
		strv_addf(faults, "the image '%s' of '%s' is not here, and cannot be fetched: %s", one->image,
		          one->name, err_line(&why, line, sizeof(line)));
		return 0;
	}
	if (r < 0) {
		if (err != NULL)
			*err = why;
		return r;
	}
	const char *wanted = one->platform != NULL ? one->platform : engine, *other = NULL;
	for (size_t i = 0; i < json_array_size(images); i++) {
		const json_t *image = json_array_get(images, i);
		const char *platform = json_get_string(image, "platform");
		if (platform == NULL || str_starts(wanted, platform)) {
			add_layers(image, fetched);
			return 0;
		}
		other = other ? other : platform;
	}
	if (other != NULL)
		check_platform(one, other, engine, faults);
	return 0;
}

static const char *where_from(const struct compose_up_in *in, const struct compose_service *one, const char *id)
{
	if (one->builds && in->build)
		return "build";
	return one->pull == COMPOSE_ALWAYS || (id == NULL && one->pull == COMPOSE_MISSING) ? "registry" : "here";
}

json_t *compose_images_of(const struct compose_up_in *in, const struct compose_stack *s, const json_t *here)
{
	json_t *images = json_object();
	for (size_t i = 0; i < s->count; i++) {
		const struct compose_service *one = &s->services[i];
		const char *id = json_get_string(json_object_get(here, one->image), "id");
		const char *from = where_from(in, one, id);
		json_t *image = json_pack("{s:s,s:s}", "image", one->image, "from", from);
		if (strcmp(from, "here") == 0)
			json_set_string(image, "id", id);
		json_object_set_new(images, one->name, image);
	}
	return images;
}

static int check_one(const struct docker *d, const struct compose_service *one, const char *from, const json_t *here,
                     const char *engine, json_t *fetched, struct strv *faults, struct err *err)
{
	if (strcmp(from, "registry") == 0)
		return check_registry(d, one, engine, fetched, faults, err);
	if (strcmp(from, "here") != 0)
		return 0;
	if (here == NULL) {
		strv_addf(faults, "the image '%s' of '%s' is not here, and %s", one->image, one->name,
		          one->builds ? "would have to be built (`build: true`)"
		                      : "is not to be fetched (pull_policy: never)");
		return 0;
	}
	_cleanup_free_ char *platform =
		xasprintf("%s/%s", json_get_string(here, "os"), json_get_string(here, "architecture"));
	check_platform(one, platform, engine, faults);
	return 0;
}

int compose_look_at_images(const struct compose_up_in *in, const struct docker *d, const struct compose_stack *s,
                           json_t **ret, json_t **ret_here, struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	for (size_t i = 0; i < s->count; i++)
		if (!strv_has(&names, s->services[i].image))
			strv_add(&names, s->services[i].image);
	int r = docker_images(d, &names, ret_here, err);
	if (r == 0)
		*ret = compose_images_of(in, s, *ret_here);
	return r;
}

int compose_check_images(const struct docker *d, const struct compose_stack *s, const json_t *images,
                         const json_t *here, struct strv *faults, struct strv *warnings, struct err *err)
{
	_cleanup_free_ char *engine = NULL;
	_cleanup_json_ json_t *fetched = json_object();
	int r = docker_platform(d, &engine, err);
	for (size_t i = 0; r == 0 && i < s->count; i++) {
		const struct compose_service *one = &s->services[i];
		r = check_one(d, one, json_get_string(json_object_get(images, one->name), "from"),
		              json_object_get(here, one->image), engine, fetched, faults, err);
	}
	return r < 0 ? r : compose_check_room(d, fetched, faults, warnings, err);
}
