#include "agent/listen/options.h"

#include <ctype.h>
#include <fcntl.h>
#include <stddef.h>
#include <strings.h>
#include <unistd.h>

#include "agent/github/wire.h"
#include "base/fs.h"
#include "base/proc.h"

extern char **environ;

enum { LABEL_MAX = 256, SECRET_MAX = 1 << 20, SLOTS_MAX = 1000 };
static const char env_prefix[] = "ACTIONS_RUNNER_INPUT_";

enum kind { FLAG, TEXT, SECRET, NUMBER, IGNORED_FLAG, IGNORED_TEXT };
struct option { const char *name; enum kind kind; size_t offset; };
#define AT(member) offsetof(struct agent_options, member)
static const struct option options[] = {
	{"url", TEXT, AT(url)},
	{"token", SECRET, AT(token)},
	{"token-file", TEXT, AT(token_file)},
	{"pat", SECRET, AT(pat)},
	{"name", TEXT, AT(name)},
	{"runnergroup", TEXT, AT(group)},
	{"labels", TEXT, AT(labels_text)},
	{"work", TEXT, AT(work)},
	{"jitconfig", SECRET, AT(jit)},
	{"unattended", FLAG, AT(unattended)},
	{"replace", FLAG, AT(replace)},
	{"ephemeral", FLAG, AT(ephemeral)},
	{"disableupdate", FLAG, AT(disable_update)},
	{"no-default-labels", FLAG, AT(no_default_labels)},
	{"once", FLAG, AT(once)},
	{"local", FLAG, AT(local)},
	{"worker-user", TEXT, AT(worker_user)},
	{"actions-repository", TEXT, AT(actions_repository)},
	{"on-failure", TEXT, AT(on_failure)},
	{"slots", NUMBER, AT(slots)},
	{"json", FLAG, AT(json)},
	{"help", FLAG, AT(help)},
	{"version", FLAG, AT(version)},
	/* Of the official runner, without effect here. */
	{"startuptype", IGNORED_TEXT, 0},
	{"monitorsocketaddress", IGNORED_TEXT, 0},
	{"auth", IGNORED_TEXT, 0},
	{"username", IGNORED_TEXT, 0},
	{"generateserviceconfig", IGNORED_FLAG, 0},
	{"runasservice", IGNORED_FLAG, 0},
};
#undef AT

const char *agent_options_help(void)
{
	return "  --url URL                  repository, organisation or enterprise to serve\n"
	       "  --token T                  registration (configure) or removal token (remove); '-': read from "
	       "standard input\n"
	       "  --token-file FILE          the same from a file\n"
	       "  --pat T                    personal access token, exchanged for such a token\n"
	       "  --name N                   the agent's name; default: the host's\n"
	       "  --labels a,b               further labels\n"
	       "  --no-default-labels        without self-hosted, system and processor\n"
	       "  --runnergroup G            default: the group marked as default\n"
	       "  --work DIR                 where jobs work; relative: below the state folder; default: _work\n"
	       "  --replace                  take over a runner of that name\n"
	       "  --ephemeral                one job, then the registration ends\n"
	       "  --disableupdate            no updates by the service (this program never updates itself)\n"
	       "  --unattended               never ask\n"
	       "  --worker-user U            configure, run: jobs run as this user (the agent must be root)\n"
	       "  --actions-repository O/R   whose actions/NAME@vN run inside this program\n"
	       "  --on-failure rollback|hold what becomes of a deployment whose job failed\n"
	       "  --once                     run: one job, then stop\n"
	       "  --jitconfig B64            run: from a just-in-time configuration; nothing is kept\n"
	       "  --slots N                  run: jobs at a time; default: one a processor, at least two\n"
	       "  --local                    remove: forget the registration here only\n"
	       "  --json                     status: as JSON\n"
	       "Every option may come as ACTIONS_RUNNER_INPUT_NAME in the environment.\n";
}

static const struct option *find_option(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strlen(options[i].name) == len && strncasecmp(options[i].name, name, len) == 0)
			return &options[i];
	return NULL;
}

/* 1, 0, or -1 when the text is no boolean. */
static int truth(const char *text)
{
	if (strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0)
		return 1;
	return strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0 ? 0 : -1;
}

static char *trimmed(const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	return xstrndup(text, len);
}

static int set_value(struct agent_options *o, const struct option *option, const char *value, struct err *err)
{
	void *member = (char *)o + option->offset;
	long long number;
	switch (option->kind) {
	case TEXT:
	case SECRET:
		if (*(char **)member == NULL)
			*(char **)member = xstrdup(value);
		return 0;
	case NUMBER:
		if (!str_parse_i64(value, 1, SLOTS_MAX, &number))
			return err_set(err, ERR_INVALID, "--%s is '%.60s', not a number from 1 to %d", option->name,
				       value, SLOTS_MAX);
		if (*(int *)member == 0)
			*(int *)member = (int)number;
		return 0;
	default:
		return 0;
	}
}

static void unknown(struct agent_options *o, const char *name, size_t len)
{
	const char *names[ARRAY_SIZE(options)];
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		names[i] = options[i].name;
	_cleanup_free_ char *word = xstrndup(name, len);
	const char *nearest = str_nearest(word, names, ARRAY_SIZE(options));
	strv_addf(&o->warnings, "Unrecognized option '--%.60s'%s%s%s", word, nearest ? "; did you mean --" : "",
		  nearest ? nearest : "", nearest ? "?" : "");
}

/* One option of the command line at argv[*i]; takes its value along. given: which flags stood there, for the
 * environment. */
static int read_word(int argc, char **argv, int *i, struct agent_options *o, bool *given, struct err *err)
{
	char *word = argv[*i];
	if (strncmp(word, "--", 2) != 0) {
		strv_addf(&o->warnings, "Unrecognized word '%.60s'", word);
		return 0;
	}
	char *name = word + 2, *equals = strchr(name, '=');
	size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
	const struct option *option = find_option(name, len);
	if (option == NULL) {
		unknown(o, name, len);
		if (equals == NULL && *i + 1 < argc && argv[*i + 1][0] != '-')
			(*i)++;
		return 0;
	}
	given[option - options] = true;
	char *value = equals != NULL ? equals + 1 : NULL;
	bool next = value == NULL && *i + 1 < argc && (argv[*i + 1][0] != '-' || strcmp(argv[*i + 1], "-") == 0);
	if (option->kind == FLAG || option->kind == IGNORED_FLAG) {
		int chosen = value != NULL ? truth(value) : next ? truth(argv[*i + 1]) : 1;
		if (value != NULL && chosen < 0)
			return err_set(err, ERR_INVALID, "--%s is true or false, not '%.60s'", option->name, value);
		if (value == NULL && next && chosen >= 0)
			(*i)++;
		if (option->kind == FLAG)
			*(bool *)((char *)o + option->offset) = chosen != 0;
		return 0;
	}
	if (value == NULL && !next)
		return err_set(err, ERR_INVALID, "--%s needs a value", option->name);
	if (value == NULL)
		value = argv[++*i];
	int r = set_value(o, option, value, err);
	if (option->kind == SECRET && strcmp(value, "-") != 0)
		proc_wipe_argument(value);
	return r;
}

/* Takes the variable out of the environment; *entry is "NAME=value". */
static int read_variable(const char *entry, struct agent_options *o, const bool *given, struct err *err)
{
	const char *name = entry + sizeof(env_prefix) - 1, *equals = strchr(name, '=');
	const struct option *option = equals == NULL ? NULL : find_option(name, (size_t)(equals - name));
	if (option == NULL || given[option - options])
		return 0;
	char *value = trimmed(equals + 1);
	int r = 0;
	if (*value != '\0' && option->kind == FLAG)
		*(bool *)((char *)o + option->offset) = strcasecmp(value, "true") == 0;
	else if (*value != '\0')
		r = set_value(o, option, value, err);
	explicit_bzero(value, strlen(value));
	free(value);
	return r;
}

static int read_environment(struct agent_options *o, const bool *given, struct err *err)
{
	_cleanup_(strv_done) struct strv names = { 0 };
	int r = 0;
	for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
		if (strncasecmp(*entry, env_prefix, sizeof(env_prefix) - 1) != 0)
			continue;
		if (r >= 0)
			r = read_variable(*entry, o, given, err);
		char *equals = strchr(*entry, '=');
		if (equals != NULL) {
			strv_add_take(&names, xstrndup(*entry, (size_t)(equals - *entry)));
			explicit_bzero(equals + 1, strlen(equals + 1));
		}
	}
	for (size_t i = 0; i < names.count; i++)
		unsetenv(names.items[i]);
	return r;
}

/* The first line of a file or of standard input. */
static int read_token(struct agent_options *o, struct err *err)
{
	bool standard_input = o->token != NULL && strcmp(o->token, "-") == 0;
	if (!standard_input && (o->token != NULL || o->token_file == NULL))
		return 0;
	const char *path = standard_input ? "/dev/stdin" : o->token_file;
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(SECRET_MAX);
	if (standard_input) {
		char piece[512];
		ssize_t n;
		while ((n = read(STDIN_FILENO, piece, sizeof(piece))) > 0 && memchr(piece, '\n', (size_t)n) == NULL)
			str_append_n(&text, piece, (size_t)n);
		if (n > 0)
			str_append_n(&text, piece, (size_t)n);
		explicit_bzero(piece, sizeof(piece));
	} else {
		int r = fs_read(AT_FDCWD, path, SECRET_MAX, &text, err);
		if (r < 0)
			return err_wrap(err, r, "read the token");
	}
	size_t end = strcspn(str_peek(&text), "\r\n");
	str_truncate(&text, end);
	free(o->token);
	o->token = trimmed(str_peek(&text));
	return *o->token == '\0'
		       ? err_set(err, ERR_INVALID, "%s holds no token", standard_input ? "standard input" : path)
		       : 0;
}

int agent_options_labels(const char *text, struct strv *ret, struct err *err)
{
	while (*text != '\0') {
		size_t len = strcspn(text, ",");
		_cleanup_free_ char *piece = xstrndup(text, len), *label = trimmed(piece);
		text += len + (text[len] == ',');
		bool known = *label == '\0';
		for (size_t i = 0; i < ret->count; i++)
			known = known || strcasecmp(ret->items[i], label) == 0;
		if (strlen(label) > LABEL_MAX)
			return err_set(err, ERR_INVALID, "the label '%.40s…' is longer than %d characters", label,
				       LABEL_MAX);
		if (!known)
			strv_add(ret, label);
	}
	return 0;
}

static int check(struct agent_options *o, struct err *err)
{
	if (o->on_failure != NULL && strcmp(o->on_failure, "rollback") != 0 && strcmp(o->on_failure, "hold") != 0)
		return err_set(err, ERR_INVALID, "--on-failure is 'rollback' or 'hold', not '%.60s'", o->on_failure);
	if (o->actions_repository != NULL) {
		const char *slash = strchr(o->actions_repository, '/');
		if (slash == NULL || slash == o->actions_repository || slash[1] == '\0' ||
		    strchr(slash + 1, '/') != NULL)
			return err_set(err, ERR_INVALID, "--actions-repository is OWNER/REPO, not '%.100s'",
				       o->actions_repository);
	}
	if (o->name != NULL && (*o->name == '\0' || strlen(o->name) > 64))
		return err_set(err, ERR_INVALID, "--name has 1 to 64 characters");
	if (o->labels_text != NULL) {
		int r = agent_options_labels(o->labels_text, &o->labels, err);
		if (r < 0)
			return r;
	}
	if (o->no_default_labels && o->labels.count == 0)
		return err_set(err, ERR_INVALID, "--no-default-labels needs at least one label in --labels");
	return 0;
}

int agent_options_read(int argc, char **argv, struct agent_options *ret, struct err *err)
{
	struct agent_options o = { 0 };
	bool given[ARRAY_SIZE(options)] = { false };
	int r = 0;
	for (int i = 1; i < argc && r >= 0; i++)
		r = read_word(argc, argv, &i, &o, given, err);
	int from_environment = read_environment(&o, given, r >= 0 ? err : NULL);
	if (r >= 0)
		r = from_environment;
	if (r >= 0 && !o.help && !o.version)
		r = read_token(&o, err);
	if (r >= 0)
		r = check(&o, err);
	if (r < 0) {
		agent_options_done(&o);
		return r;
	}
	*ret = o;
	return 0;
}

static void wipe(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void agent_options_done(struct agent_options *o)
{
	free(o->url);
	wipe(o->token);
	wipe(o->pat);
	wipe(o->jit);
	free(o->token_file);
	free(o->name);
	free(o->group);
	free(o->labels_text);
	free(o->work);
	free(o->worker_user);
	free(o->actions_repository);
	free(o->on_failure);
	strv_done(&o->labels);
	strv_done(&o->warnings);
	*o = (struct agent_options){ 0 };
}
