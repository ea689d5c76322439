/* `davit agent configure` and `remove`: missing values are asked for on a terminal, and are an error elsewhere or with
 * --unattended. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <termios.h>
#include <unistd.h>

#include "agent/cmd/agent.h"
#include "agent/service/oauth.h"
#include "agent/service/urls.h"
#include "agent/service/wire.h"
#include "agent/listener/listener.h"
#include "agent/listener/worker_user.h"
#include "base/sys/fs.h"
#include "base/core/log.h"
#include "engine/run/engine.h"

enum { ANSWER_MAX = 4096, SECRET_MAX = 64 << 10 };

static void tell(struct err *err)
{
	/* Adds a hint to an error that has none. */
	if (err->code == ERR_NETWORK || err->code == ERR_TIMEOUT)
		err_hint(err, err->code,
		         "is the address right, and do firewall and proxy (https_proxy) let this machine through?");
	else
		err_hint(err, err->code, "davit agent status lists the registrations of this machine");
	log_err(err);
}

static bool can_ask(const struct agent_options *o)
{
	return !o->unattended && isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

/* One line from the terminal; a secret is not echoed. NULL: the end, or nothing. free() */
static char *ask(const char *question, bool secret)
{
	struct termios old, quiet;
	bool changed = secret && tcgetattr(STDIN_FILENO, &old) == 0;
	if (changed) {
		quiet = old;
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	}
	fprintf(stderr, "%s: ", question);
	(void)fflush(stderr);
	char line[ANSWER_MAX];
	char *answer = fgets(line, sizeof(line), stdin) == NULL ? NULL : xstrndup(line, strcspn(line, "\r\n"));
	explicit_bzero(line, sizeof(line));
	if (changed) {
		(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
		fputc('\n', stderr);
	}
	if (answer != NULL && *answer == '\0')
		free(TAKE(answer));
	return answer;
}

static int need(struct agent_options *o, char **value, const char *question, const char *option, bool secret,
                struct err *err)
{
	if (*value == NULL && can_ask(o))
		*value = ask(question, secret);
	if (*value != NULL && **value != '\0')
		return 0;
	err_set(err, ERR_INVALID, "--%s is missing", option);
	_cleanup_free_ char *variable = xstrdup(option);
	for (char *p = variable; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	return err_hint(err, ERR_INVALID,
	                "give it as an option, as ACTIONS_RUNNER_INPUT_%s in the environment, or on a terminal",
	                variable);
}

static char *host_name(void)
{
	char name[256];
	if (gethostname(name, sizeof(name)) < 0)
		return xstrdup("davit");
	name[sizeof(name) - 1] = '\0';
	return xstrndup(name, 64);
}

static int make_key(struct oauth_key **ret, struct str *pem, char **xml, struct err *err)
{
	int r = oauth_key_make(ret, err);
	if (r >= 0)
		r = oauth_key_write_pem(*ret, pem, err);
	if (r >= 0)
		*xml = oauth_key_public_xml(*ret);
	return r;
}

static struct http *open_http(struct err *err)
{
	struct http_config config = wire_http_config();
	return http_new(&config, err);
}

/* What is kept beside the registration; without app_id and secret: nothing. */
static int read_credential(const struct agent_options *o, struct credential *ret, struct err *err)
{
	ret->app_id = xstrdup(o->app_id);
	if (o->app_id == NULL && o->keep_pat)
		str_append(&ret->secret, o->pat);
	if (o->app_id == NULL)
		return 0;
	int r = fs_read(AT_FDCWD, o->app_key, SECRET_MAX, &ret->secret, err);
	return r < 0 ? err_wrap(err, r, "read the App's key") : 0;
}

/* By the App's key; other credentials are asked for what they can do by registration_add itself. */
static int need_token(struct http *h, struct agent_options *o, const struct credential *c, struct wait *w,
                      struct err *err)
{
	_cleanup_(str_done) struct str token = STR_SECRET_INIT(64 << 10);
	if (c->app_id == NULL)
		return 0;
	int r = credential_runner_token(h, c, o->url, "registration", w, &token, err);
	if (r >= 0 && o->token == NULL)
		o->token = xstrdup(str_peek(&token));
	return r;
}

static int do_register(struct http *h, struct agent_options *o, const struct credential *c, const struct records *store,
                       const char *id, struct wait *w, struct err *err)
{
	_cleanup_(oauth_key_freep) struct oauth_key *key = NULL;
	_cleanup_(str_done) struct str pem = STR_SECRET_INIT(64 << 10);
	_cleanup_free_ char *xml = NULL;
	struct registration reg = {0};
	int r = make_key(&key, &pem, &xml, err);
	if (r < 0)
		return r;
	struct registration_request q = {
		.url = o->url,
		.token = o->token,
		.pat = o->pat,
		.name = o->name,
		.group = o->group,
		.labels = &o->labels,
		.no_default_labels = o->no_default_labels,
		.ephemeral = o->ephemeral,
		.replace = o->replace,
		.disable_update = o->disable_update,
		.public_key = xml,
	};
	r = registration_add(h, &q, w, &reg, err);
	if (r < 0)
		return r;
	reg.work = xstrdup(o->work != NULL ? o->work : "_work");
	reg.worker_user = xstrdup(o->worker_user);
	reg.actions_repository = xstrdup(o->actions_repository);
	reg.native = xstrdup(o->native);
	reg.isolation = xstrdup(o->isolation);
	reg.actions = xstrdup(o->actions);
	reg.node = xstrdup(o->node);
	reg.credential = c->app_id != NULL ? xstrdup("app") : c->secret.len > 0 ? xstrdup("token") : NULL;
	reg.on_failure = xstrdup(o->on_failure != NULL ? o->on_failure : "rollback");
	r = records_save_credential(store, id, c, err);
	if (r >= 0)
		r = records_save(store, id, &reg, &pem, err);
	if (r < 0)
		err_hint(err, r, "the service has this runner by now: --replace makes it anew");
	if (r >= 0) {
		printf("√ Runner successfully added\n");
		printf("  %s at %s, group %s, labels", reg.name, reg.url, reg.group);
		for (size_t i = 0; i < reg.labels.count; i++)
			printf("%s %s", i > 0 ? "," : "", reg.labels.items[i]);
		printf("\n√ Settings Saved.\n");
		if (records_holder(store) > 0)
			printf("  the running agent (process %d) serves it after a restart\n",
			       (int)records_holder(store));
	}
	registration_done(&reg);
	return r;
}

static int configure(struct agent_options *o, struct err *err)
{
	struct records store = {0};
	_cleanup_(credential_done) struct credential credential = CREDENTIAL_INIT;
	_cleanup_(http_freep) struct http *h = NULL;
	struct wait w = WAIT_INIT;
	int r = need(o, &o->url, "URL of the repository, organisation or enterprise", "url", false, err);
	if (r >= 0 && o->pat == NULL && o->app_id == NULL)
		r = need(o, &o->token, "Registration token", "token", true, err);
	if (r >= 0 && o->name == NULL)
		o->name = host_name();
	if (r >= 0)
		r = worker_user_check(o->worker_user, NULL, err);
	if (r >= 0)
		r = read_credential(o, &credential, err);
	_cleanup_free_ char *id = r < 0 ? NULL : records_id(o->url, o->name, err);
	if (r >= 0 && id == NULL)
		r = ERR_INVALID;
	if (r >= 0)
		r = records_open(true, &store, err);
	_cleanup_close_ int held = -1;
	if (r >= 0)
		r = records_hold(&store, &w, &held, err);
	_cleanup_free_ char *former = NULL;
	if (r >= 0) {
		r = records_find(&store, o->url, o->name, &former, err);
		r = r == ERR_NOT_FOUND ? 0 : r;
	}
	if (r >= 0 && former != NULL && !o->replace) {
		err_set(err, ERR_EXISTS, "'%s' is already configured for %s", o->name, o->url);
		r = err_hint(
			err, ERR_EXISTS,
			"`davit agent remove` ends a registration; --replace registers again; another --name adds one");
	}
	if (r >= 0)
		r = worker_user_make_state_dir(o->worker_user, err);
	if (r >= 0 && (h = open_http(err)) == NULL)
		r = err->code;
	if (r >= 0)
		r = records_room(&store, err);
	if (r >= 0)
		r = need_token(h, o, &credential, &w, err);
	if (r >= 0)
		r = do_register(h, o, &credential, &store, former != NULL ? former : id, &w, err);
	records_done(&store);
	return r;
}

int agent_configure(int argc, char **argv)
{
	struct agent_options o;
	struct err err = ERR_INIT;
	int r = agent_options_begin("configure", "--url URL --token T [options]", argc, argv, &o);
	if (r != 0)
		return r > 0 ? 0 : LISTEN_TERMINATED;
	if (o.runner_version != NULL)
		wire_set_runner_version(o.runner_version);
	r = configure(&o, &err);
	if (r < 0)
		tell(&err);
	agent_options_done(&o);
	return r < 0 ? LISTEN_TERMINATED : 0;
}

/* ---- remove */

static bool matches(const struct registration *reg, const struct agent_options *o)
{
	_cleanup_(github_url_done) struct github_url wanted = {0};
	if (o->name != NULL && strcmp(o->name, reg->name) != 0)
		return false;
	if (o->url == NULL)
		return true;
	return reg->url != NULL && github_url_parse(o->url, &wanted, NULL) == 0 &&
	       strcasecmp(wanted.url, reg->url) == 0;
}

/* Finds the registration to remove. ERR_NOT_FOUND: there is none. */
static int choose(const struct records *store, const struct agent_options *o, char **ret_id, struct registration *ret,
                  struct err *err)
{
	_cleanup_(strv_done) struct strv ids = {0};
	_cleanup_(str_done) struct str found = STR_INIT(2000);
	int count = 0, r = records_list(store, &ids, err);
	for (size_t i = 0; r >= 0 && i < ids.count; i++) {
		struct registration reg = {0};
		r = records_load(store, ids.items[i], &reg, err);
		if (r < 0 || !matches(&reg, o)) {
			registration_done(&reg);
			continue;
		}
		str_appendf(&found, "%s%s (%s)", count > 0 ? ", " : "", reg.url, reg.name);
		if (count++ == 0) {
			*ret_id = xstrdup(ids.items[i]);
			*ret = reg;
		} else {
			registration_done(&reg);
		}
	}
	if (r < 0 || count == 1)
		return r;
	if (count == 0)
		return err_hint(err, err_set(err, ERR_NOT_FOUND, "there is no such registration here"),
		                "davit agent status lists them");
	err_set(err, ERR_INVALID, "%d registrations are meant", count);
	return err_hint(err, ERR_INVALID, "name one by --url and --name: %s", str_peek(&found));
}

static int mint_removal(struct http *h, const struct records *store, const char *id, const struct registration *reg,
                        struct agent_options *o, struct wait *w, struct err *err)
{
	_cleanup_(credential_done) struct credential credential = CREDENTIAL_INIT;
	_cleanup_(str_done) struct str token = STR_SECRET_INIT(64 << 10);
	int r = records_load_credential(store, id, &credential, err);
	if (r >= 0)
		r = credential_runner_token(h, &credential, reg->url, "remove", w, &token, err);
	if (r >= 0)
		o->token = xstrdup(str_peek(&token));
	return r;
}

static int remove_one(struct agent_options *o, struct err *err)
{
	struct records store = {0};
	struct registration reg = {0};
	_cleanup_free_ char *id = NULL;
	_cleanup_(http_freep) struct http *h = NULL;
	struct wait w = WAIT_INIT;
	int r = records_open(false, &store, err);
	if (r >= 0)
		r = choose(&store, o, &id, &reg, err);
	if (r >= 0 && !o->local && (h = open_http(err)) == NULL)
		r = err->code;
	if (r >= 0 && !o->local && o->pat == NULL && o->token == NULL && reg.credential != NULL)
		r = mint_removal(h, &store, id, &reg, o, &w, err);
	if (r >= 0 && !o->local && o->pat == NULL)
		r = need(o, &o->token, "Removal token", "token", true, err);
	_cleanup_close_ int held = -1;
	if (r >= 0)
		r = records_hold(&store, &w, &held, err);
	if (r >= 0 && !o->local) {
		r = registration_remove(h, &reg, o->token, o->pat, &w, err);
		if (r > 0)
			printf("  %s has no runner of that name any more\n", reg.url);
		else if (r == 0)
			printf("√ Runner removed successfully\n");
	}
	if (r >= 0)
		r = records_delete(&store, id, err);
	if (r >= 0)
		printf("√ Removed the registration for %s\n", reg.url);
	if (r >= 0 && o->local && records_holder(&store) > 0)
		printf("  the running agent (process %d) serves it until it ends\n", (int)records_holder(&store));
	registration_done(&reg);
	records_done(&store);
	return r;
}

int agent_remove(int argc, char **argv)
{
	struct agent_options o;
	struct err err = ERR_INIT;
	int r = agent_options_begin("remove", "[--url URL] [--name N] --token T | --local", argc, argv, &o);
	if (r != 0)
		return r > 0 ? 0 : LISTEN_TERMINATED;
	r = remove_one(&o, &err);
	if (r < 0)
		tell(&err);
	agent_options_done(&o);
	return r < 0 ? LISTEN_TERMINATED : 0;
}

/* ---- renew: of the running agent, which never blocks itself */

/* The labels that registration_add adds by itself are not the operator's. */
static void split_labels(const struct registration *reg, struct strv *ret, bool *ret_no_default)
{
	const char *const standard[] = {"self-hosted", wire_os(), wire_arch()};
	*ret_no_default = true;
	for (size_t i = 0; i < reg->labels.count; i++) {
		bool known = false;
		for (size_t n = 0; n < ARRAY_SIZE(standard); n++)
			known |= strcasecmp(reg->labels.items[i], standard[n]) == 0;
		if (known)
			*ret_no_default = false;
		else
			strv_add(ret, reg->labels.items[i]);
	}
}

/* Everything but what the service gives is as it was. */
static void keep_settings(struct registration *from, struct registration *to)
{
	to->work = TAKE(from->work);
	to->worker_user = TAKE(from->worker_user);
	to->actions_repository = TAKE(from->actions_repository);
	to->on_failure = TAKE(from->on_failure);
	to->native = TAKE(from->native);
	to->isolation = TAKE(from->isolation);
	to->actions = TAKE(from->actions);
	to->node = TAKE(from->node);
	to->credential = TAKE(from->credential);
}

static int register_again(struct http *h, const struct records *store, const char *id, struct registration *old,
                          const char *token, struct wait *w, struct err *err)
{
	_cleanup_(oauth_key_freep) struct oauth_key *key = NULL;
	_cleanup_(str_done) struct str pem = STR_SECRET_INIT(64 << 10);
	_cleanup_(strv_done) struct strv labels = {0};
	_cleanup_free_ char *xml = NULL;
	struct registration reg = {0};
	bool no_default;
	split_labels(old, &labels, &no_default);
	int r = make_key(&key, &pem, &xml, err);
	struct registration_request q = {.url = old->url,
	                                 .token = token,
	                                 .name = old->name,
	                                 .group = old->group,
	                                 .labels = &labels,
	                                 .no_default_labels = no_default,
	                                 .replace = true,
	                                 .disable_update = old->disable_update,
	                                 .public_key = xml};
	if (r >= 0)
		r = registration_add(h, &q, w, &reg, err);
	if (r < 0)
		return r;
	keep_settings(old, &reg);
	r = records_save(store, id, &reg, &pem, err);
	registration_done(&reg);
	return r;
}

static int renew(const char *id, struct err *err)
{
	struct records store = {0};
	struct registration old = {0};
	_cleanup_(credential_done) struct credential credential = CREDENTIAL_INIT;
	_cleanup_(str_done) struct str token = STR_SECRET_INIT(64 << 10);
	_cleanup_(http_freep) struct http *h = NULL;
	struct wait w = WAIT_INIT;
	int r = records_open(false, &store, err);
	if (r >= 0)
		r = records_load(&store, id, &old, err);
	if (r >= 0)
		r = records_load_credential(&store, id, &credential, err);
	if (r >= 0 && (h = open_http(err)) == NULL)
		r = err->code;
	if (r >= 0)
		r = credential_runner_token(h, &credential, old.url, "registration", &w, &token, err);
	if (r >= 0)
		r = register_again(h, &store, id, &old, str_peek(&token), &w, err);
	registration_done(&old);
	records_done(&store);
	return r;
}

int agent_renew(int argc, char **argv)
{
	struct err err = ERR_INIT;
	if (argc != 2 || strchr(argv[1], '/') != NULL || argv[1][0] == '.') {
		fputs("usage: davit agent renew ID\n", stderr);
		return LISTEN_TERMINATED;
	}
	int r = renew(argv[1], &err);
	if (r < 0)
		tell(&err);
	return r < 0 ? LISTEN_TERMINATED : 0;
}
