/* What guests of a Proxmox server have in common as resources: containers (lxc.c) and virtual machines (qemu.c). The key is the guest's name; its
 * identity is its name and its id, both as recorded. */
#pragma once
#include "steps/apply/resource.h"
#include "steps/sources/sources.h"

extern const char *const guest_targets[], *const guest_families[];
extern const struct change_type *const guest_kinds[];

void guest_validate(const struct resource *r, const struct resource_faults *f);
int guest_check(const struct step_context *c, const struct resource *r, struct err *err);
int guest_together(struct view *v, size_t count, void (*one)(void *context, size_t i), void *context, struct err *err);
int guest_look(struct resource_call *x, const char *id, json_t **ret, struct err *err);
int guest_want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
               struct str *content, struct err *err);
void guest_remember(const struct resource *r, json_t *row);
void guest_forces(const json_t *before, const json_t *after, struct str *out);
bool guest_alike(const json_t *before, const json_t *after, const char *name);
void guest_identity(const json_t *before, struct str *out);
int guest_forbids(struct resource_call *x, const json_t *before, const json_t *after, enum change_action action,
                  struct str *ret_why, struct err *err);
/* "ip" of a container that runs. */
extern const char *const guest_output_names[];
int guest_outputs(struct resource_call *x, const struct resource *r, json_t *ret, struct err *err);
void guest_means(const json_t *before, const json_t *after, enum change_action action, struct str *out);

json_t *guest_kept(const struct resource *r);

#define GUEST_RESOURCE                                                                                                 \
	.targets = guest_targets, .families = guest_families, .kinds = guest_kinds, .change = &proxmox_guest,          \
	.remove = &proxmox_guest, .space = "guest", .by_key = true, .validate = guest_validate, .check = guest_check,  \
	.together = guest_together, .look = guest_look, .want = guest_want, .remember = guest_remember,                \
	.forces = guest_forces, .alike = guest_alike, .identity = guest_identity, .forbids = guest_forbids,            \
	.means = guest_means, .source = &source_proxmox, .kept = guest_kept
