/* libcurl's memory: large blocks come directly from the kernel, so that only written pages exist.
 *
 * Over TLS and HTTP/1.1 libcurl copies each request into an upload buffer of at least 16 KiB and keeps it until the
 * answer is complete: for minutes with a long poll, once a registration. From malloc such a block lies on used
 * pages and costs its full size; alone on fresh pages it costs only those that the request fills, usually
 * one. (CURLOPT_UPLOAD_BUFFERSIZE goes no lower, and must not be changed while a request is pending.) A few of those that are
 * over are kept for the next requests, so that a poll that follows another one costs neither a mapping nor a fresh page. */
#include "base/net/net_priv.h"

#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LARGE = 16 * 1024, PAGE = 4096, LISTS = 256, SPARES_MAX = 4 };

/* A large block. There is one for each pending request, and they are searched only for page-aligned blocks. Names are resolved in
 * threads, hence the lock. */
struct large {
	struct large *next;
	void *pages;
	size_t size;
};
static struct large *larges[LISTS]; /* by address */
static struct large *spares;        /* of LARGE bytes, written to by somebody */
static size_t spare_count;
static pthread_mutex_t larges_lock = PTHREAD_MUTEX_INITIALIZER;

static struct large **list_of(const void *pages)
{
	uintptr_t number = (uintptr_t)pages / PAGE;
	return &larges[(number ^ number / LISTS) % LISTS];
}

/* Under the lock. */
static void *enlist(struct large *l)
{
	struct large **list = list_of(l->pages);
	l->next = *list;
	*list = l;
	return l->pages;
}

static void *take_spare(void)
{
	void *pages = NULL;
	pthread_mutex_lock(&larges_lock);
	struct large *l = spares;
	if (l != NULL) {
		spares = l->next;
		spare_count--;
		pages = enlist(l);
	}
	pthread_mutex_unlock(&larges_lock);
	return pages;
}

static void *take_large(size_t size)
{
	struct large *l = malloc(sizeof(*l));
	void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (l == NULL || pages == MAP_FAILED) {
		free(l);
		if (pages != MAP_FAILED)
			(void)munmap(pages, size);
		return NULL;
	}
	pthread_mutex_lock(&larges_lock);
	*l = (struct large){.pages = pages, .size = size};
	enlist(l);
	pthread_mutex_unlock(&larges_lock);
	return pages;
}

/* The list's pointer to the block p; NULL: p is one of malloc's. Under the lock. */
static struct large **find_large(const void *p)
{
	for (struct large **l = list_of(p); *l != NULL; l = &(*l)->next)
		if ((*l)->pages == p)
			return l;
	return NULL;
}

/* 0: p is one of malloc's. */
static size_t size_of_large(const void *p)
{
	if ((uintptr_t)p % PAGE != 0)
		return 0;
	pthread_mutex_lock(&larges_lock);
	struct large **l = find_large(p);
	size_t size = l == NULL ? 0 : (*l)->size;
	pthread_mutex_unlock(&larges_lock);
	return size;
}

static bool give_large(void *p)
{
	if (p == NULL || (uintptr_t)p % PAGE != 0)
		return false;
	pthread_mutex_lock(&larges_lock);
	struct large **place = find_large(p), *l = place == NULL ? NULL : *place;
	bool kept = l != NULL && l->size == LARGE && spare_count < SPARES_MAX;
	if (l != NULL)
		*place = l->next;
	if (kept) {
		l->next = spares;
		spares = l;
		spare_count++;
	}
	pthread_mutex_unlock(&larges_lock);
	if (l == NULL || kept)
		return l != NULL;
	(void)munmap(l->pages, l->size);
	free(l);
	return true;
}

static void *take(size_t size)
{
	void *spare = size == LARGE ? take_spare() : NULL;
	if (spare != NULL)
		return spare;
	return size < LARGE ? malloc(size) : take_large(size);
}

static void give(void *p)
{
	if (!give_large(p))
		free(p);
}

static void *take_zeroed(size_t count, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(count, size, &total))
		return NULL;
	/* Fresh pages are zero, and stay untouched. */
	return total < LARGE ? calloc(count, size) : take_large(total);
}

static void *take_again(void *p, size_t size)
{
	if (p == NULL)
		return take(size);
	size_t had = size_of_large(p);
	if (had == 0 && size < LARGE)
		return realloc(p, size);
	if (had == 0)
		had = malloc_usable_size(p);
	void *other = take(size);
	if (other == NULL)
		return NULL;
	memcpy(other, p, had < size ? had : size);
	give(p);
	return other;
}

CURLcode net_memory_init(void)
{
	return curl_global_init_mem(CURL_GLOBAL_DEFAULT, take, give, take_again, strdup, take_zeroed);
}
