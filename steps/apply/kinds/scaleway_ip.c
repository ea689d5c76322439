/* A flexible IP of Scaleway. */
#include "providers/scaleway/resource_change.h"
#include "schemas/resources/scaleway_ip.h"
#include "steps/apply/kinds/scaleway.h"

extern const struct resource_type resource_scaleway_ip;
const struct resource_type resource_scaleway_ip = {.choice = RESOURCE_SCALEWAY_IP_CHOICE,
                                                   .what = "scaleway_ip",
                                                   .space = "scaleway_ip",
                                                   .validate = scaleway_validate,
                                                   .want = scaleway_want,
                                                   SCALEWAY_RESOURCE};
