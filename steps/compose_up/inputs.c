/* All that a resolved configuration depends on, as one digest: what compose would read is read here, and while not a byte of it differs, compose
 * need not be asked for what it said before.
 *
 * In the digest are: the step's inputs; the directory, links followed; which docker command and which compose plugin (place, inode, size, times);
 * every file that compose reads, with its bytes, and every place where a file would be read if there were one: the files of the project, what
 * `include`, `extends`, `env_file` and `label_file` name, and the `.env` beside each; all variables that begin with COMPOSE_ or DOCKER_; and each
 * variable whose name stands where a variable may be meant: behind a `$`, below `environment` or `args`, or in an env file without a value. Too
 * many files and names do no harm. Where something cannot be told from the files alone there is no digest, and compose is asked each time: a path
 * with a variable in it, a file of a network, `project_directory`, COMPOSE_ in an env file, a tag such as !reset, an escape that may hide a `$`, a
 * docker command with plugins elsewhere.
 *
 * The digest is taken when a stack has been started: twice, with a resolution in between that must give what was started. A file that changed
 * meanwhile is no part of what runs. */
#include "steps/compose_up/inputs.h"
#include "base/data/yaml.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"

#include <ctype.h>
#include <stdlib.h>

enum { MOST_FILES = 200, MOST_NAMES = 2000, MOST_ROUNDS = 10, MOST_BYTES = 2 << 20, MOST_DEPTH = 60 };

static const char begin[] = "davit-inputs-1\n", end_mark[] = "\n--davit-end--\n";

/* What is found out while the files are read. */
struct reading {
	const char *directory;
	const char *above; /* of the file that is walked */
	struct strv files, names;
	bool unsure;
};

/* ---- the script ---- */

static void add_identity(struct str *script, const char *directory)
{
	str_append(script, "cd -P -- ");
	str_append_shell(script, directory);
	str_append(
		script,
		" 2>/dev/null || exit 90\n"
		"echo davit-inputs-1\npwd -P\ndavit_c=${DOCKER_CONFIG:-${HOME:-}/.docker}\n"
		/* One grep for both: half of such a look is the start of programs. Of the file it prints the words only. */
		"davit_v=$(export -p | LC_ALL=C grep -oshE -e '^(export|declare -x) (COMPOSE|DOCKER)_.*' "
		"-e '\"(cliPluginsExtraDirs|aliases|plugins)\"' - \"$davit_c/config.json\")\n"
		"case $davit_v in *'\"cliPluginsExtraDirs\"'* | *'\"aliases\"'* | *'\"plugins\"'*) echo special ;; *) echo plain ;; esac\n"
		"LC_ALL=C stat -L -c '%n %i %s %Y %Z' \"$(command -v docker)\" \"$davit_c/cli-plugins/docker-compose\" "
		"/usr/local/lib/docker/cli-plugins/docker-compose /usr/local/libexec/docker/cli-plugins/docker-compose "
		"/usr/lib/docker/cli-plugins/docker-compose /usr/libexec/docker/cli-plugins/docker-compose 2>/dev/null\n"
		"echo --variables--\n[ -z \"$davit_v\" ] || printf '%s\\n' \"$davit_v\"\n");
}

/* Names and files come on the standard input: what stands behind a `$` may be part of a secret. */
static void add_reading(struct str *script)
{
	str_append(script,
	           "while IFS= read -r davit_n && [ -n \"$davit_n\" ]; do\n"
	           "eval \"[ -z \\\"\\${$davit_n+x}\\\" ] || printf '%s=%s\\n' $davit_n \\\"\\$$davit_n\\\"\"; done\n"
	           "echo --files--\nset --\n"
	           "while IFS= read -r davit_f; do\n"
	           "if [ -f \"$davit_f\" ] && [ -r \"$davit_f\" ]; then echo file; set -- \"$@\" \"$davit_f\"\n"
	           "elif [ -e \"$davit_f\" ] || [ -L \"$davit_f\" ]; then echo other; else echo none; fi\ndone\n"
	           "echo --sizes--\n[ $# -eq 0 ] || LC_ALL=C wc -c -- \"$@\"\necho --bytes--\n"
	           "[ $# -eq 0 ] || LC_ALL=C cat -- \"$@\"\n"
	           "printf '\\n--davit-end--\\n'\n");
}

void compose_inputs_words(const json_t *inputs, struct str *ret)
{
	size_t i;
	json_t *one;
	str_append(ret, "HOME\n");
	json_array_foreach(json_get_array(inputs, "names"), i, one)
	{
		str_append(ret, json_string_value(one));
		str_append_c(ret, '\n');
	}
	str_append_c(ret, '\n');
	json_array_foreach(json_get_array(inputs, "files"), i, one)
	{
		str_append(ret, json_string_value(one));
		str_append_c(ret, '\n');
	}
}

void compose_inputs_script(struct str *script, const struct compose_up_in *in)
{
	add_identity(script, in->directory);
	add_reading(script);
}

/* ---- the digest ---- */

static void add_text(struct digest *d, const char *text)
{
	digest_update(d, text != NULL ? text : "-", (text != NULL ? strlen(text) : 1) + 1);
}

static void add_list(struct digest *d, const char *name, const struct field_strings *list)
{
	add_text(d, name);
	for (size_t i = 0; i < list->count; i++)
		add_text(d, list->items[i]);
}

static void add_step(struct digest *d, const struct compose_up_in *in)
{
	char flags[32];
	add_text(d, in->project);
	add_text(d, in->directory);
	add_text(d, in->docker_host);
	add_text(d, in->docker_config);
	add_list(d, "files", &in->files);
	add_list(d, "env_file", &in->env_file);
	add_list(d, "profiles", &in->profiles);
	add_list(d, "allow_empty", &in->allow_empty);
	add_list(d, "once", &in->once);
	snprintf(flags, sizeof(flags), "%d %d", (int)in->pull, (int)in->build);
	add_text(d, flags);
	for (size_t i = 0; i < in->env.count; i++) {
		add_text(d, in->env.items[i].key);
		add_text(d, in->env.items[i].value);
	}
}

bool compose_inputs_digest(const struct compose_up_in *in, const struct str *said, char ret[DIGEST_HEX])
{
	const char *end = said->len > 0 ? memmem(said->data, said->len, end_mark, strlen(end_mark)) : NULL;
	_cleanup_(digest_freep) struct digest *d = digest_new();
	if (end == NULL || !str_starts(said->data, begin))
		return false;
	add_step(d, in);
	digest_update(d, said->data, (size_t)(end - said->data));
	digest_hex(d, ret);
	return true;
}

/* ---- which files and names ---- */

static void add_name(struct reading *r, const char *from, size_t len)
{
	_cleanup_free_ char *name = xstrndup(from, len);
	if (len == 0 || isdigit((unsigned char)*name))
		return;
	if (r->names.count >= MOST_NAMES)
		r->unsure = true;
	else if (!strv_has(&r->names, name))
		strv_add(&r->names, name);
}

static size_t name_length(const char *at)
{
	size_t len = 0;
	while (isalnum((unsigned char)at[len]) || at[len] == '_')
		len++;
	return len;
}

static void add_file(struct reading *r, const char *path)
{
	if (r->files.count >= MOST_FILES)
		r->unsure = true;
	else if (!strv_has(&r->files, path))
		strv_add(&r->files, path);
}

/* Relative to what compose takes it for: the project's directory or the one of its file, whichever of the two it is. */
static void add_path(struct reading *r, const char *path, bool is_compose)
{
	const char *const above[] = {r->directory, r->above};
	if (*path == '\0' || strpbrk(path, "$~\n") != NULL || strstr(path, ":") != NULL) {
		r->unsure = true;
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(above); i++) {
		_cleanup_free_ char *whole = *path == '/' ? xstrdup(path) : fs_join(above[i], path);
		add_file(r, whole);
		if (!is_compose)
			continue;
		_cleanup_free_ char *dir = xstrndup(whole, (size_t)(strrchr(whole, '/') - whole));
		_cleanup_free_ char *env = fs_join(dir, ".env");
		add_file(r, env);
	}
}

/* One, a list of them, or objects with `path`. */
static void add_paths(struct reading *r, const json_t *value, bool is_compose, int depth)
{
	size_t i;
	json_t *one;
	if (json_is_string(value))
		add_path(r, json_string_value(value), is_compose);
	else if (json_is_array(value) && depth < 3)
		json_array_foreach((json_t *)(uintptr_t)value, i, one) add_paths(r, one, is_compose, depth + 1);
	else if (json_is_object(value) && json_object_get(value, "path") != NULL &&
	         json_object_get(value, "project_directory") == NULL && depth < 3) {
		add_paths(r, json_object_get(value, "path"), is_compose, depth + 1);
		if (json_object_get(value, "env_file") != NULL)
			add_paths(r, json_object_get(value, "env_file"), false, depth + 1);
	} else {
		r->unsure = true;
	}
}

static void add_variable(struct reading *r, const char *text)
{
	size_t len = name_length(text);
	add_name(r, text, len);
	/* A name that sh does not know cannot be compared. */
	if (text[len] != '\0' && strchr(text, '=') == NULL)
		r->unsure = true;
}

static void add_variables(struct reading *r, const json_t *value)
{
	const char *name;
	size_t i;
	json_t *one;
	if (json_is_string(value))
		add_variable(r, json_string_value(value));
	json_array_foreach((json_t *)(uintptr_t)value, i, one) if (json_is_string(one))
		add_variable(r, json_string_value(one));
	json_object_foreach((json_t *)(uintptr_t)value, name, one) if (json_is_null(one)) add_variable(r, name);
}

static void walk(struct reading *r, const json_t *value, int depth)
{
	const char *key;
	size_t i;
	json_t *one;
	if (depth > MOST_DEPTH) {
		r->unsure = true;
		return;
	}
	json_array_foreach((json_t *)(uintptr_t)value, i, one) walk(r, one, depth + 1);
	json_object_foreach((json_t *)(uintptr_t)value, key, one)
	{
		if (strcmp(key, "include") == 0)
			add_paths(r, one, true, 0);
		else if (strcmp(key, "env_file") == 0 || strcmp(key, "label_file") == 0)
			add_paths(r, one, false, 0);
		else if (strcmp(key, "extends") == 0 && json_object_get(one, "file") != NULL)
			add_paths(r, json_object_get(one, "file"), true, 0);
		else if (strcmp(key, "environment") == 0 || strcmp(key, "args") == 0)
			add_variables(r, one);
		walk(r, one, depth + 1);
	}
}

static void read_dollars(struct reading *r, const char *text, size_t len)
{
	for (size_t i = 0; i + 1 < len; i++) {
		const char *at = text + i + 1;
		if (text[i] == '$')
			add_name(r, at + (*at == '{'), name_length(at + (*at == '{')));
		/* "\x24", or a name in two lines. */
		if (text[i] == '\\' && strchr("xuU\n\r", *at) != NULL)
			r->unsure = true;
	}
}

static void read_compose(struct reading *r, const char *path, const char *text, size_t len)
{
	const struct yaml_limits limits = {
		.max_bytes = MOST_BYTES, .max_nodes = 100000, .max_depth = MOST_DEPTH, .allow_anchors = true};
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	_cleanup_free_ char *above = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	if (yaml_read(path, text, len, &limits, &doc, NULL) < 0) {
		r->unsure = true;
		return;
	}
	r->above = *above != '\0' ? above : "/";
	walk(r, yaml_root(doc), 0);
	r->above = NULL;
}

/* "NAME=value", the value whole in its line: what a longer one or a name without a value means is not told here. */
static bool is_whole(const char *line, size_t *ret_name)
{
	const char *name = line + (str_starts(line, "export ") ? strlen("export ") : 0);
	size_t len = name_length(name);
	const char *value = name + len + 1;
	*ret_name = (size_t)(name - line);
	if (len == 0 || name[len] != '=')
		return false;
	return (*value != '"' && *value != '\'') || strrchr(value, *value) != value;
}

static void read_env(struct reading *r, const char *text, size_t len)
{
	for (const char *at = text, *end = text + len; at < end && !r->unsure;) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t line = (size_t)((newline != NULL ? newline : end) - at), from = 0;
		_cleanup_free_ char *one = xstrndup(at, line);
		at += line + 1;
		if (*one == '#' || one[strspn(one, " \t\r")] == '\0')
			continue;
		if (is_whole(one, &from))
			add_name(r, one + from, name_length(one + from));
		else
			r->unsure = true;
	}
	if (memmem(text, len, "COMPOSE_", strlen("COMPOSE_")) != NULL)
		r->unsure = true;
}

static bool is_compose(const char *path)
{
	return str_ends(path, ".yml") || str_ends(path, ".yaml") || str_ends(path, ".json");
}

/* What a file is meant as is not told by its name alone: what parses as a configuration is read as both. */
static void read_one(struct reading *r, const char *path, const char *text, size_t len)
{
	read_dollars(r, text, len);
	if (is_compose(path))
		read_compose(r, path, text, len);
	else
		read_env(r, text, len);
}

/* Behind the first line `mark` from there on; NULL: there is none. */
static const char *behind(const char *at, const char *mark)
{
	_cleanup_free_ char *line = xasprintf("\n%s\n", mark);
	const char *found = at != NULL ? strstr(at, line) : NULL;
	return found != NULL ? found + strlen(line) : NULL;
}

/* The bytes of one file, whose size the next line of `sizes` says; false: that is not as it should be. */
static bool read_bytes(struct reading *r, const char *path, const char **sizes, const char **bytes, const char *end)
{
	char *after = NULL;
	long size = strtol(*sizes, &after, 10);
	if (after == *sizes || size < 0 || size > MOST_BYTES || size > end - *bytes ||
	    memchr(*bytes, '\0', (size_t)size) != NULL)
		return false;
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(MOST_BYTES + 1);
	str_append_n(&text, *bytes, (size_t)size);
	read_one(r, path, str_peek(&text), text.len);
	*bytes += size;
	*sizes = after + strcspn(after, "\n");
	return true;
}

/* From the answer of the script: each file that was asked for. A directory where a file might be is not
 * understood, nor is a host that does not say which programs it has. */
static void read_all(struct reading *r, const struct strv *asked, const struct str *said)
{
	const char *text = str_peek(said), *end = text + said->len, *kinds = behind(text, "--files--"),
		   *sizes = behind(kinds != NULL ? kinds - 1 : NULL, "--sizes--"),
		   *bytes = behind(sizes != NULL ? sizes - 1 : NULL, "--bytes--");
	const char *programs = behind(text, "plain"), *variables = behind(programs, "--variables--"),
		   *plugin = programs != NULL ? strstr(programs, "/cli-plugins/docker-compose ") : NULL;
	if (bytes == NULL || variables == NULL || plugin == NULL || plugin > variables)
		r->unsure = true;
	for (size_t i = 0; i < asked->count && !r->unsure; i++) {
		if (str_starts(kinds, "file\n"))
			r->unsure = !read_bytes(r, asked->items[i], &sizes, &bytes, end) || r->unsure;
		else if (!str_starts(kinds, "none\n"))
			r->unsure = true;
		kinds += strcspn(kinds, "\n") + 1;
	}
}

/* ---- taken ---- */

/* Those of the project, given or by their usual names. */
static void begin_with(struct reading *r, const struct compose_up_in *in)
{
	static const char *const usual[] = {"compose.yaml",
	                                    "compose.yml",
	                                    "docker-compose.yml",
	                                    "docker-compose.yaml",
	                                    "compose.override.yml",
	                                    "compose.override.yaml",
	                                    "docker-compose.override.yml",
	                                    "docker-compose.override.yaml"};
	r->above = r->directory;
	add_path(r, ".env", false);
	for (size_t i = 0; i < in->files.count; i++) {
		add_path(r, in->files.items[i], true);
		r->unsure = r->unsure || !is_compose(in->files.items[i]);
	}
	for (size_t i = 0; in->files.count == 0 && i < ARRAY_SIZE(usual); i++)
		add_path(r, usual[i], true);
	for (size_t i = 0; i < in->env_file.count; i++)
		add_path(r, in->env_file.items[i], false);
	/* Paths are relative to the directory of the first file. */
	if (in->files.count > 0 && strchr(in->files.items[0], '/') != NULL)
		r->unsure = true;
}

static json_t *list_of(const struct strv *from)
{
	json_t *list = json_array();
	for (size_t i = 0; i < from->count; i++)
		json_array_append_new(list, json_string(from->items[i]));
	return list;
}

static int ask(const struct docker *d, const struct compose_up_in *in, const json_t *inputs, struct target_result *said,
               struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(64 << 10), words = STR_SECRET_INIT(1 << 20);
	said->out.wipe = true;
	compose_inputs_script(&script, in);
	compose_inputs_words(inputs, &words);
	const struct docker_call call = {.script = str_peek(&script),
	                                 .input = words.data,
	                                 .input_len = words.len,
	                                 .timeout_ms = COMPOSE_LOOK_MS,
	                                 .max_output = 2 * MOST_BYTES};
	return docker_must(d, &call, said, err);
}

/* Until no file names another one. */
static int gather(const struct docker *d, const struct compose_up_in *in, struct reading *r, json_t **ret,
                  struct err *err)
{
	begin_with(r, in);
	for (int round = 0; !r->unsure; round++) {
		_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
		char hex[DIGEST_HEX];
		_cleanup_json_ json_t *inputs =
			json_pack("{s:o,s:o}", "files", list_of(&r->files), "names", list_of(&r->names));
		_cleanup_(strv_done) struct strv asked = {0};
		size_t names = r->names.count;
		for (size_t i = 0; i < r->files.count; i++)
			strv_add(&asked, r->files.items[i]);
		int result = ask(d, in, inputs, &said, err);
		if (result < 0)
			return result;
		read_all(r, &asked, &said.out);
		if (r->unsure || round > MOST_ROUNDS)
			return 0;
		if (r->files.count > asked.count || r->names.count > names)
			continue;
		if (compose_inputs_digest(in, &said.out, hex)) {
			json_object_set_new(inputs, "digest", json_string(hex));
			*ret = TAKE(inputs);
		}
		return 0;
	}
	return 0;
}

int compose_inputs_take(const struct step_context *c, const struct docker *d, const char *directory, json_t **ret,
                        struct err *err)
{
	struct reading r = {.directory = directory};
	int result = gather(d, c->input, &r, ret, err);
	strv_done(&r.files);
	strv_done(&r.names);
	return result;
}

int compose_inputs_still(const struct step_context *c, const struct docker *d, const json_t *inputs, bool *ret,
                         struct err *err)
{
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	char hex[DIGEST_HEX];
	int r = ask(d, c->input, inputs, &said, err);
	*ret = r == 0 && compose_inputs_digest(c->input, &said.out, hex) &&
	       strcmp(hex, json_get_string(inputs, "digest")) == 0;
	return r;
}
