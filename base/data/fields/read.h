/* The reader that fills a typed struct from a JSON value by a table of fields, which schemas/gen makes from
 * schemas/steps/NAME.json. The reader enforces what the schema says and reports all faults, with pointer and nearest name.
 *
 * How a schema becomes a struct (schemas/gen/generate.py; names: dashes become underscores; struct NAME_in, NAME_out):
 *   type string                         const char *x;             NULL: absent
 *   type string + enum                  enum NAME_x x;  bool has_x;   values NAME_X_VALUE, both conversions generated
 *   type integer                        int64_t x;      bool has_x;
 *   type number                         double x;       bool has_x;
 *   type boolean                        bool x;         bool has_x;
 *   x-type: "duration"                  int64_t x_ms;   bool has_x;   "90s", "2m", or a number of seconds
 *   x-type: "size"                      int64_t x_bytes; bool has_x;  "10M", "2G", or a number of bytes
 *   x-type: "mode"                      int64_t x;      bool has_x;   "0600", "600", "0o600" or "u=rw,go=r" as a string; a
 *                                                                    number is refused, since 0o644 and 420 are one
 *   x-type: "strings"                   struct field_strings x;    a list of strings, or one string, or lines in a string
 *   type array of strings               struct field_strings x;    { const char **items; size_t count; }, has_x too
 *   x-type: "integers"                  struct field_integers x;   a list of whole numbers, or one; has_x too
 *   type array of objects w. properties struct NAME_x *x; size_t x_count;
 *   type array, items: x-choices        struct field_chosen *x; size_t x_count;   each one of a family that the caller gives
 *   {"$ref": "#"}                       struct NAME *x;             NULL: absent
 *   type object with properties         struct NAME_x x; bool has_x;
 *   type object + additionalProperties: {type: string}   struct field_map x;  { key, value } pairs in order; has_x
 *   anything else (x-type: "json")      const json_t *x;           NULL: absent
 * Also our words: x-secret (masked everywhere, never printed), x-default-text, x-order, x-undo, x-changes (docs).
 * `default` fills the member and leaves has_x false. Inputs that arrive as strings (with:, INPUT_*) are parsed as YAML where the field
 * wants another type. All memory is in the arena.
 */
#pragma once
#include "base/data/yaml.h"

struct field_strings {
	const char **items;
	size_t count;
};
struct field_integers {
	int64_t *items;
	size_t count;
};
struct field_pair {
	const char *key, *value;
};
struct field_map {
	struct field_pair *items;
	size_t count;
};

/* A part of an object that is one of several: its name, which is the input that chooses it, and the names of its inputs. */
struct field_part {
	const char *name;
	const char *const *members; /* NULL at the end */
};

struct field_table; /* generated; opaque to callers */

/* One of a family of shapes: {"file": {…}} is the one named "file". Generated from schemas/FAMILY/NAME.json. */
struct field_choice {
	const char *name;
	const struct field_table *table;
	const char *key; /* the member that tells one from another; NULL: none */
};
struct field_chosen {
	const struct field_choice *choice; /* NULL: refused, with a fault */
	const void *typed;
};

/* text_values: values may be YAML in a string (as in `with:`). Unknown keys are faults with the nearest name. */
int fields_read(const struct field_table *table, const json_t *value, const struct yaml_doc *doc, const char *pointer,
                bool text_values, struct arena *arena, void *ret_struct, struct faults *faults, struct err *err);
/* The same where the table has choices: NULL at the end. */
int fields_read_choices(const struct field_table *table, const struct field_choice *const *choices, const json_t *value,
                        const struct yaml_doc *doc, const char *pointer, bool text_values, struct arena *arena,
                        void *ret_struct, struct faults *faults, struct err *err);
/* An object of exactly one of the choices, and of what `common` has beside it. */
int fields_read_choice(const struct field_choice *const *choices, const struct field_table *common, const json_t *value,
                       const struct yaml_doc *doc, const char *pointer, struct arena *arena, struct field_chosen *ret,
                       void *ret_common, struct faults *faults, struct err *err);
/* The struct's member of that name in its schema; NULL: there is none. */
const void *fields_member(const struct field_table *table, const void *typed, const char *name);
/* Takes a list of texts out again. */
void fields_unset_strings(const struct field_table *table, void *typed, const char *name);
const char *fields_name(const struct field_table *table);
size_t fields_size(const struct field_table *table); /* of the struct */
/* One input's name as in the schema, by index; NULL past the end. For plugin mode (INPUT_*). */
const char *fields_input(const struct field_table *table, size_t index);
bool fields_is_secret(const struct field_table *table, const char *input);
/* The struct as a JSON object again, members marked x-secret as "***". For show and logs. */
json_t *fields_write(const struct field_table *table, const void *typed);
/* With its secrets: not for people. */
json_t *fields_write_whole(const struct field_table *table, const void *typed);
