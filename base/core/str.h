/* A growing string with a fixed limit and a sticky failure: append as often as you like, check once.
 *
 * data is NUL-terminated (and may hold NULs before that: use len); NULL while empty and never appended to. An append
 * that would pass `max` sets `failed` and leaves the string unchanged; so do all later ones until str_clear.
 *
 *     _cleanup_(str_done) struct str path = STR_INIT(4096);
 *     str_appendf(&path, "%s/releases/%s", base, id);
 *     if (path.failed) return err_set(err, ERR_LIMIT, "path is longer than 4096 bytes");
 */
#pragma once
#include "base/core/mem.h"
#include <string.h>

struct str {
	char *data;
	size_t len, cap, max;
	bool failed;
	bool wipe; /* holds a secret: memory is wiped when it moves or is freed */
};
#define STR_INIT(ceiling)                                                                                              \
	{                                                                                                              \
		.max = (ceiling)                                                                                       \
	}
#define STR_SECRET_INIT(ceiling)                                                                                       \
	{                                                                                                              \
		.max = (ceiling), .wipe = true                                                                         \
	}

bool str_append_n(struct str *s, const void *data, size_t len);
bool str_append(struct str *s, const char *text);
bool str_append_c(struct str *s, char c);
bool str_appendf(struct str *s, const char *fmt, ...) _printf_(2, 3);
/* One word of POSIX shell: 'it'\''s'. A NUL cannot be quoted: failed. */
bool str_append_shell(struct str *s, const char *word);
/* For a person's terminal: control characters and invalid UTF-8 as \xNN, marks of direction as \uNNNN. */
bool str_append_safe(struct str *s, const char *text, size_t len);
/* Bytes in lower case, and a NUL: 2 * len + 1 characters. */
void str_hex(const void *data, size_t len, char *hex);
/* `len` bytes from twice as many digits in lower case; false: another character stands there. */
bool str_from_hex(const char *hex, size_t len, void *ret);
/* The length and code of a control character or mark of direction that begins there; 0: another one does, or none whole. */
size_t str_unseen(const char *text, size_t len, unsigned *ret_code);
/* Room for `more` bytes at data+len (the caller writes and raises len). NULL: past the limit. */
char *str_reserve(struct str *s, size_t more);
void str_remove_front(struct str *s, size_t count);
void str_truncate(struct str *s, size_t len);
void str_clear(struct str *s);             /* empty again, failure forgotten, memory kept */
char *str_take(struct str *s);             /* the caller's (never NULL): free() */
const char *str_peek(const struct str *s); /* never NULL */
void str_done(struct str *s);

/* A list of owned strings. */
struct strv {
	char **items;
	size_t count, cap;
};
void strv_add(struct strv *v, const char *text);
void strv_add_take(struct strv *v, char *text);
void strv_addf(struct strv *v, const char *fmt, ...) _printf_(2, 3);
bool strv_has(const struct strv *v, const char *text);
void strv_sort(struct strv *v);
char **strv_null_terminated(struct strv *v); /* NULL-terminated items; borrowed */
void strv_done(struct strv *v);

/* The name nearest to `word` by edit distance (at most a third of its length), or NULL: for "did you mean". */
const char *str_nearest(const char *word, const char *const *names, size_t count);
/* The same, at most that many edits away. */
const char *str_near(const char *word, size_t edits, const char *const *names, size_t count);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
/* fnmatch-like for names: only * and ?; case-sensitive. */
bool str_glob(const char *pattern, const char *name);
/* "90s", "2m", "1h30m", "250ms", "1d", or a number of seconds. */
int str_parse_duration_ms(const char *text, long long *ret_ms);
/* "10M", "2 GiB", "512": bytes, by powers of 1024. */
bool str_parse_size(const char *text, int64_t *ret_bytes);
/* A whole decimal number within bounds; nothing before or after it. */
bool str_parse_i64(const char *text, long long min, long long max, long long *ret);
bool str_is_utf8(const char *data, size_t len);
/* The start of the character that `at` lies in. */
size_t str_whole_characters(const char *text, size_t at);
