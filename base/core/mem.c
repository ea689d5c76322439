#include "base/core/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void out_of_memory(void)
{
	static const char text[] = "davit: out of memory\n";
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)n;
	_exit(70);
}

void *xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);
	if (p == NULL)
		out_of_memory();
	return p;
}

void *xcalloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);
	if (p == NULL)
		out_of_memory();
	return p;
}

void *xrealloc(void *p, size_t size)
{
	p = realloc(p, size ? size : 1);
	if (p == NULL)
		out_of_memory();
	return p;
}

void *xgrow(void *p, size_t *capacity, size_t need, size_t size)
{
	if (need <= *capacity)
		return p;
	size_t want = *capacity ? *capacity : 8;
	while (want < need) {
		if (want > SIZE_MAX / 2)
			out_of_memory();
		want *= 2;
	}
	size_t bytes;
	if (__builtin_mul_overflow(want, size, &bytes))
		out_of_memory();
	*capacity = want;
	return xrealloc(p, bytes);
}

char *xstrdup(const char *s)
{
	return s ? xstrndup(s, strlen(s)) : NULL;
}

char *xstrndup(const char *s, size_t n)
{
	size_t len = strnlen(s, n);
	char *copy = xmalloc(len + 1);
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *xasprintf(const char *fmt, ...)
{
	char *text = NULL;
	va_list args;
	va_start(args, fmt);
	int n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		out_of_memory();
	return text;
}

void *xmemdup(const void *p, size_t size)
{
	void *copy = xmalloc(size);
	if (size > 0)
		memcpy(copy, p, size);
	return copy;
}

void freep(void *p)
{
	void **pointer = p;
	free(*pointer);
	*pointer = NULL;
}

void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int take_fd(int *fd)
{
	int taken = *fd;
	*fd = -1;
	return taken;
}

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(16) unsigned char data[];
};

void *arena_alloc(struct arena *a, size_t size)
{
	if (size > SIZE_MAX - 64)
		out_of_memory();
	size_t need = (size + 15) & ~(size_t)15;
	struct arena_block *block = a->head;
	if (block == NULL || block->size - block->used < need) {
		size_t room = MAX(need, (size_t)4096);
		block = xcalloc(1, sizeof(*block) + room);
		block->size = room;
		block->next = a->head;
		a->head = block;
	}
	void *p = block->data + block->used;
	block->used += need;
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	char *copy = arena_alloc(a, n + 1);
	memcpy(copy, s, n);
	return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list args, again;
	va_start(args, fmt);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n < 0)
		out_of_memory();
	char *text = arena_alloc(a, (size_t)n + 1);
	vsnprintf(text, (size_t)n + 1, fmt, again);
	va_end(again);
	return text;
}

struct arena_end {
	struct arena_end *next;
	void (*fn)(void *p);
	void *p;
};

void arena_defer(struct arena *a, void (*fn)(void *p), void *p)
{
	struct arena_end *end = arena_alloc(a, sizeof(*end));
	*end = (struct arena_end){a->ends, fn, p};
	a->ends = end;
}

void arena_done(struct arena *a)
{
	for (; a->ends != NULL; a->ends = a->ends->next)
		a->ends->fn(a->ends->p);
	while (a->head != NULL) {
		struct arena_block *block = a->head;
		a->head = block->next;
		if (a->wipe)
			explicit_bzero(block->data, block->used);
		free(block);
	}
}
