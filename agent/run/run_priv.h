/* Shared by the files of this directory. */
#pragma once
#include <poll.h>

#include "agent/deployment/source.h"
#include "agent/forge/local.h"
#include "agent/run/run.h"
#include "base/sys/proc.h"

/* ---- choose.c: the workflow, and the event that starts it */
/* The file that is meant, as a path below the work tree's top. Where nothing says which, they are listed: ERR_INVALID. */
int run_choose_file(const struct run_options *o, const char *root, char **ret_path, struct err *err);
int run_read_workflow(const char *root, const char *path, struct workflow **ret, struct err *err);
/* The event's name (borrowed) and the inputs of a dispatch, checked (the caller's; NULL: none). */
int run_choose_event(const struct run_options *o, const struct workflow *w, const char **ret_event, json_t **ret_inputs,
                     struct err *err);
int run_read_payload(const char *path, json_t **ret, struct err *err);

/* ---- commit.c */
/* libgit2 reads all certificates of this machine when it starts, some milliseconds, in which others can be of use. */
void run_load_git(void);
/* The commit of the work tree, as events show one (without its URL). The caller's. */
int run_read_commit(const struct deployment_source *source, json_t **ret, struct err *err);

/* ---- view.c, terminal.c, lines.c: what a person or a program sees of it */
struct view;
struct view *view_new(bool json, bool verbose);
void view_free(struct view *v);
void view_freep(struct view **v);
void view_begin(struct view *v, const char *path, const char *event, const struct deployment_source *source);
/* What became of the jobs since the last time: the run as the forge shows it. */
void view_jobs(struct view *v, const json_t *run);
/* A line of a worker's output: what is in it belongs to that job. */
void view_event(struct view *v, const char *job_id, const json_t *event);
/* The part of a terminal that changes in place. */
void view_refresh(struct view *v);
void view_note(struct view *v, const char *text);
char *view_safe(const char *text, size_t len); /* masked, and for a terminal; free() */
void view_end(struct view *v, const json_t *run);

/* ---- remotes.c: repositories of actions */
struct remote_call {
	const char *state; /* the host's: copies of remote ones lie beneath it */
	int cancel_fd;
	struct view *view;
};
/* OWNER/NAME=DIR as it is; of OWNER/NAME=URL a copy is fetched, and takes its place. Appended. */
int remote_fetch(const struct remote_call *call, const char *entry, struct strv *out, struct err *err);

/* ---- workers.c: a process a job */
struct worker;
struct workers {
	const struct run_options *options;
	struct forge *forge;
	struct view *view;
	char *dir;     /* holds the work directories */
	char *program; /* davit */
	char *state;   /* where deployments are recorded */
	struct strv env;
	struct worker *first, *idle;
	int64_t running, started;
};
/* The first worker is started at once, before it is known what for. */
int workers_open(struct workers *w, struct err *err);
void workers_start_ready(struct workers *w);
/* Tells those whose jobs were cancelled, and ends those whose time is over. */
void workers_look(struct workers *w);
size_t workers_poll(const struct workers *w, struct pollfd *fds, size_t max);
void workers_read(struct workers *w); /* output and ends */
/* True until all that its worker had to say was read. */
bool workers_have(const struct workers *w, const char *job_id);
/* All at once, with what they started. */
void workers_kill(struct workers *w);
void workers_close(struct workers *w);
