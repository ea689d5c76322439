#include "agent/worker/shell.h"

#include <strings.h>
#include <sys/stat.h>

static const struct {
	const char *command, *format, *extension;
} known[] = {
	{"bash", "--noprofile --norc -e -o pipefail {0}", ".sh"},
	{"sh", "-e {0}", ".sh"},
	{"python", "{0}", ".py"},
	{"pwsh", "-command \". '{0}'\"", ".ps1"},
	{"powershell", "-command \". '{0}'\"", ".ps1"},
	{"cmd", "/D /E:ON /V:OFF /S /C \"CALL \"{0}\"\"", ".cmd"},
};

static bool is_file(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

char *shell_find(const char *name, const char *path)
{
	if (name[0] == '/')
		return is_file(name) ? xstrdup(name) : NULL;
	while (path != NULL && *path != '\0') {
		size_t len = strcspn(path, ":");
		char *candidate = xasprintf("%.*s/%s", (int)len, path, name);
		if (len > 0 && is_file(candidate))
			return candidate;
		free(candidate);
		path += len + (path[len] == ':');
	}
	return NULL;
}

static int choose_default(const char *path, struct shell *ret, struct err *err)
{
	ret->program = shell_find("bash", path);
	if (ret->program == NULL)
		ret->program = shell_find("sh", path);
	if (ret->program == NULL)
		return err_set(err, ERR_NOT_FOUND, "sh: command not found");
	ret->command = xstrdup("sh");
	ret->format = xstrdup("-e {0}");
	ret->extension = ".sh";
	return 0;
}

/* All but the program. */
static void read_format(const char *given, struct shell *s)
{
	size_t len = strcspn(given, " ");
	const char *rest = given + len + strspn(given + len, " \t");
	s->command = xstrndup(given, len);
	s->format = xstrdup(rest);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcasecmp(known[i].command, s->command) != 0)
			continue;
		s->extension = known[i].extension;
		if (rest[0] == '\0') {
			free(s->format);
			s->format = xstrdup(known[i].format);
		}
	}
}

int shell_choose(const char *given, const char *path, struct shell *ret, struct err *err)
{
	struct shell s = {.extension = ""};
	if (given == NULL || given[0] == '\0') {
		int r = choose_default(path, &s, err);
		if (r == 0)
			*ret = s;
		return r;
	}
	read_format(given, &s);
	s.program = shell_find(s.command, path);
	if (s.program == NULL) {
		int r = err_set(err, ERR_NOT_FOUND, "%s: command not found", s.command);
		shell_done(&s);
		return r;
	}
	*ret = s;
	return 0;
}

void shell_choose_unseen(const char *given, struct shell *ret)
{
	struct shell s = {.extension = ""};
	read_format(given == NULL || given[0] == '\0' ? "sh" : given, &s);
	s.program = xstrdup(s.command);
	*ret = s;
}

void shell_done(struct shell *s)
{
	free(s->command);
	free(s->program);
	free(s->format);
	*s = (struct shell){.extension = ""};
}

/* {0} → the path with its quotes escaped, {{ and }} → braces. */
static int fill(const char *format, const char *script_path, struct str *out, struct err *err)
{
	for (const char *p = format; *p != '\0';) {
		if ((*p == '{' || *p == '}') && p[1] == *p) {
			str_append_c(out, *p);
			p += 2;
		} else if (strncmp(p, "{0}", 3) == 0) {
			for (const char *c = script_path; *c != '\0'; c++) {
				if (*c == '"')
					str_append_c(out, '\\');
				str_append_c(out, *c);
			}
			p += 3;
		} else if (*p == '{' || *p == '}') {
			return err_set(err, ERR_INVALID,
			               "the shell's format '%s' has a brace that is neither {0} nor doubled", format);
		} else {
			str_append_c(out, *p++);
		}
	}
	return out->failed ? err_set(err, ERR_LIMIT, "the shell's arguments are too long") : 0;
}

/* Blanks separate, quotes group, backslashes count only in front of a quote, where they halve. */
void shell_split(const char *p, struct strv *ret)
{
	_cleanup_(str_done) struct str word = STR_INIT(1 << 20);
	bool quoted = false, any = false;
	for (; *p != '\0'; p++) {
		size_t slashes = strspn(p, "\\");
		if (slashes > 0) {
			bool quote = p[slashes] == '"';
			for (size_t i = 0; i < (quote ? slashes / 2 : slashes); i++)
				str_append_c(&word, '\\');
			p += slashes - 1;
			any = true;
			if (quote && slashes % 2 == 1) {
				str_append_c(&word, '"');
				p++;
			}
		} else if (*p == '"') {
			quoted = !quoted;
			any = true;
		} else if (!quoted && (*p == ' ' || *p == '\t')) {
			if (any)
				strv_add(ret, str_peek(&word));
			str_clear(&word);
			any = false;
		} else {
			str_append_c(&word, *p);
			any = true;
		}
	}
	if (any)
		strv_add(ret, str_peek(&word));
}

static const char *const no_place =
	"Invalid shell option. Shell must be a valid built-in (bash, sh, cmd, powershell, pwsh) or a "
	"format string containing '{0}'";

int shell_arguments(const struct shell *s, const char *script_path, struct strv *ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	int r = strstr(s->format, "{0}") == NULL ? err_set(err, ERR_INVALID, "%s", no_place)
	                                         : fill(s->format, script_path, &text, err);
	if (r < 0)
		return r;
	strv_add(ret, s->program);
	shell_split(str_peek(&text), ret);
	return 0;
}

char *shell_script(const struct shell *s, const char *script)
{
	if (strcmp(s->command, "pwsh") == 0 || strcmp(s->command, "powershell") == 0)
		return xasprintf(
			"$ErrorActionPreference = 'stop'\n%s\nif ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) "
			"{ exit $LASTEXITCODE }",
			script);
	if (strcmp(s->command, "cmd") == 0)
		return xasprintf("@echo off\n%s", script);
	return xstrdup(script);
}
