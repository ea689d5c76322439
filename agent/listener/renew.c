/* A registration that GitHub forgot while nobody listened is made anew by the credential that is kept for it. A process does that: it may take a
 * while, and needs rights that the listener itself never uses. */
#include "agent/listener/endpoint_priv.h"

#include <unistd.h>

#include "base/core/clock.h"
#include "base/core/log.h"

enum { REAP_MS = 5000, CONFIGURED_MS = 1000, FIRST_PAUSE_MS = 60 * 1000, LAST_PAUSE_MS = 60 * 60 * 1000 };

bool endpoint_can_renew(const struct endpoint *e)
{
	return e->id != NULL && e->listener->store != NULL && e->reg.credential != NULL && !e->reg.ephemeral &&
	       !e->listening;
}

static void try_later(struct endpoint *e)
{
	int64_t pause = FIRST_PAUSE_MS << MIN(e->renewals, 6);
	e->renewals++;
	endpoint_wait_then(e, STEP_RENEW, registration_pace(MIN(pause, (int64_t)LAST_PAUSE_MS)));
}

void endpoint_renew(struct endpoint *e)
{
	const char *argv[] = {listener_program(e->listener), "agent", "renew", e->id, NULL};
	struct proc_options options = {
		.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = STDERR_FILENO, .new_session = true};
	struct err err = ERR_INIT;
	if (e->renewals == 0)
		log_warning("listen", "%s: the service does not know the runner '%s' any more; registering it again",
		            endpoint_place(e), e->reg.name);
	endpoint_write_state(e, "registering again", NULL);
	if (proc_spawn(&options, &e->renewal, &err) >= 0)
		e->renewal_fd = proc_pidfd(&e->renewal, &err);
	if (e->renewal_fd >= 0) {
		e->listener->renewing++;
		return;
	}
	log_err(&err);
	proc_done(&e->renewal);
	try_later(e);
}

/* The new record has another key and another id; what was decided at the start about its jobs stays. */
static int reload(struct endpoint *e, struct err *err)
{
	struct registration reg = {0};
	int r = records_load(e->listener->store, e->id, &reg, err);
	if (r < 0)
		return r;
	free(reg.worker_user);
	reg.worker_user = TAKE(e->reg.worker_user);
	registration_overlay(&reg, NULL, e->listener->options.native);
	registration_done(&e->reg);
	e->reg = reg;
	queue_free(e->queue);
	e->queue = queue_new(&e->reg);
	free(TAKE(e->left_session));
	free(TAKE(e->area));
	endpoint_drop_token(e);
	return 0;
}

void endpoint_renewed(struct endpoint *e)
{
	struct err err = ERR_INIT;
	struct wait w = WAIT_INIT;
	int status = -1;
	w.deadline_mono_ms = clock_mono_ms() + REAP_MS;
	int r = proc_wait(&e->renewal, &w, &status, &err);
	proc_done(&e->renewal);
	closep(&e->renewal_fd);
	e->listener->renewing--;
	if (e->step != STEP_RENEW)
		return;
	if (r >= 0 && status == 0)
		r = reload(e, &err);
	else if (r >= 0)
		r = err_set(&err, ERR_FAILED, "it could not be registered again");
	if (r < 0) {
		endpoint_tell_failure(e, &err);
		try_later(e);
		return;
	}
	e->renewals = 0;
	listener_say("√ Registered %s again", endpoint_place(e));
	endpoint_enter(e, STEP_SESSION);
}

static bool is_equal(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* 1: what was decided at the start about its jobs still counts. */
static int is_served_as_before(const struct endpoint *e, struct err *err)
{
	const struct listener_options *options = &e->listener->options;
	struct registration reg = {0};
	int r = records_load(e->listener->store, e->id, &reg, err);
	registration_overlay(&reg, options->worker_user, options->native);
	if (r >= 0)
		r = is_equal(reg.worker_user, e->reg.worker_user) && is_equal(reg.isolation, e->reg.isolation);
	registration_done(&reg);
	return r;
}

bool endpoint_is_made_anew(struct endpoint *e, enum endpoint_step step)
{
	const struct records *store = e->listener->store;
	struct err err = ERR_INIT;
	if (e->id == NULL || store == NULL || e->closing)
		return false;
	if (records_are_held(store)) {
		endpoint_wait_then(e, step, registration_pace(CONFIGURED_MS));
		return true;
	}
	if (!records_changed(store, e->id, &e->reg))
		return false;
	int r = is_served_as_before(e, &err);
	if (r > 0)
		r = reload(e, &err);
	else if (r == 0)
		r = err_set(&err, ERR_REFUSED,
		            "%s was configured anew, with another user or isolation of its jobs: that counts "
		            "from the agent's next start on",
		            endpoint_place(e));
	if (r < 0) {
		log_err(&err);
		e->exit_code = LISTEN_RETRY;
		return false;
	}
	free(TAKE(e->session));
	listener_say("√ %s was configured anew; its new registration is served from here on", endpoint_place(e));
	endpoint_enter(e, STEP_SESSION);
	return true;
}
