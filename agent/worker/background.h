/* Steps in the background [5.10]: what each is while it runs beside the others, and how they take turns. */
#pragma once
#include "agent/worker/worker_priv.h"
#include "base/core/fiber.h"

/* What a step sees of the job that others may see otherwise: the members of struct job of these names. */
struct job_view {
	json_t *contexts, *github, *steps_context, *global_env, *outer_env, *defaults_run, *prepend_path;
	size_t prepend_len;
	const enum result *action_status;
	struct frame *frame;
	struct template_scope scope;
};

struct background {
	struct job *job;
	struct record *record;
	struct fiber *fiber;   /* NULL: it did not have to run */
	struct job_view view;  /* during its turn: that of the main line */
	bool running;          /* it has one of the slots */
	size_t slot;           /* which, from 0 */
	bool merged;           /* the main line knows how it ended */
	int cancels;           /* of it alone */
	int queued_at;         /* the job's cancels when it was queued */
	int64_t again_mono_ms; /* when it is cancelled once more */
	/* for whoever merges it */
	json_t *env_set, *paths_added;
	/* between its turns */
	struct pollfd *fds;
	size_t fd_count;
	int64_t until_mono_ms;
	int cancels_seen;
};

/* ---- turns.c */
void job_view_take(const struct job *j, struct job_view *ret); /* a copy of the present one */
void job_view_done(struct job_view *v);
int background_resume(struct background *b, struct err *err);
/* In place of a turn of the loop: until something of this happens. */
void background_yield(struct background *b, struct pollfd *fds, size_t count, int64_t max_ms);
size_t background_fd_count(const struct job *j);
/* What all wait for, into fds, which has that room; how many. *max_ms becomes shorter where one waits for a time. */
size_t background_gather(const struct job *j, struct pollfd *fds, int64_t *max_ms);
/* Those go on that can; fds as gathered, and looked at. */
void background_take_turns(struct job *j, const struct pollfd *fds);

/* ---- background.c */
/* A step begins beside the others, or is queued for a slot. What it says to later steps they hear when it is waited for. */
void background_begin(struct job *j, struct record *r);
/* Waits for what nobody waited for; before the posts. */
void background_drain(struct job *j);
/* The records of the message's steps of this kind, and the wait for all where one is not waited for. */
int background_read_control(const json_t *step, struct record *r, struct err *err);
void background_expect_wait(struct job *j);
void background_free(struct background *b);
