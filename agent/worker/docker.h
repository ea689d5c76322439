/* The docker command of this machine, as a job uses it. What it prints is shown in the step's log: no line of it is a workflow
 * command, since registries and containers write there. */
#pragma once
#include "agent/worker/worker_priv.h"

struct docker {
	char *program;
	struct strv env; /* of the command: this machine's own */
};
/* for_what: "the step runs a container", in front of the sentence when there is no such program. */
int docker_find(const struct job *j, const char *for_what, struct docker *ret, struct err *err);
void docker_done(struct docker *d);

/* By these labels what a dead worker left is found: the registration's, and the job's. */
void docker_add_labels(const struct job *j, struct strv *argv);
char *docker_area_label(const char *work); /* "davit=…", free() */
char *docker_job_label(const char *tracking_id);

int docker_check_image(const char *image, struct err *err);

/* One call. Its output goes to the log; *ret_status 0: it succeeded. */
struct docker_call {
	const char *const *argv;
	struct strv *env;  /* NULL: the command's own */
	const char *input; /* NULL: none */
	bool obeyed;       /* its lines are a step's, commands included */
	bool deaf;         /* goes on when the job is cancelled */
	bool quiet;        /* the call itself is not shown, and its answer only where it failed */
	bool hushed;       /* neither, ever */
};
int docker_show(struct job *j, struct record *r, const struct docker *d, const struct docker_call *c,
                enum process_end *ret_end, int *ret_status, struct err *err);
/* Once more where it fails, as often as the official runner tries. what: "Docker pull". */
int docker_show_until_good(struct job *j, struct record *r, const struct docker *d, const struct docker_call *c,
                           const char *what, enum process_end *ret_end, int *ret_status, struct err *err);
/* The answer in `ret` (NULL: it is only shown), shown too unless quiet. ERR_CANCELLED: the job was cancelled meanwhile. */
int docker_answer(struct job *j, struct record *r, const struct docker *d, const struct docker_call *c, struct str *ret,
                  int *ret_status, struct err *err);
/* An image that nobody serves, but that was made here, is taken as it is. config: directory with a login; NULL. */
int docker_pull(struct job *j, struct record *r, const struct docker *d, const char *image, const char *config,
                enum process_end *ret_end, struct err *err);

/* A variable of a container, by its name only: the value travels in the command's environment, so that no secret stands in its
 * arguments. Names that would change the command itself go as arguments. */
void docker_add_variable(struct mask *mask, const char *name, const char *value, struct strv *argv, struct strv *env);
/* The command's own variables behind those that are passed on. */
void docker_add_own(const struct docker *d, struct strv *env);
bool docker_sets(const struct strv *env, const char *name);
/* What containers of that image made in the job's directories becomes the jobs' user's: else no later job could remove it. */
void docker_give_back(struct job *j, struct record *r, const struct docker *d, const char *image);
/* The engine's socket on this machine. */
const char *docker_socket(const struct job *j);
