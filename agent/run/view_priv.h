/* Shared by view.c, terminal.c and lines.c: what is shown of each job. */
#pragma once
#include "agent/run/run_priv.h"

/* A step that runs. */
struct seen_step {
	struct seen_step *next;
	int64_t number;
	char *title;        /* for a terminal */
	int64_t started_ms; /* monotonic */
	bool headed;        /* its title was shown */
	bool quiet;         /* around the job's own: its lines are shown when it fails, its warnings always */
	bool background;    /* beside others: each of its lines says whose it is */
	/* of the group that is open */
	char *group;
	size_t group_lines, group_count;
	struct str held; /* what was not shown: of a quiet step, or of the last group */
};

struct seen_job {
	struct seen_job *next;
	char job_id[37];
	char *name; /* for a terminal */
	const char *status;
	bool calls;              /* jobs of another workflow, which are shown themselves */
	int64_t started_ms;      /* monotonic */
	struct seen_step *steps; /* the latest first */
};

struct view {
	bool json, verbose, live, colours;
	size_t name_width;
	size_t drawn; /* lines at the bottom of the terminal that change in place */
	struct seen_job *jobs;
};

enum mark { MARK_START, MARK_LINE, MARK_DONE, MARK_FAILED, MARK_SKIPPED, MARK_NOTE };
/* One line of a job (NULL: of the run), already safe for a terminal. */
void view_say(struct view *v, const struct seen_job *job, enum mark mark, const char *text);
/* The columns that a terminal needs for the text, up to `max`; ret_len: the bytes of what fits, NULL: not wanted. */
size_t view_columns(const char *text, size_t max, size_t *ret_len);
/* Takes away what changes in place, before something else is printed. */
void view_clear(struct view *v);
/* "1.2 s", "3 min 20 s" */
void view_time(int64_t ms, char out[32]);

/* The title of a step, before the first that is shown of it: a skipped one needs none. */
void view_head(struct view *v, const struct seen_job *job, struct seen_step *step);
/* A line of a step. */
void view_step_says(struct view *v, const struct seen_job *job, const struct seen_step *step, enum mark mark,
                    const char *text);

/* ---- lines.c */
void lines_show(struct view *v, const struct seen_job *job, struct seen_step *step, const char *text, size_t len);
/* The step ended: what was folded away of one that failed is shown after all, and warnings of a quiet one. */
void lines_close(struct view *v, const struct seen_job *job, struct seen_step *step, bool failed);
