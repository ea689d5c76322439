/* What a target says of itself: read within bounds, every string of it valid UTF-8, and the same each time. */
#include "steps/status/status.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ json_t *one = json_object(), *two = json_object();
	status_answer((const char *)data, size, "/var/lib/davit", 1800000000, one);
	status_answer((const char *)data, size, "/var/lib/davit", 1800000000, two);
	_cleanup_free_ char *text = json_dumps(one, 0);
	if (text == NULL || !json_equal(one, two))
		abort();
	if (json_array_size(json_object_get(one, "containers")) > STATUS_CONTAINERS_MAX)
		abort();
	return 0;
}
