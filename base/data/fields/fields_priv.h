/* Shared by the parts of the field reader, inside base/data/fields only. Faults are reported and 0 is returned; a negative code is an
 * error of the reader itself. */
#pragma once
#include "base/data/fields/table.h"

struct field_reader {
	const struct yaml_doc *doc;
	const struct field_choice *const *choices; /* NULL: none are known */
	bool text_values;                          /* of the outermost object only */
	struct arena *arena;
	struct faults *faults;
	struct err *err;
	struct str pointer; /* of the value that is being read */
	size_t fault_count; /* reported by this reader */
};

void field_fault(struct field_reader *r, const char *fmt, ...) _printf_(2, 3);
const char *field_type_name(const json_t *value); /* "a map", "a text" */
const char *field_types_text(unsigned types);     /* "a map or a list" */
unsigned field_json_type(const json_t *value);    /* FIELD_TYPE_… */

int field_read_text(struct field_reader *r, const struct field *f, const json_t *value, const char **ret);
int field_read_enum(struct field_reader *r, const struct field *f, const json_t *value, int *ret);
int field_read_integer(struct field_reader *r, const struct field *f, const json_t *value, int64_t *ret);
int field_read_number(struct field_reader *r, const struct field *f, const json_t *value, double *ret);
int field_read_boolean(struct field_reader *r, const json_t *value, bool *ret);
int field_read_duration(struct field_reader *r, const struct field *f, const json_t *value, int64_t *ret_ms);
int field_read_size(struct field_reader *r, const struct field *f, const json_t *value, int64_t *ret_bytes);
int field_read_mode(struct field_reader *r, const json_t *value, int64_t *ret);
int field_check_count(struct field_reader *r, const struct field *f, const json_t *value, const char *what);
int field_check_key(struct field_reader *r, const struct field *f, const char *key);
int field_check_schema(struct field_reader *r, const struct field *f, const json_t *value);
