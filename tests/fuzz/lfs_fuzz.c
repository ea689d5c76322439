/* Pointers of Git LFS, what a server answers to a batch, and what lets in there. The first byte chooses. What is a pointer has an id that is a safe name; an object has an address of http
 * and headers without line breaks, or a reason. */
#include "base/git/lfs_batch.h"
#include "base/git/lfs_login.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char oids[][LFS_OID] = {"4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393",
                                     "0000000000000000000000000000000000000000000000000000000000000000"};

static void check_pointer(const char *text, size_t len)
{
	struct lfs_pointer p;
	if (lfs_pointer_read(text, len, &p) != LFS_CONTENT)
		return;
	if (strlen(p.oid) != LFS_OID - 1 || strspn(p.oid, "0123456789abcdef") != LFS_OID - 1 || p.size > INT64_MAX)
		abort();
}

static void check_headers(const struct strv *headers)
{
	for (size_t i = 0; i < headers->count; i++)
		if (strpbrk(headers->items[i], "\r\n") != NULL || strchr(headers->items[i], ':') == NULL)
			abort();
	if (headers->count > LFS_HEADERS_MAX)
		abort();
}

static void check_login(const char *text, size_t len)
{
	struct lfs_login l = {.url = NULL};
	struct err err = ERR_INIT;
	if (lfs_login_read(text, len, "https://h/r.git/info/lfs", &l, &err) >= 0) {
		if (strncasecmp(l.url, "http", 4) != 0 || strpbrk(l.url, "\r\n") != NULL || l.shown == NULL)
			abort();
		check_headers(&l.headers);
	}
	lfs_login_done(&l);
}

static void check_object(const struct lfs_object *o)
{
	if ((o->href == NULL) == (o->code == 0) || (o->code != 0 && o->why == NULL))
		abort();
	if (o->href != NULL && strncasecmp(o->href, "http", 4) != 0)
		abort();
	check_headers(&o->headers);
}

static void check_answer(const char *text, size_t len)
{
	struct lfs_object objects[2] = {{.path = "a"}, {.path = "b"}}, *list[] = {&objects[0], &objects[1]};
	struct err err = ERR_INIT;
	for (size_t i = 0; i < 2; i++)
		memcpy(objects[i].pointer.oid, oids[i], LFS_OID);
	if (lfs_batch_read(text, len, list, 2, &err) >= 0)
		for (size_t i = 0; i < 2; i++)
			check_object(&objects[i]);
	for (size_t i = 0; i < 2; i++)
		lfs_object_done(&objects[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	char *text = malloc(size);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	if (data[0] == 'l')
		check_login(text, size - 1);
	else if (data[0] & 1)
		check_pointer(text, size - 1);
	else
		check_answer(text, size - 1);
	free(text);
	return 0;
}
