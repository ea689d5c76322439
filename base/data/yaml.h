/* Documents that a person writes (YAML 1.2 core schema, JSON included) read into jansson values, with a position for
 * each value and each key. One document; a byte order mark is skipped; anchors, aliases and merge keys are refused unless
 * allowed (anchors with refuse_merge: all but merge keys, as GitHub reads workflows); duplicate keys are refused, at
 * once or (twice) with the other faults of the file; depth, nodes and bytes are bounded. Scalars: null/~/empty, true/false, integers (decimal, 0o, 0x), floats, else strings;
 * `yes`, `on` and 010 are not special (010 is 10; with keep_octal it and 0o10 are strings as written, as for
 * permissions). A tag other than the core ones is refused. */
#pragma once
#include "base/data/json.h"

struct yaml_mark {
	int line, column;
}; /* from 1; 0: unknown */
struct yaml_doc;
struct faults;

struct yaml_limits {
	size_t max_bytes, max_nodes;
	int max_depth;
	bool allow_anchors, refuse_merge, keep_octal;
	struct faults *
		twice; /* NULL: a key that stands there twice ends the reading. Else each is a fault here, and its first value stays */
};
#define YAML_LIMITS_DEFAULT                                                                                            \
	{                                                                                                              \
		.max_bytes = 1 << 20, .max_nodes = 100000, .max_depth = 100                                            \
	}

/* name: the document's name in messages ("deploy/production.yml"). ERR_INVALID: "NAME:3:7: …". Caller frees. */
int yaml_read(const char *name, const char *data, size_t len, const struct yaml_limits *limits, struct yaml_doc **ret,
              struct err *err);
int yaml_read_file(const char *path, const struct yaml_limits *limits, struct yaml_doc **ret, struct err *err);
json_t *yaml_root(const struct yaml_doc *doc); /* borrowed */
const char *yaml_name(const struct yaml_doc *doc);
/* Position of the value at a JSON pointer ("/steps/2/run"); of its key with yaml_key_mark. Nearest known ancestor. */
struct yaml_mark yaml_value_mark(const struct yaml_doc *doc, const char *pointer);
struct yaml_mark yaml_key_mark(const struct yaml_doc *doc, const char *pointer);
void yaml_doc_free(struct yaml_doc *doc); /* not yaml_free: libyaml exports that name */
void yaml_freep(struct yaml_doc **doc);

/* All faults of a file, collected and shown at once, in the order of their places. */
struct fault {
	char *pointer;
	struct yaml_mark mark;
	char *text;
	char *hint;
	const char *code; /* a static word for the kind of fault; NULL: no word was given */
	char *where;      /* the target that it is about; NULL: none, or the pointer says it */
};
/* Warnings are told with the faults, and are none: they do not count, and make no error. */
struct faults {
	struct fault *items, *warnings;
	size_t count, cap, warning_count, warning_cap;
	size_t max; /* of each list; 0: 50 */
	bool last_is_warning;
};
void faults_add(struct faults *f, const struct yaml_doc *doc, const char *pointer, const char *fmt, ...) _printf_(4, 5);
void faults_add_key(struct faults *f, const struct yaml_doc *doc, const char *pointer, const char *fmt, ...)
	_printf_(4, 5);
/* At a place of a document that is still being read. */
void faults_add_at(struct faults *f, struct yaml_mark mark, const char *fmt, ...) _printf_(3, 4);
void faults_warn(struct faults *f, const char *pointer, const char *fmt, ...) _printf_(3, 4);
/* Of the last one added, a warning too. */
void faults_hint(struct faults *f, const char *fmt, ...) _printf_(2, 3);
void faults_code(struct faults *f, const char *code);
void faults_where(struct faults *f, const char *where);
/* All of `from`, which is empty then. */
void faults_move(struct faults *to, struct faults *from);
/* Each key of the object at `pointer` must be one of names: an unknown one is a fault at the key, "unknown-key", with the nearest name.
 * what: "a job". pointer is as before when it returns. */
void faults_check_keys(struct faults *f, const struct yaml_doc *doc, struct str *pointer, const json_t *object,
                       const char *what, const char *const *names, size_t count);
/* "deploy/x.yml:3:7: /steps/0/run: …" a line each, hints indented below. doc NULL: no positions. */
void faults_print(const struct faults *f, const struct yaml_doc *doc, struct str *out);
/* 0 when none; else ERR_INVALID with the first one and the number of others. */
int faults_to_err(const struct faults *f, const struct yaml_doc *doc, struct err *err);
void faults_done(struct faults *f);
/* Appends one reference token to a JSON pointer in place: ~ and / escaped. */
void faults_pointer_push(struct str *pointer, const char *token);
void faults_pointer_push_index(struct str *pointer, size_t index);
