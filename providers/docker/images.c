/* Images: what the engine has, and what a registry would give. */
#include "providers/docker/docker.h"
#include "base/net/net.h"

enum { LOOK_MS = 60000, REGISTRY_MS = 90000, IMAGES_MAX = 1000 };

static void add_image(json_t *all, const char *name, const char *line, size_t len)
{
	_cleanup_json_ json_t *image = NULL;
	if (json_parse(line, len, 1 << 20, &image, NULL) < 0 || json_get_string(image, "id") == NULL)
		return;
	json_object_set(all, name, image);
}

static void add_words(struct str *script, const struct strv *words)
{
	for (size_t i = 0; i < words->count; i++) {
		str_append_c(script, ' ');
		str_append_shell(script, words->items[i]);
	}
}

int docker_images(const struct docker *d, const struct strv *names, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(1 << 20);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	_cleanup_json_ json_t *all = json_object();
	if (names->count > IMAGES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d images", IMAGES_MAX);
	str_append(&script, "for i in");
	add_words(&script, names);
	str_append(
		&script,
		"; do x=$(docker image inspect --format "
		"'{\"id\":{{json .Id}},\"architecture\":{{json .Architecture}},\"os\":{{json .Os}}}' -- \"$i\" 2>/dev/null) "
		"|| { docker version --format '{{.Server.Version}}' >/dev/null || exit; x=; }; printf '%s\\n' \"$x\"; done\n");
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = LOOK_MS};
	int r = names->count > 0 ? docker_must(d, &call, &said, err) : 0;
	if (r < 0)
		return err_wrap(err, r, "look at the images on '%s'", d->v->name);
	/* A line for each; what is missing has an empty one. */
	const char *at = str_peek(&said.out), *end = at + said.out.len;
	for (size_t i = 0; i < names->count && at < end; i++) {
		size_t len = strcspn(at, "\n");
		add_image(all, names->items[i], at, len);
		at += len + 1;
	}
	*ret = TAKE(all);
	return 0;
}

/* "localhost:5000/shop/web@sha256:…": the digest, once, and no more of them than there are images. */
static void add_digests(const json_t *list, struct strv *ret)
{
	for (size_t i = 0; i < json_array_size(list) && ret->count < IMAGES_MAX; i++) {
		const char *name = json_string_value(json_array_get(list, i)), *at = name ? strrchr(name, '@') : NULL;
		if (at != NULL && !strv_has(ret, at + 1))
			strv_add(ret, at + 1);
	}
}

int docker_image_digests(const struct docker *d, const struct strv *ids, struct strv *ret, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(1 << 20);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	if (ids->count > IMAGES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d images", IMAGES_MAX);
	str_append(&script, "docker image inspect --format '{{json .RepoDigests}}' --");
	add_words(&script, ids);
	str_append(&script, "\n");
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = LOOK_MS};
	int r = ids->count > 0 ? docker_must(d, &call, &said, err) : 0;
	if (r < 0)
		return err_wrap(err, r, "look at the digests of the images on '%s'", d->v->name);
	for (const char *at = str_peek(&said.out), *end = at + said.out.len; at < end;) {
		_cleanup_json_ json_t *list = NULL;
		size_t len = strcspn(at, "\n");
		if (json_parse(at, len, 1 << 20, &list, NULL) == 0)
			add_digests(list, ret);
		at += len + 1;
	}
	return 0;
}

static json_t *layers_of(const json_t *manifest)
{
	json_t *layers = json_object();
	const json_t *list = json_get_array(manifest, "layers");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *layer = json_array_get(list, i);
		const char *digest = json_get_string(layer, "digest");
		if (digest != NULL)
			json_object_set_new(layers, digest,
			                    json_integer(MAX(json_get_int(layer, "size", 0), (int64_t)0)));
	}
	return layers;
}

static void add_architecture(const json_t *one, json_t *ret)
{
	const json_t *platform = json_get_object(json_get_object(one, "Descriptor"), "platform"),
		     *oci = json_get_object(one, "OCIManifest");
	const char *os = json_get_string(platform, "os"), *architecture = json_get_string(platform, "architecture");
	json_t *image = json_pack("{s:o}", "layers", layers_of(oci ? oci : json_get_object(one, "SchemaV2Manifest")));
	if (os != NULL && architecture != NULL)
		json_object_set_new(image, "platform", json_stringf("%s/%s", os, architecture));
	json_array_append_new(ret, image);
}

/* The engine trusts a registry on loopback without TLS; the command has to be told. */
static bool is_on_loopback(const char *name)
{
	_cleanup_free_ char *host = xstrndup(name, strcspn(name, ":/"));
	return strchr(name, '/') != NULL && net_is_loopback(host);
}

int docker_registry_image(const struct docker *d, const char *name, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	_cleanup_json_ json_t *list = NULL;
	str_appendf(&script, "DOCKER_CLI_EXPERIMENTAL=enabled docker manifest inspect --verbose %s -- ",
	            is_on_loopback(name) ? "--insecure" : "");
	str_append_shell(&script, name);
	str_append(&script, "\n");
	const struct docker_call call = {.script = str_peek(&script), .timeout_ms = REGISTRY_MS};
	int r = docker_ask(d, &call, &said, err);
	if (r < 0)
		return r;
	if (said.status != 0) {
		_cleanup_free_ char *line = docker_last_line(&said.err);
		return err_set(err, ERR_NOT_FOUND, "%s", line);
	}
	r = json_parse(str_peek(&said.out), said.out.len, 8 << 20, &list, err);
	if (r < 0)
		return err_wrap(err, r, "what the registry says of '%s'", name);
	*ret = json_array();
	if (json_is_object(list))
		add_architecture(list, *ret);
	for (size_t i = 0; i < json_array_size(list); i++)
		add_architecture(json_array_get(list, i), *ret);
	return 0;
}

int docker_known_names(const struct docker *d, struct strv *ret, struct err *err)
{
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	const struct docker_call call = {.script = "docker image ls --digests --format '{{.Repository}}@{{.Digest}}'\n",
	                                 .timeout_ms = LOOK_MS};
	bool others = false;
	int r = docker_must(d, &call, &said, err);
	if (r < 0)
		return err_wrap(err, r, "list the images of '%s'", d->v->name);
	for (const char *at = str_peek(&said.out), *end = at + said.out.len; at < end && ret->count < IMAGES_MAX;) {
		size_t len = strcspn(at, "\n");
		_cleanup_free_ char *name = xstrndup(at, len);
		bool known = strchr(name, '<') == NULL && strstr(name, "@sha256:") != NULL;
		if (known && !strv_has(ret, name))
			strv_add(ret, name);
		others = others || !known;
		at += len + 1;
	}
	return others || ret->count == IMAGES_MAX;
}

int docker_root(const struct docker *d, char **ret_machine, char **ret_root, struct err *err)
{
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	const struct docker_call call = {.script = "docker info --format '{{.Name}}\n{{.DockerRootDir}}'\n",
	                                 .timeout_ms = LOOK_MS};
	int r = docker_must(d, &call, &said, err);
	if (r < 0)
		return err_wrap(err, r, "ask the engine of '%s' where it keeps images", d->v->name);
	const char *text = str_peek(&said.out);
	size_t len = strcspn(text, "\n");
	*ret_machine = xstrndup(text, len);
	*ret_root = docker_last_line(&said.out);
	return 0;
}

int docker_platform(const struct docker *d, char **ret, struct err *err)
{
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	const struct docker_call call = {.script = "docker version --format '{{.Server.Os}}/{{.Server.Arch}}'\n",
	                                 .timeout_ms = LOOK_MS};
	int r = docker_must(d, &call, &said, err);
	if (r < 0)
		return err_wrap(err, r, "ask the engine of '%s' for its platform", d->v->name);
	*ret = docker_last_line(&said.out);
	return 0;
}
