/* A block volume of Scaleway. */
#include "providers/scaleway/resource_change.h"
#include "schemas/resources/scaleway_volume.h"
#include "steps/apply/kinds/scaleway.h"

static void validate(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_scaleway_volume *in = r->in;
	scaleway_validate(r, f);
	if (in->iops != 5000 && in->iops != 15000)
		resource_fault(f, r, "iops", "a volume has 5000 or 15000 operations a second");
}

static json_t *kept(const struct resource *r)
{
	return json_pack("{s:[s]}", "volumes", r->id);
}

extern const struct resource_type resource_scaleway_volume;
const struct resource_type resource_scaleway_volume = {.choice = RESOURCE_SCALEWAY_VOLUME_CHOICE,
                                                       .what = "scaleway_volume",
                                                       .space = "scaleway_volume",
                                                       .validate = validate,
                                                       .want = scaleway_want,
                                                       .source = &source_scaleway,
                                                       .kept = kept,
                                                       .outlived = true,
                                                       SCALEWAY_RESOURCE};
