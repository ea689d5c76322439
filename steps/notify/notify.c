/* notify: says how a deployment ended. It runs after the decision, and its own failure changes nothing. */
#include "steps/notify/notify_priv.h"
#include "base/core/clock.h"

enum { TRIES = 3, FIRST_PAUSE_MS = 500, MESSAGE_MS = 90000, ALL_MS = 5 * 60 * 1000 };

static const struct notify_channel *const channels[] = {
	&notify_commit_comment, &notify_pull_request, &notify_deployment_status, &notify_check_run, &notify_webhook,
};

const char *notify_token(const struct step_context *c)
{
	const struct notify_in *in = c->input;
	return in->token != NULL ? in->token : c->deployment->token;
}

json_t *notify_message(const struct step_context *c, json_t *messages, const char *channel, const char *key)
{
	json_t *message = json_pack("{s:i, s:s, s:s, s:I, s:i}", "format", NOTIFY_FORMAT, "channel", channel, "key",
	                            key, "made_ms", (json_int_t)clock_wall_ms(), "tries", 0);
	json_set_string(message, "repository", c->deployment->repository);
	json_array_append_new(messages, message);
	return message;
}

static void describe(const struct step_context *c, struct str *out)
{
	size_t count = 0;
	str_append(out, "say how it ended:");
	for (size_t i = 0; i < ARRAY_SIZE(channels); i++)
		if (channels[i]->is_asked(c->input))
			str_appendf(out, "%s %s", count++ > 0 ? "," : "", channels[i]->said);
}

static bool needs_token(const struct notify_in *in)
{
	for (size_t i = 0; i < ARRAY_SIZE(channels); i++)
		if (channels[i]->permission != NULL && channels[i]->is_asked(in))
			return true;
	return false;
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct notify_in *in = c->input;
	bool any = false;
	for (size_t i = 0; i < ARRAY_SIZE(channels); i++)
		any = any || channels[i]->is_asked(in);
	if (!any)
		faults_add(faults, NULL, "",
		           "nothing is to be said: all of `commit_comment`, `pull_request`, `deployment_status`, "
		           "`check_run` and `webhooks` are off");
	notify_webhook_faults(in, faults);
}

/* ---- before the first change ---- */

/* "contents: write, checks: write": of all that is asked for, since a list of permissions takes away those that it does not name. */
static void permissions_of(const struct notify_in *in, struct str *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(channels); i++)
		if (channels[i]->permission != NULL && channels[i]->is_asked(in))
			str_appendf(out, "%s%s", out->len > 0 ? ", " : "", channels[i]->permission);
}

/* A request without a required member: with the permission it is refused as incomplete (422), without it as
 * forbidden, and it never does anything. */
static int probe(const struct step_context *c, const struct notify_channel *channel, struct faults *faults)
{
	_cleanup_(rest_reply_done) struct rest_reply reply = {0};
	_cleanup_(str_done) struct str wanted = STR_INIT(1024);
	_cleanup_free_ char *path = channel->probe(c);
	_cleanup_json_ json_t *nothing = json_object();
	struct err err = ERR_INIT;
	char line[1024];
	if (path == NULL)
		return 0;
	const struct rest g = rest_of_step(c, notify_token(c));
	int r = rest_call(&g, "POST", path, nothing, &reply, &err);
	if (r == ERR_CANCELLED)
		return r;
	if (r == 0 && reply.status != 401 && reply.status != 403 && reply.status != 404)
		return 0;
	permissions_of(c->input, &wanted);
	if (r == 0)
		rest_refused(&reply, channel->said, str_peek(&wanted), &err);
	faults_add(faults, NULL, channel->pointer, "%s", err_line(&err, line, sizeof(line)));
	if (err.hint[0] != '\0')
		faults_hint(faults, "%s", err.hint);
	return 0;
}

static int check(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct step_deployment *d = c->deployment;
	int r = 0;
	if (!needs_token(c->input))
		return 0;
	if (d->repository == NULL) {
		if (c->report != NULL)
			c->report(c->engine,
			          "outside a workflow there is no repository to notify; GitHub is told nothing");
		return 0;
	}
	if (notify_token(c) == NULL || *notify_token(c) == '\0') {
		faults_add(faults, NULL, "/token", "there is no token for GitHub");
		faults_hint(faults, "token: ${{ github.token }}");
		return 0;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(channels); i++)
		if (channels[i]->permission != NULL && channels[i]->is_asked(c->input))
			r = probe(c, channels[i], faults);
	return r < 0 ? err_set(err, r, "the check of the token was cancelled") : 0;
}

/* ---- after the decision ---- */

static const struct notify_channel *channel_of(const json_t *message)
{
	const char *name = json_get_string(message, "channel");
	for (size_t i = 0; name != NULL && i < ARRAY_SIZE(channels); i++)
		if (strcmp(channels[i]->name, name) == 0)
			return channels[i];
	return NULL;
}

static bool may_send(const struct step_context *c, const struct notify_channel *channel)
{
	const char *token = notify_token(c);
	if (channel == NULL || !channel->is_asked(c->input))
		return false;
	return channel->permission == NULL || (c->deployment->repository != NULL && token != NULL && *token != '\0');
}

static enum notify_sent send_within(const struct step_context *c, const struct notify_channel *channel,
                                    const json_t *message, struct err *err)
{
	struct wait within = wait_within(c->wait, MESSAGE_MS);
	struct step_context own = *c;
	own.wait = &within;
	return channel->send(&own, message, err);
}

static enum notify_sent send_with_retries(const struct step_context *c, const json_t *message, struct err *err)
{
	const struct notify_channel *channel = channel_of(message);
	int64_t pause = FIRST_PAUSE_MS;
	/* A webhook repeats its own request. */
	int tries = channel->permission != NULL ? TRIES : 1;
	for (int tried = 1;; tried++, pause *= 2) {
		err_clear(err);
		enum notify_sent sent = send_within(c, channel, message, err);
		if (sent != NOTIFY_LATER || tried == tries || wait_ms(c->wait, pause, NULL) < 0)
			return sent;
	}
}

/* The first failure is the caller's; all are told. */
static int tell_failure(const struct step_context *c, enum notify_sent sent, const struct err *why, int before,
                        struct err *err)
{
	char line[ERR_FRAME_SIZE];
	if (sent == NOTIFY_LATER && c->report != NULL && c->deployment->state_dir != NULL)
		c->report(c->engine, "kept for the next deployment of %s to %s: %s", c->deployment->name,
		          c->deployment->environment, err_line(why, line, sizeof(line)));
	if (before < 0)
		return before;
	*err = *why;
	return why->code;
}

static int send_own(const struct step_context *c, const json_t *messages, struct err *err)
{
	size_t i;
	json_t *message;
	int ret = 0;
	json_array_foreach((json_t *)(uintptr_t)messages, i, message)
	{
		struct err why = ERR_INIT;
		enum notify_sent sent = send_with_retries(c, message, &why);
		if (sent != NOTIFY_LATER)
			notify_outbox_drop(c, message);
		if (sent == NOTIFY_LATER || sent == NOTIFY_NEVER)
			ret = tell_failure(c, sent, &why, ret, err);
	}
	return ret;
}

static bool has_key(const json_t *messages, const json_t *message)
{
	size_t i;
	json_t *own;
	json_array_foreach((json_t *)(uintptr_t)messages, i, own)
	{
		if (json_equal(json_object_get(own, "channel"), json_object_get(message, "channel")) &&
		    json_equal(json_object_get(own, "key"), json_object_get(message, "key")))
			return true;
	}
	return false;
}

/* What earlier runs could not say. A channel that fails again is left alone. */
static void send_kept(const struct step_context *c, const json_t *own)
{
	_cleanup_json_ json_t *kept = notify_outbox_list(c);
	_cleanup_json_ json_t *failed = json_object();
	size_t i, count = 0;
	json_t *message;
	json_array_foreach(kept, i, message)
	{
		const struct notify_channel *channel = channel_of(message);
		struct err why = ERR_INIT;
		if (!may_send(c, channel) || has_key(own, message) || json_object_get(failed, channel->name) != NULL)
			continue;
		enum notify_sent sent = send_within(c, channel, message, &why);
		if (sent == NOTIFY_LATER) {
			json_object_set_new(failed, channel->name, json_true());
			json_object_set_new(message, "tries", json_integer(json_get_int(message, "tries", 0) + 1));
			notify_outbox_keep(c, message);
		} else if (sent != NOTIFY_NOT_OURS) {
			notify_outbox_drop(c, message);
			count += sent == NOTIFY_SENT;
		}
	}
	if (count > 0 && c->report != NULL)
		c->report(c->engine, "%zu message%s of earlier deployments %s sent", count, count == 1 ? "" : "s",
		          count == 1 ? "was" : "were");
}

static bool is_wanted(const struct notify_in *in, const struct step_outcome *outcome)
{
	bool success = outcome->state == OUTCOME_COMMITTED;
	return in->on == NOTIFY_ON_ALWAYS || (in->on == NOTIFY_ON_SUCCESS) == success;
}

/* What the steps of one process have composed, by their index: it is sent as it was kept. */
struct notify_memory {
	json_t *composed;
};

static void forget(void *memory)
{
	struct notify_memory *m = memory;
	json_decref(m->composed);
}

/* Kept before any of it is sent. */
static json_t *compose(const struct step_context *c, const struct step_outcome *outcome)
{
	json_t *messages = json_array(), *message;
	size_t at;
	for (size_t i = 0; is_wanted(c->input, outcome) && i < ARRAY_SIZE(channels); i++)
		if (may_send(c, channels[i]))
			channels[i]->compose(c, outcome, messages);
	json_array_foreach(messages, at, message) notify_outbox_keep(c, message);
	return messages;
}

static void deciding(const struct step_context *c, const struct step_outcome *outcome)
{
	struct notify_memory *m = c->memory;
	json_t *messages = compose(c, outcome);
	char key[16];
	if (m->composed == NULL)
		m->composed = json_object();
	snprintf(key, sizeof(key), "%d", c->index);
	json_object_set_new(m->composed, key, messages);
}

/* NULL: nothing, as where nothing is cleaned (a deployment that is held). */
static json_t *composed_before(const struct step_context *c)
{
	const struct notify_memory *m = c->memory;
	char key[16];
	snprintf(key, sizeof(key), "%d", c->index);
	return m ? json_incref(json_object_get(m->composed, key)) : NULL;
}

static int settled(const struct step_context *c, const struct step_outcome *outcome, struct err *err)
{
	struct wait within = wait_within(c->wait, ALL_MS);
	struct step_context own = *c;
	own.wait = &within;
	_cleanup_json_ json_t *messages = composed_before(c);
	if (messages == NULL)
		messages = compose(&own, outcome);
	int r = send_own(&own, messages, err);
	send_kept(&own, messages);
	return r;
}

const struct step_type notify_step = {
	.info = &notify_info,
	.describe = describe,
	.validate = validate,
	.memory = sizeof(struct notify_memory),
	.forget = forget,
	.check = check,
	.deciding = deciding,
	.settled = settled,
};
