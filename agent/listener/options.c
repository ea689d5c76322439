#include "agent/listener/options.h"

#include <ctype.h>
#include <fcntl.h>
#include <stddef.h>
#include <strings.h>
#include <unistd.h>

#include "agent/actions/native.h"
#include "agent/actions/policy.h"
#include "agent/listener/isolation.h"
#include "agent/service/version.h"
#include "agent/service/wire.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"

extern char **environ;

enum { LABEL_MAX = 256, SECRET_MAX = 1 << 20, SLOTS_MAX = 1000 };
static const char env_prefix[] = "ACTIONS_RUNNER_INPUT_";

enum kind { FLAG, TEXT, SECRET, NUMBER, SIZE, IGNORED_FLAG, IGNORED_TEXT };
enum { CONFIGURE = 1, RUN = 2, REMOVE = 4, STATUS = 8, KEY = 16, ANY = 31 };
struct option {
	const char *name;
	enum kind kind;
	int parts; /* which words of `davit agent` take it */
	size_t offset;
	const char *argument, *help; /* help NULL: not for people */
};
#define AT(member) offsetof(struct agent_options, member)
static const struct option options[] = {
	{"url", TEXT, CONFIGURE | REMOVE, AT(url), "URL", "repository, organisation or enterprise to serve"},
	{"token", SECRET, CONFIGURE | REMOVE, AT(token), "T",
         "registration (configure) or removal token (remove); '-': read from standard input"},
	{"token-file", TEXT, CONFIGURE | REMOVE, AT(token_file), "FILE", "the same from a file"},
	{"pat", SECRET, CONFIGURE | REMOVE, AT(pat), "T", "personal access token, exchanged for such a token"},
	{"keep-pat", FLAG, CONFIGURE, AT(keep_pat), NULL,
         "keep the token of --pat, sealed: to register again and to remove"},
	{"app-id", TEXT, CONFIGURE, AT(app_id), "ID",
         "a GitHub App that may administer runners, kept, sealed, in place of tokens"},
	{"app-key", TEXT, CONFIGURE, AT(app_key), "FILE", "its private key"},
	{"name", TEXT, CONFIGURE | REMOVE, AT(name), "N", "the agent's name; default: the host's"},
	{"labels", TEXT, CONFIGURE, AT(labels_text), "a,b", "further labels"},
	{"no-default-labels", FLAG, CONFIGURE, AT(no_default_labels), NULL,
         "without self-hosted, system and processor"},
	{"runnergroup", TEXT, CONFIGURE, AT(group), "G", "default: the group marked as default"},
	{"work", TEXT, CONFIGURE, AT(work), "DIR",
         "where jobs work; relative: below the state directory; default: _work"},
	{"replace", FLAG, CONFIGURE, AT(replace), NULL, "take over a runner of that name"},
	{"ephemeral", FLAG, CONFIGURE, AT(ephemeral), NULL, "one job, then the registration ends"},
	{"disableupdate", FLAG, CONFIGURE, AT(disable_update), NULL,
         "no updates by the service (this program never updates itself)"},
	{"unattended", FLAG, CONFIGURE | REMOVE, AT(unattended), NULL, "never ask"},
	{"worker-user", TEXT, CONFIGURE | RUN | KEY, AT(worker_user), "U",
         "jobs run as this user (the agent must be root)"},
	{"actions-repository", TEXT, CONFIGURE, AT(actions_repository), "O/R",
         "whose actions/NAME@vN run inside this program"},
	{"native", TEXT, CONFIGURE | RUN, AT(native), "LIST",
         "what runs inside this program: none, own, actions/checkout; default: all of them"},
	{"actions", TEXT, CONFIGURE, AT(actions), "LIST",
         "other actions that may run: all, none, OWNER/*, OWNER/REPO[/PATH], ./, and pinned; default: all"},
	{"node", TEXT, CONFIGURE, AT(node), "FILE", "what runs JavaScript actions; default: node of PATH"},
	{"on-failure", TEXT, CONFIGURE, AT(on_failure), "rollback|hold",
         "what becomes of a deployment whose job failed; default: rollback"},
	{"isolation", TEXT, CONFIGURE | RUN, AT(isolation), "auto|on|off",
         "keep jobs of other repositories that run as the same user apart; default: auto"},
	{"policy", TEXT, RUN, AT(policy), "FILE",
         "which jobs may run here; default: /etc/davit/policy.yml, else that of the agent"},
	{"ping", SECRET, RUN, AT(ping), "URL",
         "asked for each minute while all is well; who watches it misses an agent that died"},
	{"runner-version", TEXT, CONFIGURE | RUN, AT(runner_version), "V",
         "the runner version that the service is told; default: " WIRE_RUNNER_VERSION},
	{"version-source", SECRET, RUN, AT(version_source), "FILE|URL",
         "where a newer one is asked for: at the start, once a day, and when it is refused"},
	{"version-key", TEXT, RUN, AT(version_key), "FILE", "the Ed25519 public key (PEM) by which that is signed"},
	{"quota", SIZE, RUN, AT(quota), "SIZE",
         "all work areas together, such as 20G: those unused for the longest are removed beyond it"},
	{"free-space", SIZE, RUN, AT(free_space), "SIZE", "take no job while less is free where they work, such as 2G"},
	{"drain", FLAG, RUN, AT(drain), NULL, "when told to stop, let running jobs end; a second signal cancels them"},
	{"once", FLAG, RUN, AT(once), NULL, "one job, then stop"},
	{"jitconfig", SECRET, RUN, AT(jit), "B64", "from a just-in-time configuration; nothing is kept"},
	{"slots", NUMBER, RUN, AT(slots), "N", "jobs at a time; default: one a processor, at least two"},
	{"probe", NUMBER, RUN, AT(probe), "N", NULL},
	{"local", FLAG, REMOVE, AT(local), NULL, "forget the registration here only"},
	{"json", FLAG, STATUS | KEY, AT(json), NULL, "answer with JSON on standard output"},
	{"check", FLAG, STATUS, AT(check), NULL,
         "end with 1 unless an agent runs and every registration is heard; prints nothing"},
	{"help", FLAG, ANY, AT(help), NULL, "this text"},
	{"version", FLAG, ANY, AT(version), NULL, "the runner version that the service is told"},
	/* Options of the official runner, without effect here. */
	{"startuptype", IGNORED_TEXT, RUN, 0, NULL, NULL},
	{"monitorsocketaddress", IGNORED_TEXT, CONFIGURE, 0, NULL, NULL},
	{"auth", IGNORED_TEXT, CONFIGURE, 0, NULL, NULL},
	{"username", IGNORED_TEXT, CONFIGURE, 0, NULL, NULL},
	{"generateserviceconfig", IGNORED_FLAG, CONFIGURE, 0, NULL, NULL},
	{"runasservice", IGNORED_FLAG, CONFIGURE, 0, NULL, NULL},
};
#undef AT

static const char *const part_names[] = {"configure", "run", "remove", "status", "key"};

static int part_of(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(part_names); i++)
		if (strcmp(word, part_names[i]) == 0)
			return 1 << i;
	return ANY;
}

void agent_options_help(const char *part, struct str *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];
		if (o->help == NULL || !(o->parts & part_of(part)))
			continue;
		_cleanup_free_ char *left =
			xasprintf("--%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
		str_appendf(out, "  %-28s %s\n", left, o->help);
	}
	if (part_of(part) != STATUS)
		str_append(out, "Every option may come as ACTIONS_RUNNER_INPUT_NAME in the environment.\n");
}

void agent_options_words(const char *part, struct str *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].help != NULL && (options[i].parts & part_of(part)))
			str_appendf(out, "--%s\t%s\t%s\n", options[i].name,
			            options[i].argument != NULL ? options[i].argument : "-", options[i].help);
}

static const struct option *find_option(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strlen(options[i].name) == len && strncasecmp(options[i].name, name, len) == 0)
			return &options[i];
	return NULL;
}

/* 1, 0, or -1 when the string is not a boolean. */
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
	int64_t bytes;
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
	case SIZE:
		if (!str_parse_size(value, &bytes) || bytes == 0)
			return err_set(err, ERR_INVALID, "--%s is '%.60s', not a size such as 512M or 20G",
			               option->name, value);
		if (*(int64_t *)member == 0)
			*(int64_t *)member = bytes;
		return 0;
	default:
		return 0;
	}
}

static int unknown(const char *part, const char *name, size_t len, struct err *err)
{
	const char *names[ARRAY_SIZE(options)];
	size_t count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (options[i].help != NULL && (options[i].parts & part_of(part)))
			names[count++] = options[i].name;
	_cleanup_free_ char *word = xstrndup(name, len);
	const char *nearest = str_nearest(word, names, count);
	err_set(err, ERR_INVALID, "unknown option '--%.60s'", word);
	return nearest == NULL
	               ? ERR_INVALID
	               : err_hint(err, ERR_INVALID, "did you mean --%s?  (davit agent %s --help)", nearest, part);
}

static int not_here(const char *part, const struct option *option, struct err *err)
{
	size_t whose = 0;
	while (!(option->parts & 1 << whose))
		whose++;
	return err_set(err, ERR_INVALID, "--%s is an option of 'agent %s', not of 'agent %s'", option->name,
	               part_names[whose], part);
}

/* One option of the command line at argv[*i]; takes its value along. given: which flags stood there, for the
 * environment. */
static int read_word(int argc, char **argv, int *i, struct agent_options *o, bool *given, struct err *err)
{
	char *word = argv[*i];
	if (strncmp(word, "--", 2) != 0) {
		return err_set(err, ERR_INVALID, "'%.60s' is not an option: %s takes no other words", word, argv[0]);
	}
	char *name = word + 2, *equals = strchr(name, '=');
	size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
	const struct option *option = find_option(name, len);
	if (option == NULL)
		return unknown(argv[0], name, len, err);
	bool elsewhere = !(option->parts & part_of(argv[0]));
	given[option - options] = true;
	char *value = equals != NULL ? equals + 1 : NULL;
	bool next = value == NULL && *i + 1 < argc && (argv[*i + 1][0] != '-' || strcmp(argv[*i + 1], "-") == 0);
	if (option->kind == FLAG || option->kind == IGNORED_FLAG) {
		int chosen = value != NULL ? truth(value) : next ? truth(argv[*i + 1]) : 1;
		if (value != NULL && chosen < 0)
			return err_set(err, ERR_INVALID, "--%s is true or false, not '%.60s'", option->name, value);
		if (value == NULL && next && chosen >= 0)
			(*i)++;
		if (elsewhere)
			return not_here(argv[0], option, err);
		if (option->kind == FLAG)
			*(bool *)((char *)o + option->offset) = chosen != 0;
		return 0;
	}
	if (value == NULL && !next)
		return err_set(err, ERR_INVALID, "--%s needs a value", option->name);
	if (value == NULL)
		value = argv[++*i];
	int r = elsewhere ? not_here(argv[0], option, err) : set_value(o, option, value, err);
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
	_cleanup_(strv_done) struct strv names = {0};
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

/* It is shown on terminals, in journals and on the service's pages. */
static bool is_seen(const char *text)
{
	size_t len = text != NULL ? strlen(text) : 0;
	unsigned code;
	for (size_t i = 0; i < len; i++)
		if (str_unseen(text + i, len - i, &code) > 0)
			return false;
	return true;
}

static bool is_http(const char *url)
{
	size_t scheme = strncasecmp(url, "https://", 8) == 0 ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
	return scheme > 0 && url[scheme] != '\0';
}

static int check(struct agent_options *o, struct err *err)
{
	if (o->on_failure != NULL && strcmp(o->on_failure, "rollback") != 0 && strcmp(o->on_failure, "hold") != 0)
		return err_set(err, ERR_INVALID, "--on-failure is 'rollback' or 'hold', not '%.60s'", o->on_failure);
	if (o->isolation != NULL && !isolation_is_mode(o->isolation))
		return err_set(err, ERR_INVALID, "--isolation is 'auto', 'on' or 'off', not '%.60s'", o->isolation);
	if (o->actions != NULL) {
		int r = policy_check(o->actions, err);
		if (r < 0)
			return err_wrap(err, r, "--actions");
	}
	if (o->native != NULL) {
		int r = native_check(o->native, err);
		if (r < 0)
			return err_wrap(err, r, "--native");
	}
	if (o->node != NULL && (o->node[0] != '/' || access(o->node, X_OK) < 0))
		return err_set(err, ERR_INVALID, "--node is '%.200s', not the absolute path of a program", o->node);
	if ((o->app_id == NULL) != (o->app_key == NULL))
		return err_set(err, ERR_INVALID, "--app-id and --app-key belong together");
	if (o->keep_pat && o->pat == NULL)
		return err_set(err, ERR_INVALID, "--keep-pat keeps the token of --pat, which is missing");
	if (o->policy != NULL && o->policy[0] != '/')
		return err_set(err, ERR_INVALID, "--policy is '%.200s', not an absolute path", o->policy);
	if (o->ping != NULL && !is_http(o->ping))
		return err_set(err, ERR_INVALID, "--ping is no address that begins with https:// or http://");
	if (o->runner_version != NULL && !version_is_one(o->runner_version))
		return err_set(err, ERR_INVALID,
		               "--runner-version is '%.60s', not a version such as " WIRE_RUNNER_VERSION,
		               o->runner_version);
	if ((o->version_source == NULL) != (o->version_key == NULL))
		return err_set(err, ERR_INVALID, "--version-source and --version-key belong together");
	if (o->runner_version != NULL && o->version_source != NULL)
		return err_set(err, ERR_INVALID, "--runner-version fixes what --version-source would refresh");
	if (o->actions_repository != NULL) {
		const char *slash = strchr(o->actions_repository, '/');
		if (slash == NULL || slash == o->actions_repository || slash[1] == '\0' ||
		    strchr(slash + 1, '/') != NULL)
			return err_set(err, ERR_INVALID, "--actions-repository is OWNER/REPO, not '%.100s'",
			               o->actions_repository);
	}
	if (o->name != NULL && (*o->name == '\0' || strlen(o->name) > 64))
		return err_set(err, ERR_INVALID, "--name has 1 to 64 characters");
	if (!is_seen(o->name) || !is_seen(o->labels_text) || !is_seen(o->group))
		return err_set(err, ERR_INVALID, "--%s holds characters that are not seen, such as a line's end",
		               !is_seen(o->name)          ? "name"
		               : !is_seen(o->labels_text) ? "labels"
		                                          : "runnergroup");
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
	struct agent_options o = {0};
	bool given[ARRAY_SIZE(options)] = {false};
	int r = 0;
	/* Reads to the end even after an error, so that a secret always leaves the argument list. */
	for (int i = 1; i < argc; i++) {
		int one = read_word(argc, argv, &i, &o, given, r >= 0 ? err : NULL);
		r = r < 0 ? r : one;
	}
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
	free(o->native);
	free(o->on_failure);
	free(o->isolation);
	free(o->actions);
	free(o->node);
	free(o->policy);
	free(o->app_id);
	free(o->app_key);
	free(o->runner_version);
	free(o->version_key);
	wipe(o->version_source);
	wipe(o->ping);
	strv_done(&o->labels);
	*o = (struct agent_options){0};
}
