/* Queries: read or refused with a reason, and what was read can be asked of an object; what it names too much of ends. */
#include "agent/forge/graphql.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ json_t *variables = json_pack("{s:s, s:i}", "a", "x", "n", 2);
	_cleanup_json_ json_t *root = json_pack("{s:s, s:{s:[{s:i, s:s}, {s:i, s:s}]}, s:n}", "a", "text", "b", "nodes",
	                                        "number", 1, "state", "OPEN", "number", 2, "state", "CLOSED", "c");
	_cleanup_json_ json_t *fields = NULL, *picked = NULL;
	_cleanup_free_ char *exact = xmemdup(data, size); /* no byte more, so that a read beyond it is seen */
	struct err err = ERR_INIT;
	int r = graphql_read(exact, size, NULL, variables, &fields, &err);
	if ((r < 0) != (fields == NULL) || (r < 0 && err.frame_count == 0))
		abort();
	if (r < 0)
		return 0;
	err_clear(&err);
	r = graphql_pick(root, fields, &picked, &err);
	if ((r < 0) != (picked == NULL) || (r >= 0 && !json_is_object(picked)))
		abort();
	return 0;
}
