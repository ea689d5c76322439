/* The field reader of every step: the first byte picks step and way, the rest is the input. What is read can be written. */
#include "base/data/schema/compile.h"
#include "schemas/resources/directory.h"
#include "schemas/resources/file.h"
#include "schemas/resources/link.h"
#include "schemas/tables.h"

static const struct field_choice file = RESOURCE_FILE_CHOICE, directory = RESOURCE_DIRECTORY_CHOICE,
				 link_to = RESOURCE_LINK_CHOICE;
static const struct field_choice *const resources[] = {&file, &directory, &link_to, NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct yaml_limits limits = {.max_bytes = 1 << 14, .max_nodes = 2000, .max_depth = 50};
	struct yaml_doc *doc = NULL;
	size_t count;
	const char *const *names = schema_builtin_names(&count);
	if (size == 0 || yaml_read("f", (const char *)data + 1, size - 1, &limits, &doc, NULL) < 0)
		return 0;
	const struct field_table *table = schema_table(names[(data[0] >> 1) % count]);
	if (table != NULL) {
		struct arena arena = ARENA_INIT;
		struct faults faults = {0};
		struct err err = ERR_INIT;
		void *typed = arena_alloc(&arena, fields_size(table));
		int r = fields_read_choices(table, resources, yaml_root(doc), doc, "", data[0] & 1, &arena, typed,
		                            &faults, &err);
		if ((r == 0) != (faults.count == 0) && r != ERR_LIMIT)
			abort();
		if (r == 0)
			json_decref(fields_write(table, typed));
		struct str text = STR_INIT(1 << 20);
		faults_print(&faults, doc, &text);
		str_done(&text);
		faults_done(&faults);
		arena_done(&arena);
	}
	yaml_doc_free(doc);
	return 0;
}
