/* preflight: what can be known before the first change beside what each step looks at itself.
 *
 *   preflight.c  the step: what is asked of whom, all targets at the same time
 *   files.c      paths, disk space and inodes, commands
 *   versions.c   the Docker engine, Compose, other programs
 *   clock.c      this machine's clock and the target's
 *   names.c      names that must resolve, here and there
 *   backups.c    how old the newest good backup is
 *   token.c      permissions of the job's token
 *   rules.c      the rules of an environment
 *
 * The functions of a target run on a thread of their own: they use its view and the faults that they are given, nothing else. */
#pragma once
#include "engine/run/step.h"
#include "engine/target/host.h"
#include "schemas/preflight.h"

/* "/disk/~1srv" */
void preflight_at_index(struct str *at, const char *member, size_t index);
void preflight_at_key(struct str *at, const char *member, const char *key);
bool preflight_read_size(const char *text, int64_t *ret);
/* The error with its hint, as a finding. */
void preflight_add_error(struct faults *faults, const char *pointer, const struct err *err);

int preflight_check_files(const struct preflight_in *in, struct view *v, struct faults *faults, struct err *err);
void preflight_validate_versions(const struct preflight_in *in, struct faults *faults);
int preflight_check_versions(const struct preflight_in *in, struct view *v, struct faults *faults, struct err *err);
int preflight_check_clock(const struct preflight_in *in, struct view *v, struct faults *faults, struct err *err);
int preflight_check_names_there(const struct preflight_in *in, struct view *v, struct faults *faults, struct err *err);
int preflight_check_names_here(const struct step_context *c, struct faults *faults, struct err *err);
void preflight_validate_backups(const struct preflight_in *in, struct faults *faults);
int preflight_check_backups(const struct step_context *c, struct view *v, struct faults *faults, struct err *err);
int preflight_check_token(const struct step_context *c, struct faults *faults, struct err *err);
int preflight_check_rules(const struct step_context *c, struct faults *faults, struct err *err);
