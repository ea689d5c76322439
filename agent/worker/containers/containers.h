/* The job's container and its services [11]: what the workflow asks for, made by the docker command before the first step, removed
 * after the last one. With a container the job's scripts and JavaScript actions run in it, never on this machine.
 *
 *   places.c      where directories of this machine are in the container
 *   options.c     the words of `options:`
 *   definition.c  what the message asks for       arguments.c  the words of `docker create` and `docker exec`
 *   start.c       "Initialize containers"         health.c     when the services are ready       stop.c  "Stop containers"
 *   hook.c        a script of the host's in place of docker
 *   exec.c        a program in the job's container             clear.c  what a dead worker left
 */
#pragma once
#include "agent/worker/docker.h"

struct action_type;
struct container {
	char *alias; /* of a service; NULL: the job's own */
	char *image, *username, *password;
	json_t *env;                /* name → text */
	struct strv options;        /* words of `options:` */
	struct strv ports, volumes; /* as docker takes them */
	char *entrypoint;           /* of a service; NULL: the image's */
	struct strv command;        /* likewise; none: the image's */
	char *name, *id;            /* NULL: not made */
	bool runs;
};
struct containers {
	struct container *all; /* the job's own is the first one */
	size_t count;
	bool inside; /* there is one for the job: its steps run there */
	struct docker docker;
	char *network;
	char *path; /* PATH of the job's container */
	char *node; /* what runs JavaScript in it; NULL: nobody has looked yet */
};

/* ---- places.c */
bool containers_inside(const struct job *j);
/* The network that the job's containers share; NULL: none. */
const char *containers_network(const struct job *j);
/* A value that begins with a directory of this machine, as the job's container sees it, and back; else the value. free() */
char *containers_inside_path(const struct job *j, const char *value);
char *containers_outside(const struct job *j, const char *value);
/* The contexts as a step in the container sees them; those of this machine where there is none. New. */
json_t *containers_contexts(const struct job *j);

/* ---- definition.c, options.c */
/* What the message asks for, held against the host's policy; j->containers stays NULL where that is nothing. */
int containers_read(struct job *j, struct err *err);
void containers_free(struct containers *c);
/* The words of an `options:`: options with their values and nothing else, since a word by itself would be the image. */
int container_options(const char *text, struct strv *ret, struct err *err);

/* ---- arguments.c */
struct container_place {
	const char *program, *name, *network;
	const char *workdir; /* NULL: the image's */
	struct strv labels, mounts;
};
/* env: what `docker` itself gets, so that values are no arguments. */
void container_create_arguments(const struct container *c, const struct container_place *p, struct mask *mask,
                                struct strv *argv, struct strv *env);
struct container_program {
	const char *docker, *id, *workdir;
	const char *path;         /* NULL: the container's */
	const char *pid_file;     /* in the container: where its number is written */
	const struct strv *words; /* the program and its arguments */
};
/* variables: NAME=VALUE. */
void container_exec_arguments(const struct container_program *p, const struct strv *variables, struct mask *mask,
                              struct strv *argv, struct strv *env);

/* ---- start.c */
/* Main: "Initialize containers"; post: "Stop containers". */
extern const struct action_type action_containers;
/* "HERE:THERE[:ro]" of what the job's container needs of this machine, appended. */
int containers_add_work(const struct job *j, struct strv *mounts, struct err *err);
/* Its record. */
void containers_expect(struct job *j);

/* ---- health.c */
int containers_wait(struct job *j, struct record *r, struct err *err);

/* ---- stop.c */
void containers_stop(struct job *j, struct record *r);
void containers_show_log(struct job *j, struct record *r, const struct container *c, bool deaf);

/* ---- exec.c */
/* words, cwd: as the container sees them. flags: ENVIRON_ACTION or 0. */
int containers_exec(struct job *j, struct record *r, const struct strv *words, const char *cwd, int flags,
                    enum process_end *ret_end, int *ret_status, struct err *err);
/* The program for JavaScript in the job's container; borrowed. */
int containers_node(struct job *j, struct record *r, const char **ret, struct err *err);

/* ---- clear.c */
/* `davit worker clear ID`: removes the containers and the network of a job whose worker died. */
int containers_clear(const char *tracking_id);
