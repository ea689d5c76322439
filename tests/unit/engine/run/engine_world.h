/* A world of two versions for the engine's tests: files below a temporary directory, steps of the tests' own, and a gate that does what
 * it is told. One world at a time: set_up() makes it, tear_down() removes it. */
#pragma once
#include "unit/cmocka_all.h"
#include "engine/run/engine.h"

#include <jansson.h>
#include <stdbool.h>

extern char *dir; /* of one test */
extern char *state_dir;
extern struct store *store;
extern bool show;          /* what the engine reports, on standard error */
extern bool gate_fails;    /* of the new version */
extern bool old_is_sick;   /* the gate behind an undo fails */
extern int baseline_says;  /* of `slow-gate`: 0, or an error */
extern int snapshot_undos; /* how often `snapshot` was undone */
extern void (*in_gate)(void), (*in_baseline)(void), (*in_gate_again)(void);
extern void (*in_clean)(void);  /* of the step `cleaned` */
extern const char steps_text[]; /* from the old world to the new one */

char *in_dir(const char *name);
char *snapshots(void);
/* Of `files`: {"files": {PATH: TEXT}, "link": {PATH: TO}, "remove": [PATH], "mkdir": [PATH]} */
int plan_files(const struct step_context *c, struct view *v, struct plan *plan, struct err *err);
const struct step_type *find_step(const char *name);
int set_up(void **state);
int tear_down(void **state);
struct engine_options options(void);
/* %D: the directory. */
json_t *json_here(const char *given);
/* steps: JSON of the array, with %D for the directory. */
json_t *deployment(const char *on_failure, const char *steps);
void write_file(const char *name, const char *text);
void assert_file(const char *name, const char *text);
void assert_absent(const char *name);
void assert_link(const char *name, const char *to);
void make_old_world(void);
void assert_old_world(void);
void assert_new_world(void);
int deploy_this(const json_t *d, const struct engine_options *o, struct engine_result *ret);
int deploy(const char *on_failure, const struct engine_options *o, struct engine_result *ret);
void change_a_behind_our_back(void);
void die(void);
/* Runs a deployment in a child that dies in it. */
void die_deploying(const json_t *d);
void deploy_and_die(const char *on_failure);
json_t *slowly(const char *content);
int deploy_slowly(const char *content);
bool names_path(const json_t *left, const char *name);
