/* Shared by the files of this directory. */
#pragma once
#include "agent/api/api.h"
#include "agent/scale/scale.h"
#include "base/sys/proc.h"

struct runner {
	char *name, *repository;
	int64_t id; /* 0: not known */
	char *path; /* of what is kept of it: STATE/autoscale/NAME.json */
	struct proc proc;
	int pidfd; /* -1: of an autoscaler before, or over */
	bool lives, busy;
	bool told; /* to end */
};

struct scale {
	const struct scale_options *options;
	struct api *api;
	char *dir;   /* STATE/autoscale */
	char *owner; /* all repositories of whom; NULL */
	struct strv repositories;
	struct strv left_out; /* of them, at the last look: what the service says of each was told */
	struct runner *runners;
	size_t count, cap;
	bool stopping;
};

/* ---- tell.c ---- */

/* What happens, to whoever reads: a line of the log, or a JSON object. r NULL: of no single runner. */
void scale_tell(const struct scale *s, const char *event, const struct runner *r, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* ---- demand.c ---- */

/* The repositories that are looked after now. */
int demand_repositories(struct scale *s, struct wait *w, struct strv *ret, struct err *err);
/* How many queued jobs of it a runner here could take; marks the runners of ours that work. */
int demand_of(struct scale *s, const char *repository, struct wait *w, size_t *ret, struct err *err);

/* ---- runner.c ---- */

/* A registration, and the process that takes one job with it. What is kept of it is there before GitHub hears of it. */
int runner_start(struct scale *s, const char *repository, struct wait *w, struct err *err);
/* Those that a dead autoscaler left: they live on, or are taken back below. */
int runner_adopt_all(struct scale *s, struct err *err);
/* Looks whether it still lives. */
void runner_look(struct runner *r);
/* Of one that has ended: what is left of its registration and its directory goes. 0: it is forgotten. */
int runner_clear(struct scale *s, struct runner *r, struct wait *w, struct err *err);
void runner_done(struct runner *r); /* the process goes on */
