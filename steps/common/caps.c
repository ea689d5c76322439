#include "steps/common/caps.h"

static int over(const char *what, size_t count, const char *cap, int64_t max, struct err *err)
{
	err_set(err, ERR_REFUSED, "%zu %s, and %s is %lld", count, what, cap, (long long)max);
	return err_hint(err, ERR_REFUSED, "look at the plan, and raise %s if all of that is meant", cap);
}

int caps_check(const struct caps *caps, size_t changes, size_t destroyed, struct err *err)
{
	if (caps->has_max_destroy && destroyed > (size_t)caps->max_destroy)
		return over("resources would be destroyed or replaced", destroyed, "max_destroy", caps->max_destroy,
		            err);
	if (caps->has_max_changes && changes > (size_t)caps->max_changes)
		return over("changes would be made", changes, "max_changes", caps->max_changes, err);
	return 0;
}
