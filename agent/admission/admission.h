/* Which jobs may run on this host: the rules of its policy file, compared with what the raw message of a job says, before anything of
 * the job is fetched or run. The first rule that fits decides. What none fits is refused where it is of a pull request from a fork, of a public
 * repository, or where there is a file at all. */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"

struct admission;
/* Where it lies: `given`, else /etc/davit/policy.yml where that is there, else policy.yml in the agent's own directory (NULL: it has none). NULL: there is no
 * policy. free() */
char *admission_path(const char *given, const char *agent_dir);
/* path: of the file, which only root and this process's user may be able to change; NULL: there is none. ERR_INVALID with the place;
 * ERR_PERMISSION: others could write it. */
int admission_read(const char *path, struct admission **ret, struct err *err);
/* The same from its text; name: for messages. */
int admission_parse(const char *name, const char *text, size_t len, struct admission **ret, struct err *err);
void admission_free(struct admission *a);
void admission_freep(struct admission **a);

/* What a job says about itself. */
struct admission_job {
	char *repository, *workflow, *ref, *event, *actor, *triggering_actor; /* never NULL; unknown: empty */
	char *fork;         /* whose code the event brings in; NULL: the repository's own */
	bool is_public;     /* or nobody says that it is not */
	json_t *references; /* of its steps; NULL: not known */
	bool contained;     /* it has a container or services */
};
/* github: the plain context. message: the whole job, for its steps; NULL: not known. */
void admission_job_read(const json_t *github, const json_t *message, struct admission_job *ret);
/* From the message of a job alone. */
int admission_job_of_message(const json_t *message, struct admission_job *ret, struct err *err);
void admission_job_done(struct admission_job *job);

struct admission_answer {
	bool admitted;
	char *rule;   /* its name; of the rules that stand behind those of the file "(…)" */
	char *reason; /* a sentence without an end; NULL: admitted */
	char *hint;   /* what to do; NULL */
	char *actions; /* which other actions it may use, in place of what the agent was configured with; NULL: as configured */
};
/* actions_repository: whose actions are typed steps. */
void admission_decide(const struct admission *a, const struct admission_job *job, const char *actions_repository,
                      struct admission_answer *ret);
void admission_answer_done(struct admission_answer *answer);
