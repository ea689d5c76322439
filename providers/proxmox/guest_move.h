/* Brings a guest from what it is to what is wanted, one request after the other, each looked at before the next: whoever goes on after a lost
 * reply or a death asks for nothing a second time. */
#pragma once
#include "engine/change/change_type.h"
#include "providers/proxmox/guest.h"

struct guest_move {
	struct change_call *x;
	const struct change *c;
	const json_t *from, *to; /* nodes (attributes.h); what neither of them names is left as it is */
	bool anew;               /* the guest that is there goes first, unless it is the new one */
};
int guest_move(const struct guest_move *m, struct err *err);
int64_t guest_id_of(const struct change *c); /* -1: its record names none */
/* Of a replacement: the task that was noted last says that the former guest is destroyed. */
int guest_is_gone(struct change_call *x, const struct change *c, bool *ret, struct err *err);
