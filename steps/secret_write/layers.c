/* Values in layers: env files of the source tree, the most general first, and over all of them what the step's own input says. A more general
 * layer never overrides a more specific one. */
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "steps/secret_write/secret_write.h"

#include <ctype.h>
#include <fcntl.h>

static const char own_input[] = "values";

static void put(struct secret_set *s, const char *name, json_t *value, const char *layer)
{
	json_t *layers = json_object_get(s->origins, name);
	if (layers == NULL) {
		layers = json_array();
		json_object_set_new(s->origins, name, layers);
	}
	json_object_set_new(s->merged, name, value);
	/* A name that stands twice in one file is one layer. */
	size_t count = json_array_size(layers);
	if (count == 0 || strcmp(json_string_value(json_array_get(layers, count - 1)), layer) != 0)
		json_array_append_new(layers, json_string_lossy(layer, strlen(layer)));
}

static bool says_nothing(const char *text, size_t len)
{
	while (len > 0 && isspace((unsigned char)*text)) {
		text++;
		len--;
	}
	return len == 0 || *text == '#';
}

static int take_lines(const struct env_file *file, const char *layer, struct secret_set *s, struct err *err)
{
	for (size_t i = 0; i < file->count; i++) {
		const struct env_line *line = &file->lines[i];
		const char *raw = str_peek(&file->text) + line->start;
		if (line->name == NULL && says_nothing(raw, line->end - line->start))
			continue;
		if (line->name == NULL || !line->readable)
			return err_set(err, ERR_INVALID, "entry %zu is not NAME=value", i + 1);
		if (!str_is_utf8(str_peek(&line->value), line->value.len))
			return err_set(err, ERR_INVALID, "the value of '%s' is not UTF-8", line->name);
		put(s, line->name, json_stringn(str_peek(&line->value), line->value.len), layer);
	}
	return 0;
}

static int read_layer(const char *root, const char *layer, struct secret_set *s, struct err *err)
{
	_cleanup_free_ char *real = NULL;
	_cleanup_close_ int fd = fs_open_within(root, layer, O_RDONLY | O_CLOEXEC, &real, err);
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(SECRET_MAX_FILE);
	_cleanup_(env_file_done) struct env_file file = {0};
	if (fd < 0)
		return fd;
	int r = fs_read_fd(fd, layer, SECRET_MAX_FILE, &text, err);
	if (r == 0 && memchr(str_peek(&text), '\0', text.len) != NULL)
		r = err_set(err, ERR_INVALID, "it holds a NUL, which no env file can carry");
	if (r == 0)
		r = env_read(str_peek(&text), text.len, &file, err);
	return r < 0 ? r : take_lines(&file, layer, s, err);
}

bool secret_layers_known(const struct step_context *c)
{
	const struct secret_write_in *in = c->input;
	return in->layers.count == 0 || c->deployment != NULL;
}

static void add_fault(struct faults *faults, size_t index, const char *layer, const struct err *err)
{
	_cleanup_(str_done) struct str at = STR_INIT(64);
	char line[1024];
	str_appendf(&at, "/layers/%zu", index);
	faults_add(faults, NULL, str_peek(&at), "the layer '%s' cannot be read: %s", layer,
	           err_line(err, line, sizeof(line)));
	faults_hint(faults, "%s",
	            err->hint[0] != '\0' ? err->hint : "an env file of the source tree: NAME=value lines");
}

void secret_merge(const struct step_context *c, struct secret_set *s, struct faults *faults)
{
	const struct secret_write_in *in = c->input;
	const char *root =
		c->deployment != NULL && c->deployment->source_root != NULL ? c->deployment->source_root : ".";
	const char *name;
	json_t *value;
	s->merged = json_object();
	s->origins = json_object();
	for (size_t i = 0; i < in->layers.count; i++) {
		struct err err = ERR_INIT;
		if (read_layer(root, in->layers.items[i], s, &err) < 0)
			add_fault(faults, i, in->layers.items[i], &err);
	}
	json_object_foreach((json_t *)(uintptr_t)in->values, name, value) put(s, name, json_incref(value), own_input);
}

bool secret_is_layered(const struct secret_set *s, const char *name)
{
	const json_t *layers = json_object_get(s->origins, name);
	size_t count = json_array_size(layers);
	return count > 0 && strcmp(json_string_value(json_array_get(layers, count - 1)), own_input) != 0;
}

/* {"name","from","hides":[the layers below it, the most specific first]} */
static json_t *explain_item(const struct secret_set *s, const struct secret_item *item)
{
	const json_t *layers = json_object_get(s->origins, item->name);
	size_t count = json_array_size(layers);
	json_t *hides = json_array();
	for (size_t i = count; i > 1; i--)
		json_array_append(hides, json_array_get(layers, i - 2));
	const char *from = item->spec != NULL ? "generate" : json_string_value(json_array_get(layers, count - 1));
	return json_pack("{s:s, s:s, s:o}", "name", item->name, "from", from != NULL ? from : own_input, "hides",
	                 hides);
}

int secret_explain(const struct step_context *c, json_t **ret, struct err *err)
{
	const struct secret_write_in *in = c->input;
	struct faults faults = {0};
	_cleanup_(secret_set_done) struct secret_set set = {0};
	secret_select(c, &set, &faults);
	int r = faults_to_err(&faults, NULL, err);
	faults_done(&faults);
	if (r < 0)
		return r;
	json_t *values = json_array();
	for (size_t i = 0; i < set.count; i++)
		json_array_append_new(values, explain_item(&set, &set.items[i]));
	*ret = json_pack("{s:s, s:o}", "path", in->path, "values", values);
	return 0;
}
