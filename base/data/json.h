/* JSON on the wire and in our own files: jansson with our limits. NUL in strings is allowed (use
 * json_string_length), duplicate keys are refused, integers beyond 64 bits are read as reals.
 * Reading a document that a person wrote: base/data/yaml.h, which knows line and column. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"
#include <jansson.h>

enum { JSON_MAX_DEPTH = 200 };
#define _cleanup_json_ _cleanup_(json_decrefp)

/* max: bytes accepted. ERR_INVALID with line and column, ERR_LIMIT. ret is the caller's. */
int json_parse(const char *data, size_t len, size_t max, json_t **ret, struct err *err);
/* From here on every JSON value of this process is wiped when it is freed: for programs that hold secrets. Before the first value. */
void json_wipe_freed(void);
/* Compact; keys in insertion order. Never NULL. free(). */
char *json_text(const json_t *value);
/* The same, appended to a string that the caller made with wipe: no other copy is left. False past its limit. */
bool json_text_secret(const json_t *value, struct str *out);
char *json_pretty(const json_t *value);
/* Keys sorted, no white space, numbers shortest: the form for digests. */
char *json_canonical(const json_t *value);
/* Borrowed string at a key, or NULL when absent or of another type. */
const char *json_get_string(const json_t *object, const char *key);
int64_t json_get_int(const json_t *object, const char *key, int64_t otherwise);
bool json_get_bool(const json_t *object, const char *key, bool otherwise);
json_t *json_get_object(const json_t *object, const char *key); /* borrowed, NULL unless an object */
json_t *json_get_array(const json_t *object, const char *key);
/* Sets a key to the string, invalid UTF-8 replaced by U+FFFD; NULL: the key stays as it is. */
void json_set_string(json_t *object, const char *key, const char *value);
/* printf into a new JSON string; invalid UTF-8 is replaced by U+FFFD. */
json_t *json_stringf(const char *fmt, ...) _printf_(1, 2);
json_t *json_string_lossy(const char *data, size_t len);
