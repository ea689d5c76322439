/* A program in a container of the machine's Docker engine, by the docker command. */
#pragma once
#include "agent/worker/worker_priv.h"

struct container_run {
	const char *image;      /* to be pulled; NULL: one is built */
	const char *dockerfile; /* absolute */
	const char *entrypoint; /* NULL: the image's */
	struct strv args;
	const json_t *env; /* name → text, where the step sets nothing of that name; NULL */
};
int container_run(struct job *j, struct record *r, const struct container_run *c, enum result *ret, struct err *err);
