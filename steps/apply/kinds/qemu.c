/* A virtual machine of a Proxmox server. */
#include "providers/proxmox/guest_change.h"
#include "schemas/resources/qemu.h"
#include "steps/apply/kinds/guest.h"

extern const struct resource_type resource_qemu;
const struct resource_type resource_qemu = {.choice = RESOURCE_QEMU_CHOICE,
                                            .what = "qemu",
                                            .output_names = guest_output_names,
                                            .outputs = guest_outputs,
                                            GUEST_RESOURCE};
