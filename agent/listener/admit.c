/* Whether a job may run here at all: decided on its raw message, by the policy as it is at that moment. */
#include "agent/listener/endpoint_priv.h"
#include "agent/listener/lease_priv.h"

#include "agent/actions/native.h"
#include "agent/admission/admission.h"
#include "agent/listener/trust.h"
#include "base/core/log.h"

int listener_policy(const struct listener *l, struct admission **ret, struct err *err)
{
	_cleanup_free_ char *path = admission_path(l->options.policy, l->store != NULL ? l->store->dir : NULL);
	int r = path != NULL ? trust_check(path, err) : 0;
	return r < 0 ? err_wrap(err, r, "the policy %s", path) : admission_read(path, ret, err);
}

static int refuse(struct lease *j, const struct admission_answer *answer, struct err *err)
{
	int r = err_set(err, ERR_REFUSED, "the policy of this host refuses this job by the rule '%s': %s", answer->rule,
	                answer->reason);
	log_warning("listen", "job '%s' of %s is refused by the policy's rule '%s': %s", j->run.name,
	            endpoint_place(j->endpoint), answer->rule, answer->reason);
	j->endpoint->refused++;
	listener_note_refusal(j->listener, j, answer->rule, answer->reason);
	return answer->hint != NULL ? err_hint(err, r, "%s", answer->hint) : r;
}

int lease_admit(struct lease *j, const json_t *message, struct err *err)
{
	_cleanup_(admission_freep) struct admission *policy = NULL;
	const struct registration *reg = &j->endpoint->reg;
	struct admission_job job = {0};
	struct admission_answer answer = {0};
	int r = listener_policy(j->listener, &policy, err);
	if (r >= 0)
		r = admission_job_of_message(message, &job, err);
	if (r < 0)
		return r;
	admission_decide(policy, &job, native_repository(reg->native, reg->actions_repository), &answer);
	j->actions = xstrdup(answer.actions);
	if (!answer.admitted)
		r = refuse(j, &answer, err);
	admission_answer_done(&answer);
	admission_job_done(&job);
	return r;
}
