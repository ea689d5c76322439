/* The layout of the tables that schemas/gen/generate.py writes. Read by base/data/fields only. */
#pragma once
#include "base/data/fields/read.h"

enum field_kind {
	FIELD_STRING,   /* const char * */
	FIELD_ENUM,     /* an enum from 0, in the order of `values` */
	FIELD_INTEGER,  /* int64_t */
	FIELD_NUMBER,   /* double */
	FIELD_BOOLEAN,  /* bool */
	FIELD_DURATION, /* int64_t, milliseconds; minimum and maximum are in seconds */
	FIELD_SIZE,     /* int64_t, bytes */
	FIELD_MODE,     /* int64_t, permission bits */
	FIELD_STRINGS,  /* struct field_strings: a list, one string, or lines */
	FIELD_LIST,     /* struct field_strings: a list */
	FIELD_INTEGERS, /* struct field_integers: a list, or one */
	FIELD_OBJECT,   /* a struct, `table` */
	FIELD_CHOICES,  /* a pointer to struct field_chosen, and a size_t at count_offset */
	FIELD_OBJECTS,  /* a pointer to structs, `table`, and a size_t at count_offset */
	FIELD_SELF,     /* a pointer to the struct of `table`, which is the whole; NULL: absent */
	FIELD_MAP,      /* struct field_map */
	FIELD_JSON,     /* const json_t * */
};

/* Bits of JSON types, for FIELD_JSON. */
enum {
	FIELD_TYPE_NULL = 1,
	FIELD_TYPE_BOOLEAN = 2,
	FIELD_TYPE_INTEGER = 4,
	FIELD_TYPE_NUMBER = 8,
	FIELD_TYPE_STRING = 16,
	FIELD_TYPE_ARRAY = 32,
	FIELD_TYPE_OBJECT = 64,
	FIELD_TYPE_ANY = 127,
};

#define FIELD_NONE SIZE_MAX /* no such member, or no such limit */

struct field {
	const char *name; /* as in the schema */
	enum field_kind kind;
	bool required, secret;
	size_t offset, has_offset, count_offset;
	const struct field_table *table;
	const char *const *values; /* enum; of lists: the values of the items */
	size_t value_count;
	const char *default_text;      /* JSON, or NULL */
	const char *pattern;           /* of strings: the value's, or each item's */
	const char *key_pattern;       /* of maps */
	size_t min_length, max_length; /* of strings, in code points; max FIELD_NONE: any */
	size_t min_items, max_items;   /* of lists and maps */
	bool unique;
	bool has_minimum, has_maximum, above_minimum, below_maximum; /* the last two: exclusive */
	double minimum, maximum;
	unsigned json_types; /* FIELD_JSON */
	const char *schema;  /* FIELD_JSON: the whole subschema, where it says more than a type; or NULL */
};

/* oneOf or anyOf over "required" with one name each. */
struct field_group {
	bool exactly_one;
	const char *const *names;
	size_t count;
};

struct field_table {
	const char *name; /* "archive-upload" */
	size_t size;
	const struct field *fields;
	size_t count;
	const struct field_group *groups;
	size_t group_count;
};
