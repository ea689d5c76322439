/* {"schema":…,"data":…,"remotes":…}: compiled and checked; with and without an audience the answer is the same. */
#include "base/data/schema/compile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *request = NULL;
	if (json_parse((const char *)data, size, 1 << 14, &request, NULL) < 0)
		return 0;
	struct schema *schema = NULL;
	struct err err = ERR_INIT;
	struct schema_options options = {.remotes = json_get_object(request, "remotes"), .strict_words = size % 2};
	const json_t *value = json_object_get(request, "data");
	int r = schema_compile(json_object_get(request, "schema"), &options, &schema, &err);
	if ((r == 0) != (schema != NULL) || (r < 0 && err.frame_count == 0))
		abort();
	if (schema != NULL && value != NULL) {
		struct faults faults = {0};
		int loud = schema_check(schema, value, NULL, &faults, &err),
		    quiet = schema_check(schema, value, NULL, NULL, NULL);
		/* With an audience more is looked at, so more can go wrong; a verdict is the same. */
		if (loud != quiet && loud != ERR_LIMIT && loud != ERR_UNSUPPORTED &&
		    !(loud == ERR_INVALID && faults.count == 0))
			abort();
		if (loud == 0 && faults.count > 0)
			abort();
		struct str text = STR_INIT(1 << 20);
		faults_print(&faults, NULL, &text);
		str_done(&text);
		faults_done(&faults);
	}
	schema_free(schema);
	json_decref(request);
	return 0;
}
