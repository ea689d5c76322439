/* Least versions: of the engine (not of its command), of Compose, and of any other command by what it says on `--version`. */
#include "steps/preflight/preflight.h"

#include "base/core/shown.h"
#include "steps/common/paths.h"

#include <ctype.h>

enum { NUMBERS_MAX = 4, LINE_SHOWN = 100 };

/* Prints what names the version; $W is the command. 127: it is not there; 126: the engine does not answer. */
static const char version_script[] = "case $W in\n"
				     "docker) command -v docker >/dev/null 2>&1 || exit 127\n"
				     "  docker version --format '{{.Server.Version}}' 2>/dev/null || exit 126;;\n"
				     "compose) docker compose version --short 2>/dev/null || exit 127;;\n"
				     "*) command -v \"$W\" >/dev/null 2>&1 || exit 127\n"
				     "  { \"$W\" --version || \"$W\" -V || \"$W\" -v; } </dev/null 2>&1 | head -n 3;;\n"
				     "esac\n";

/* "v24.0.7-rc1" → 24, 0, 7. The first number that has a dot, else the first of all. False: there is none. */
static bool read_version(const char *text, long ret[NUMBERS_MAX])
{
	const char *at = NULL;
	for (const char *p = text; *p != '\0' && at == NULL;) {
		size_t digits = strspn(p, "0123456789");
		if (digits > 0 && p[digits] == '.' && isdigit((unsigned char)p[digits + 1]))
			at = p;
		p += digits > 0 ? digits : 1;
	}
	if (at == NULL)
		at = text + strcspn(text, "0123456789");
	memset(ret, 0, NUMBERS_MAX * sizeof(*ret));
	if (!isdigit((unsigned char)*at))
		return false;
	for (size_t i = 0; i < NUMBERS_MAX && isdigit((unsigned char)*at); i++) {
		char *end;
		ret[i] = strtol(at, &end, 10);
		at = *end == '.' ? end + 1 : end;
	}
	return true;
}

static bool is_older(const long have[NUMBERS_MAX], const long least[NUMBERS_MAX])
{
	for (size_t i = 0; i < NUMBERS_MAX; i++)
		if (have[i] != least[i])
			return have[i] < least[i];
	return false;
}

static bool is_word(const char *text)
{
	return *text != '\0' && *text != '-' && text[strcspn(text, " \t\n")] == '\0';
}

void preflight_validate_versions(const struct preflight_in *in, struct faults *faults)
{
	long least[NUMBERS_MAX];
	for (size_t i = 0; i < in->versions.count; i++) {
		const struct field_pair *wanted = &in->versions.items[i];
		_cleanup_(str_done) struct str at = STR_INIT(1024);
		preflight_at_key(&at, "versions", wanted->key);
		if (!is_word(wanted->key))
			faults_add(faults, NULL, str_peek(&at), "'%s' is not the name of a command", wanted->key);
		if (!isdigit((unsigned char)wanted->value[0]) || !read_version(wanted->value, least)) {
			faults_add(faults, NULL, str_peek(&at), "'%s' is not a version", wanted->value);
			faults_hint(faults, "numbers with dots, in quotes: \"24.0\"");
		}
	}
}

static const char *name_of(const char *key)
{
	return strcmp(key, "docker") == 0    ? "the Docker engine"
	       : strcmp(key, "compose") == 0 ? "Compose (`docker compose`)"
	                                     : key;
}

static void judge(const struct view *v, const struct field_pair *wanted, int status, const struct str *out,
                  struct faults *faults)
{
	long have[NUMBERS_MAX], least[NUMBERS_MAX];
	_cleanup_(str_done) struct str at = STR_INIT(1024);
	const char *name = name_of(wanted->key);
	preflight_at_key(&at, "versions", wanted->key);
	read_version(wanted->value, least);
	if (status == 127) {
		faults_add(faults, NULL, str_peek(&at), "%s is not on '%s'", name, v->name);
		faults_hint(faults, "install it there, %s or later", wanted->value);
	} else if (status == 126) {
		faults_add(faults, NULL, str_peek(&at), "the Docker engine of '%s' does not answer '%s'", v->name,
		           v->facts.user);
		faults_hint(faults, "start it (`systemctl start docker`), or give the target `become: sudo`");
	} else if (!read_version(str_peek(out), have)) {
		_cleanup_free_ char *shown = shown_text(str_peek(out), strcspn(str_peek(out), "\n"), LINE_SHOWN);
		faults_warn(faults, str_peek(&at), "which version '%s' on '%s' is cannot be told: it says '%s'", name,
		            v->name, shown);
		faults_hint(faults, "%s or later is wanted", wanted->value);
	} else if (is_older(have, least)) {
		faults_add(faults, NULL, str_peek(&at), "%s on '%s' is %ld.%ld.%ld, %s or later is wanted", name,
		           v->name, have[0], have[1], have[2], wanted->value);
		faults_hint(faults, "update it there");
	}
}

int preflight_check_versions(const struct preflight_in *in, struct view *v, struct faults *faults, struct err *err)
{
	for (size_t i = 0; i < in->versions.count; i++) {
		const struct field_pair env[] = {{"W", in->versions.items[i].key}};
		_cleanup_(str_done) struct str out = STR_INIT(64 << 10);
		int status = step_ask(v, version_script, env, 1, NULL, &out, err);
		if (status < 0)
			return status;
		judge(v, &in->versions.items[i], status, &out, faults);
	}
	return 0;
}
