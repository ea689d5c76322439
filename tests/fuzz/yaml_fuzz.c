/* The reader of documents: whatever it takes has a value and a mark for each part; JSON that it takes is what the JSON reader takes. */
#include "base/data/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void visit(const struct yaml_doc *doc, const json_t *value, struct str *pointer)
{
	size_t length = pointer->len;
	if (yaml_value_mark(doc, str_peek(pointer)).line < 1 || yaml_key_mark(doc, str_peek(pointer)).column < 1)
		abort();
	const char *key;
	json_t *member;
	json_object_foreach((json_t *)value, key, member)
	{
		faults_pointer_push(pointer, key);
		visit(doc, member, pointer);
		str_truncate(pointer, length);
	}
	for (size_t i = 0; i < json_array_size(value); i++) {
		faults_pointer_push_index(pointer, i);
		visit(doc, json_array_get(value, i), pointer);
		str_truncate(pointer, length);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct yaml_limits limits = {.max_bytes = 1 << 14, .max_nodes = 2000, .max_depth = 50};
	struct err err = ERR_INIT;
	struct yaml_doc *doc = NULL;
	if (size == 0)
		return 0;
	limits.allow_anchors = data[0] & 1;
	int r = yaml_read("f", (const char *)data + 1, size - 1, &limits, &doc, &err);
	if ((r == 0) != (doc != NULL) || (r < 0 && err.frame_count == 0))
		abort();
	if (doc == NULL)
		return 0;
	struct str pointer = STR_INIT(1 << 20);
	if (!json_is_null(yaml_root(doc)))
		visit(doc, yaml_root(doc), &pointer);
	str_done(&pointer);
	yaml_doc_free(doc);
	return 0;
}
