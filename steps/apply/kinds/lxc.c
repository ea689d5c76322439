/* A container of a Proxmox server. */
#include "providers/proxmox/guest_change.h"
#include "schemas/resources/lxc.h"
#include "steps/apply/kinds/guest.h"

extern const struct resource_type resource_lxc;
const struct resource_type resource_lxc = {.choice = RESOURCE_LXC_CHOICE,
                                           .what = "lxc",
                                           .output_names = guest_output_names,
                                           .outputs = guest_outputs,
                                           GUEST_RESOURCE};
