/* Which steps of actions/checkout this program carries out itself: decided on their inputs alone, before anything is fetched. */
#pragma once
#include "base/data/json.h"

/* "v4" to "v7", "v5.0", "v4.2.2" → that number. 0: another version, a branch, or a commit, of which nobody here knows the version. */
int checkout_major(const char *ref);

/* The inputs that the action.yml of these versions declare, one by one from 0 on; NULL: there is none any more. */
const char *checkout_input(size_t i);

/* What the step's job says; none of them NULL. */
struct checkout_job {
	const char *repository, *event, *server_url, *workspace;
};
struct checkout_inputs {
	json_t *step; /* those of our own step `checkout`, name → text */
	char *below; /* the work area's path in the workspace, normalized; NULL: it leads out of it, which the step refuses */
	const char *submodules;                /* "true", "recursive"; NULL: none */
	const char *token;                     /* borrowed from `given`; NULL: the job's own */
	const char *ssh_key, *ssh_known_hosts; /* likewise; NULL: by the token */
	bool lax; /* with ssh_key: hosts that nothing names are left to the configuration of ssh (`ssh-strict`) */
	bool cleans, keeps; /* the token stays for later steps (`persist-credentials`) */
};
void checkout_inputs_done(struct checkout_inputs *in);
/* given: name → text, evaluated. False: they are not honoured completely, and *ret_why says which of them (free()); *ret is empty. */
bool checkout_honours(const struct checkout_job *job, int major, const json_t *given, struct checkout_inputs *ret,
                      char **ret_why);
