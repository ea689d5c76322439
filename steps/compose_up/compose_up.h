/* compose-up: a Compose project on a target, from the configuration that lies there to one that runs.
 *
 *   stack.c      the configuration, resolved on the target by compose itself
 *   variables.c  which of its variables are not set or empty
 *   names.c      whose its containers, networks and volumes are
 *   inputs.c     all that the configuration depends on, as one digest
 *   unchanged.c  the short way for a stack that runs as configured
 *   ports.c      who holds the ports that it publishes
 *   images.c     where its images come from, and whether they are there
 *   room.c       the room that they need where the engine keeps them
 *   state.c      what runs, as a NODE of a record, and how two of them compare
 *   former.c     the configuration that what runs was started from
 *   plan.c       all of that as one change
 *   start.c      pull, build, up
 *   which.c      which services are replaced without a gap
 *   roll.c       that: one container after the other, or all new ones beside all old ones
 *   standing.c   the former containers, until the deployment is committed
 *   routed.c     that the new ones get the requests, and the former ones at an undo
 *   proxy.c      asked of the proxy in front
 *   watch.c      healthy, and for how long; the last lines of what is not
 *   apply.c      makes the change
 *   kept.c       files and tags of davit's own
 *   back.c       back to what ran before
 *   behind.c     the same behind a committed deployment, as a change of a rollback
 *   project.c    the driver of "compose-project"
 *   compose_up.c the step
 *
 * On the target lie, below BASE/compose/PROJECT: ID.json, the resolved configuration of each deployment with the images it ran
 * ("x-davit", which compose skips), and the link `current` to the one that runs. They hold what the stack's own environment holds, secrets
 * too, and are readable by the target's user only. */
#pragma once
#include "engine/run/step.h"
#include "engine/target/host.h"
#include "providers/docker/docker.h"
#include "schemas/compose_up.h"

enum { COMPOSE_LOOK_MS = 60000, COMPOSE_CONFIG_MAX = 4 << 20, COMPOSE_SHORT = 12 };

extern const struct change_type change_compose; /* "compose-project"; its paths are "compose:PROJECT" */

/* ---- stack.c ---- */
enum compose_pull { COMPOSE_MISSING, COMPOSE_ALWAYS, COMPOSE_NEVER };
struct compose_service {
	char *name, *image, *hash, *platform, *container_name;
	enum compose_pull pull;
	bool builds, once;
	int64_t replicas;
};
struct compose_stack {
	json_t *model;   /* what compose makes of the files; may hold secrets */
	char *directory; /* where they lie, links followed */
	struct compose_service *services;
	size_t count;
};
void compose_stack_done(struct compose_stack *s);
/* ERR_REFUSED with compose's own words where the files are not right, or with the names of all variables that are not set or empty. */
/* known: the configuration that runs, with x-davit; NULL: none. */
int compose_resolve(const struct step_context *c, const struct docker *d, const json_t *known,
                    struct compose_stack *ret, struct err *err);
/* The same from what is kept of the one that runs. */
int compose_known_stack(const struct compose_up_in *in, const json_t *known, struct compose_stack *ret);
/* Does the input resolve to that now? */
int compose_is_resolved_as(const struct step_context *c, const struct docker *d, const struct compose_stack *s,
                           bool *ret, struct err *err);
/* Of a resolved configuration: service → hash, as compose labels what it starts. */
int compose_hashes(const struct docker *d, const char *project, const json_t *model, json_t **ret, struct err *err);
const struct compose_service *compose_find(const struct compose_stack *s, const char *name);
/* `docker compose` with what names the project. */
void compose_words(struct str *out, const char *project);
/* The files, env files and profiles of the input behind it. */
void compose_input_words(struct str *out, const struct compose_up_in *in);
struct docker compose_docker(const struct step_context *c, struct view *v, struct target *t);

/* ---- variables.c ---- */
/* raw: the configuration without values; said: what compose said on its errors; model: NULL where it could not be resolved. Their names, "X is
 * not set" each. */
int compose_variables(const struct step_context *c, const struct docker *d, const json_t *raw, const char *said,
                      const json_t *model, struct strv *ret, struct err *err);

/* ---- names.c, ports.c, images.c ---- */
int compose_check_ports(const struct compose_up_in *in, const struct docker *d, const struct compose_stack *s,
                        struct strv *faults, struct err *err);
int compose_check_names(const struct compose_up_in *in, const struct docker *d, const struct compose_stack *s,
                        struct strv *faults, struct err *err);
/* ret: service → {"image","from": "here" | "registry" | "build","id"}; id only where it is known now. */
int compose_look_at_images(const struct compose_up_in *in, const struct docker *d, const struct compose_stack *s,
                           json_t **ret, json_t **ret_here, struct err *err);
json_t *compose_images_of(const struct compose_up_in *in, const struct compose_stack *s, const json_t *here);
/* Are they there, for the engine's processor, and is there room for what is fetched? here: what compose_look_at_images found. */
int compose_check_images(const struct docker *d, const struct compose_stack *s, const json_t *images,
                         const json_t *here, struct strv *faults, struct strv *warnings, struct err *err);

/* ---- room.c ---- */
/* layers: DIGEST → bytes. A fault where they cannot have room, a warning where that is not sure. */
int compose_check_room(const struct docker *d, const json_t *layers, struct strv *faults, struct strv *warnings,
                       struct err *err);

/* ---- state.c ---- */
/* {"type":"compose","services":{NAME:{"is":["HASH:IMAGE", …],"up":n}}}, or {"type":"absent"}; hashes and images cut short. */
json_t *compose_state_found(const struct docker_containers *l);
/* images: service → {"id"}, or without id: whatever it will be. */
json_t *compose_state_wanted(const struct compose_stack *s, const json_t *images);
/* One of "services": its containers, all of them alike. */
json_t *compose_state_service(const char *hash, const char *image, int64_t count, int64_t up);
/* One container more of a service that is wanted. */
void compose_state_add(json_t *state, const struct docker_container *c);
/* Nothing ran. */
bool compose_state_is_absent(const json_t *state);
/* Is it that already, all of it running? */
bool compose_state_is(const json_t *found, const json_t *wanted);
enum change_match compose_state_match(const json_t *before, const json_t *after, const json_t *found);
void compose_state_explain(const json_t *before, const json_t *after, const json_t *found, struct str *out);

/* ---- former.c ---- */
extern const char compose_adopted[]; /* the name of what somebody else started */
/* x-davit of a configuration: {"id","deployment","directory","former","services":{NAME:{"hash","image","name","count","up"}}}. */
json_t *compose_about(const char *id, const struct step_context *c, const char *directory,
                      const struct docker_containers *l);
/* The configuration that runs, as davit started it; *ret NULL: it started none. Of another deployment: ERR_REFUSED. */
int compose_read_own(const struct step_context *c, const struct docker *d, json_t **ret, struct err *err);
char *compose_dir(const struct view *v, const char *project);
char *compose_file(const struct view *v, const char *project, const char *id);
int compose_read_model(struct view *v, const char *path, json_t **ret, struct err *err); /* ERR_NOT_FOUND */

/* ---- plan.c ---- */
/* What a plan hands to its apply. */
struct compose_payload {
	struct compose_stack stack;
	json_t *former, *images;
	struct strv standing; /* ids of containers that the change leaves standing until the commit */
	struct strv hidden;   /* of those that an earlier one left and did not remove */
	char *former_name;
	struct docker_containers was;
	bool same;    /* all of it runs as configured */
	json_t *goal; /* of a rollback: the configuration to go back to, and its name; NULL: none */
	char *goal_name;
	struct strv warnings;
	char *unresolved; /* why the files could not be resolved yet; NULL: they were */
};
void compose_payload_clear(struct compose_payload *p);
void compose_payload_free(void *payload);
/* All of it runs as configured. */
bool compose_is_same(const struct compose_payload *p);
int compose_plan(const struct step_context *c, struct view *v, struct plan *plan, struct err *err);
/* The same for the change that is about to be made, when the files of the steps before it are there. */
int compose_look(const struct step_context *c, const struct docker *d, bool may_wait, struct compose_payload *ret,
                 struct err *err);
/* why: compose_former's. */
int compose_must_have_former(const struct compose_up_in *in, const struct docker *d, const char *why, struct err *err);
void compose_report_images(const struct step_context *c, const struct compose_payload *p);

/* ---- unchanged.c ---- */
/* Does all of it run as configured, as one look tells? Then p is as compose_look would leave it; else it is empty. */
int compose_unchanged(const struct step_context *c, const struct docker *d, struct compose_payload *p, bool *ret_same,
                      struct err *err);

/* What runs now, to bring it back: fills in p->former with x-davit and p->former_name, of p->was, from which what an earlier deployment left
 * standing is taken out. p->former NULL: nothing runs, or it cannot be brought back (then *ret_why says why, free()). Of another deployment:
 * ERR_REFUSED. */
int compose_former(const struct step_context *c, const struct docker *d, struct compose_payload *p, char **ret_why,
                   struct err *err);

/* ---- which.c ---- */
/* Adds a fault for each service of `roll` that cannot have two containers. */
void compose_roll_faults(const struct compose_up_in *in, const struct compose_stack *s, struct strv *faults);
/* Why a service cannot have two containers; NULL: it can. */
const char *compose_why_alone(const json_t *service);
const json_t *compose_service_json(const struct compose_stack *s, const char *name);
/* Is the container as configured? */
bool compose_is_new(const struct compose_payload *p, const struct compose_service *one,
                    const struct docker_container *c);
/* An old container of it runs and is to be replaced without a gap. */
bool compose_rolls_one(const struct compose_up_in *in, const struct compose_payload *p,
                       const struct docker_containers *now, const struct compose_service *one);
/* It, or something that it depends on. */
bool compose_needs_rolled(const struct compose_up_in *in, const struct compose_payload *p,
                          const struct docker_containers *now, const char *name);
/* Something is to be replaced without a gap. */
bool compose_rolls(const struct step_context *c, const struct compose_payload *p, const struct docker_containers *now);

/* ---- standing.c ---- */
/* Fills in p->standing. */
void compose_stand(const struct compose_up_in *in, struct compose_payload *p, const struct docker_containers *now);
void compose_stand_faults(const struct compose_up_in *in, const struct compose_payload *p, struct strv *faults);
/* The wanted state and what is left standing beside it. */
json_t *compose_state_with(json_t *wanted, const struct strv *standing, const struct docker_containers *now);
/* Takes those that x-davit (or the record of a change) has as standing out of a list, and adds their ids to `hidden`. */
void compose_hide(struct docker_containers *l, const json_t *about, struct strv *hidden);
int compose_remove_containers(const struct docker *d, const char *project, const struct strv *ids, int64_t timeout_ms,
                              struct err *err);
/* current: the name of the configuration that runs; NULL: none. */
int compose_drop_standing(const struct step_context *c, struct target *t, const char *current, struct err *err);

/* ---- roll.c ---- */
/* What compose_up does, the services that roll without a gap. now: as it began. */
int compose_roll(const struct step_context *c, struct target *t, const struct docker *d,
                 const struct compose_payload *p, const struct docker_containers *now, const char *file,
                 struct err *err);

/* ---- routed.c, proxy.c ---- */
struct compose_route {
	const char *service;
	struct strv names, ids, old; /* those that are to get the requests, and the names of those that are not */
};
void compose_route_done(struct compose_route *route);
/* Tells the proxy, and waits until it has them. */
int compose_route(const struct step_context *c, struct target *t, const struct docker *d,
                  const struct compose_route *route, struct err *err);
void compose_behind_faults(const struct compose_up_in *in, struct faults *faults);
/* addresses: a line for each of route->names. */
int compose_behind(const struct step_context *c, struct target *t, const struct compose_route *route,
                   const char *addresses, struct err *err);
/* Starts former containers that still stand beside newer ones, and gives them the requests. */
int compose_route_back(const struct step_context *c, struct target *t, const struct docker *d, const json_t *model,
                       struct err *err);
/* Tells the proxy what runs after an undo. */
int compose_routed_again(const struct step_context *c, struct target *t, const json_t *model, struct err *err);

/* ---- start.c, watch.c ---- */
/* `docker compose` upon a configuration file of davit's own. */
void compose_file_words(struct str *out, const struct compose_up_in *in, const struct compose_stack *s,
                        const char *file);
int compose_fetch(const struct step_context *c, const struct docker *d, struct compose_payload *p, struct err *err);
/* Starts the services of a configuration file as they were or are to be. */
int compose_up(const struct step_context *c, const struct docker *d, const struct compose_payload *p, const char *file,
               struct err *err);
int compose_watch(const struct step_context *c, const struct docker *d, const struct compose_payload *p,
                  struct err *err);
void compose_show_lines(void *context, bool is_stderr, const char *line, size_t len);
/* The last lines of each container that is not well. */
void compose_tell_troubles(const struct step_context *c, const struct docker *d, const struct compose_stack *s);

/* ---- kept.c ---- */
int compose_put_json(struct target *t, const char *path, const json_t *value, struct err *err);
int compose_make_dir(struct target *t, const char *project, struct err *err);
int compose_remove_dir(struct target *t, const char *project, struct err *err); /* what is empty of it */
int compose_remove_file(struct target *t, const char *path, struct err *err);
int compose_point_to(struct target *t, const char *project, const char *name, struct err *err); /* NULL: to nothing */
int compose_make_durable(struct target *t, const char *project, struct err *err);
int compose_keep_images(const struct docker *d, const char *project, const json_t *about, struct err *err);
int compose_drop_tags(const struct docker *d, const char *project, const char *id, struct err *err);

/* ---- back.c ---- */
bool compose_is_former(const json_t *about, const struct docker_container *c);
/* Puts into a script what takes away the halves of an `up` that was killed. */
void compose_tidy(struct str *script, const char *project);
/* Back to a configuration that ran before: what an undo does, and a rollback behind a committed deployment. */
int compose_go_back(const struct docker *d, const char *project, const char *name, const json_t *model,
                    int64_t timeout_ms, struct err *err);
int compose_take_down(const struct docker *d, const char *project, int64_t timeout_ms, struct err *err);

/* ---- behind.c ---- */
int compose_back(const struct step_context *c, struct view *v, const struct change *former, bool force,
                 struct plan *plan, struct err *err);
int compose_apply_back(const struct step_context *c, struct target *t, const struct compose_payload *p,
                       struct err *err);

/* ---- apply.c, project.c ---- */
int compose_apply(const struct step_context *c, struct target *t, struct change *change, struct err *err);
int compose_undo(const struct step_context *c, struct target *t, const struct change *change, struct err *err);
char *compose_undo_path(const char *lock_dir, const struct change *c, const char *suffix);
