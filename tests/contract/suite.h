/* The contract suite: what docs/semantics.md promises of every step, tried on each registered one with the real engine and a real target.
 * What a step is tried with are the "examples" of its schema, in which
 *   /srv/example        is a directory of the target with files as people have them (suite_world.c),
 *   /srv/example/stack  has a Compose project, for those whose subject is an engine,
 *   http://web.example  is a web server with a health page and a small part of GitHub's REST,
 *   http://git.example  is a git server with the repository example/shop,
 *   vault               is another target of the deployment, with a copy of an earlier snapshot that the second trial's secret opens,
 *   a value of an input that is marked x-secret is replaced by a secret that must be found nowhere afterwards.
 * A step that does more than one machine can have, apply, has further examples in examples/.
 * An example is tried upon what those before it have made.
 * A type that is not registered is tried too, where it is given with its schema and with the API that it is for.
 * What a step changes may lie in no directory: a Docker engine, a registry. A server of tests/servers has the real one then, lists it and
 * brings it back to what it was.
 *
 *   suite_world.c    the directories of a trial, and everything about a file that can be compared
 *   suite_outside.c  the same of what lies in no directory
 *   suite_example.c  examples, and what they must cover
 *   suite_run.c      one process of a trial, which may die
 *   suite.c          what must hold
 */
#pragma once
#include "base/core/str.h"
#include "base/data/json.h"
#include "engine/run/engine.h"

#include <sys/types.h>

/* ---- suite_world.c ---- */
struct suite_world {
	char *dir;   /* of all */
	char *tree;  /* what the deployments change */
	char *base;  /* the target's own */
	char *state; /* journal and sealed secrets */
	char *source;
	char *api; /* the world of an API, where it keeps one */
};
void suite_world_make(struct suite_world *w);
void suite_world_done(struct suite_world *w);
/* Tree, base and state as they are, under a name; and back. */
void suite_world_save(const struct suite_world *w, const char *name);
void suite_world_load(const struct suite_world *w, const char *name);
void suite_world_next_source(const struct suite_world *w, size_t number);

enum suite_detail {
	SUITE_ROUGHLY, /* without times: of what is made anew in each run */
	SUITE_WHOLLY,  /* with the times of files and links */
	SUITE_TOUCHED, /* and with the time of the last change of any kind: nothing wrote here */
};
/* A line for each file below dir, sorted: type, mode, owner, content, attributes. */
void suite_list(const char *dir, enum suite_detail detail, struct str *out);
/* The first line of each that the other lacks; "" when they are equal. */
void suite_difference(const char *before, const char *after, struct str *out);
/* A file below dir that holds the text; NULL: none. free() except: a directory in which a file may that only its owner can read; NULL: none. */
char *suite_find(const char *dir, const char *text, const char *except);

/* ---- suite_outside.c ---- */
struct server;
/* A line for each thing that it has. */
void suite_outside_list(struct server *outside, enum suite_detail detail, struct str *out);
/* All of it, under a name; and back: equal in what suite_outside_list says of it ROUGHLY. */
void suite_outside_save(struct server *outside, const char *name);
void suite_outside_load(struct server *outside, const struct suite_world *w, const char *name);

/* ---- suite_example.c ---- */
struct suite_servers {
	const char *web, *git; /* URLs */
};
/* An API as the target, beside a host that has the lock. */
struct suite_trial;
struct suite_api {
	const char *schema;            /* of the step's input, with its examples; NULL: the one of its name */
	void (*make)(const char *dir); /* NULL: it is there */
	json_t *(*target)(const struct suite_trial *t); /* its entry below "targets", of this kind: */
	const struct target_kind *kind;                 /* NULL: one of this program's */
	const struct change_type *(*find_change)(const char *kind);
	/* A line for each thing that it has. SUITE_TOUCHED: and what was asked of it that changes something. NULL: it is the subject's outside. */
	void (*list)(const char *dir, enum suite_detail detail, struct str *out);
};
struct suite_subject {
	const struct step_type *type; /* in place of the registered one of its name */
	const struct suite_api *api;  /* NULL: it is for hosts */
	const char *shell;            /* the host is reached by this shell; NULL: by the process itself */
	struct server *outside;       /* what else it changes; NULL: nothing */
	const json_t *inputs;         /* of each example too; NULL: none */
	const json_t *examples;       /* in place of the schema's; NULL: those */
	const char *
		keeps; /* below the target's base: where the step keeps secrets that are the stack's own, for its owner only. NULL: nowhere */
};
/* NULL, and why: there is none, one breaks its schema, or a secret input is in none of them. The secrets in the nth are suite_secret(n). */
char *suite_secret(size_t number); /* free() */
json_t *suite_examples(const struct suite_subject *subject, const struct suite_world *w,
                       const struct suite_servers *servers, struct str *why);

struct CMUnitTest;
/* Runs these while the servers of the examples are there, in memory where that can be. */
int suite_serve(struct suite_servers *servers, const struct CMUnitTest *tests, size_t count);

/* ---- suite_run.c ---- */
enum suite_act {
	SUITE_PLAN,
	SUITE_DEPLOY,
	SUITE_FAIL, /* a deployment whose next step fails: all is taken back */
	SUITE_RECOVER,
};
struct suite_trial {
	const struct suite_world *world;
	const struct suite_servers *servers;
	const struct suite_subject *subject;
	const json_t *input;
	const char *
		secret; /* what the input's secrets are: of this trial only, since a copy keeps what stood in a file before */
	size_t number; /* later ones come at a later hour */
	bool twice;    /* each change is made twice and taken back twice */
};
struct suite_answer {
	bool died;
	int status;
	enum deployment_state state;
	long records; /* of the journal, that it wrote */
	json_t *report;
	struct str log; /* all that was told: report, outputs, lines */
};
/* In a process of its own. die_at: it is killed behind this record of the journal; 0: it is not. */
void suite_run(const struct suite_trial *t, enum suite_act act, long die_at, struct suite_answer *ret);
void suite_answer_done(struct suite_answer *a);
/* The newest deployment in the journal; false: there is none. */
bool suite_newest(const struct suite_world *w, enum deployment_state *ret_state, bool *ret_cleaned);

/* ---- suite.c ---- */
/* NULL: all holds. Else the first thing that does not. free(). stride: a process is killed behind every so many records. */
char *suite_check(const struct suite_subject *subject, const struct suite_servers *servers, long stride);
/* The kinds of changes that the examples planned so far. */
extern struct strv suite_kinds;
