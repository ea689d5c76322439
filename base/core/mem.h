/* Ownership by scope: every local that owns something says so. An explicit take moves it out of its scope.
 *
 *     _cleanup_free_ char *name = xstrdup(text);
 *     *ret_name = TAKE(name);
 *
 * Memory that runs out ends the process (exit status 70): a worker is one job and a step's journal makes its death
 * recoverable, so nothing is gained by carrying on. Sizes that a peer chooses are bounded before they reach here.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define _cleanup_(fn) __attribute__((cleanup(fn), unused)) /* a guard that is only held counts as used */
#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define _unused_ __attribute__((unused))
#define _must_check_ __attribute__((warn_unused_result))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* Of values, not of calls: one of the two is evaluated twice (house_macros looks). */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Moves a pointer out and leaves NULL behind. */
#define TAKE(p)                                                                                                        \
	__extension__({                                                                                                \
		__typeof__(p) take_ = (p);                                                                             \
		(p) = NULL;                                                                                            \
		take_;                                                                                                 \
	})

void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t size);
/* count * size checked for overflow; grows by doubling: call with the number of elements needed. */
void *xgrow(void *p, size_t *capacity, size_t need, size_t size);
char *xstrdup(const char *s); /* NULL gives NULL */
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) _printf_(1, 2);
void *xmemdup(const void *p, size_t size);

void freep(void *p);  /* for _cleanup_: frees *(void **)p */
void closep(int *fd); /* closes when >= 0 and sets to -1 */
int take_fd(int *fd); /* moves a descriptor out, leaves -1 */
#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)

/* An arena: many small allocations with one life. Zeroed memory, 16-byte aligned; freed as a whole. Not for secrets'
 * only copy unless arena_wipe is set: then the memory is wiped before it is freed. */
struct arena_block;
struct arena_end;
struct arena {
	struct arena_block *head;
	struct arena_end *ends;
	bool wipe;
};
#define ARENA_INIT                                                                                                     \
	{                                                                                                              \
		0                                                                                                      \
	}
void *arena_alloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) _printf_(2, 3);
/* fn(p) is called when the arena is freed, before its memory goes; last in, first out. */
void arena_defer(struct arena *a, void (*fn)(void *p), void *p);
void arena_done(struct arena *a);
