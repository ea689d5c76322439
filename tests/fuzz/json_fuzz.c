/* The JSON reader: what it takes it writes, and takes again as the same value. */
#include "base/data/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *value = NULL, *again = NULL;
	if (json_parse((const char *)data, size, 1 << 16, &value, NULL) < 0)
		return 0;
	char *text = json_text(value), *canonical = json_canonical(value);
	if (json_parse(text, strlen(text), SIZE_MAX, &again, NULL) < 0 || !json_equal(value, again))
		abort();
	char *canonical_again = json_canonical(again);
	if (strcmp(canonical, canonical_again) != 0)
		abort();
	free(text);
	free(canonical);
	free(canonical_again);
	json_decref(value);
	json_decref(again);
	return 0;
}
