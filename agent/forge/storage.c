/* Blobs of artifacts and caches: blocks come in any order and side by side, a list makes them the content. */
#include "agent/forge/services_priv.h"
#include "base/core/clock.h"
#include "base/core/rand.h"
#include "base/secret/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 256 << 10 };

struct storage_blob *storage_new(struct forge *f)
{
	struct storage_blob *b = xcalloc(1, sizeof(*b));
	rand_uuid4(b->id);
	b->fd = -1;
	b->size = -1;
	f->stored = xgrow(f->stored, &f->stored_cap, f->stored_count + 1, sizeof(*f->stored));
	f->stored[f->stored_count++] = b;
	return b;
}

void storage_hold(struct storage_blob *b)
{
	b->users++;
}

static void drop_content(struct storage_blob *b)
{
	closep(&b->fd);
	free(b->blocks);
	free(b->extents);
	b->blocks = NULL;
	b->extents = NULL;
	b->block_count = b->block_cap = b->extent_count = 0;
	b->used = 0;
}

void storage_release(struct storage_blob *b)
{
	b->users--;
	if (b->unlisted && b->users == 0)
		storage_free(b);
	else if (b->removed && b->users == 0)
		drop_content(b);
}

struct storage_blob *storage_view(int fd, int64_t size, const char *content_type)
{
	struct storage_blob *b = xcalloc(1, sizeof(*b));
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	b->unlisted = true;
	storage_take_file(b, size, content_type);
	return b;
}

void storage_remove(struct storage_blob *b)
{
	b->removed = true;
	if (b->users == 0)
		drop_content(b);
}

void storage_free(struct storage_blob *b)
{
	drop_content(b);
	free(b->content_type);
	free(b);
}

char *storage_address(const struct forge *f, const struct storage_blob *b, bool write)
{
	char mac[DIGEST_HEX];
	long long until = (long long)(clock_wall_ms() + STORAGE_ADDRESS_MS);
	_cleanup_free_ char *what = xasprintf("%s %s %lld", write ? "w" : "r", b->id, until);
	digest_hmac_hex(f->key, sizeof(f->key), what, strlen(what), mac);
	return xasprintf("%s/_services/storage/%s?sp=%s&se=%lld&sig=%s", f->base, b->id, write ? "w" : "r", until, mac);
}

void storage_take_file(struct storage_blob *b, int64_t size, const char *content_type)
{
	b->extents = xcalloc(1, sizeof(*b->extents));
	*b->extents = (struct storage_extent){0, size};
	b->extent_count = size > 0;
	b->size = b->used = size;
	b->content_type = xstrdup(content_type);
	b->sealed = true;
}

ssize_t storage_read(const struct storage_blob *b, int64_t at, char *buf, size_t max)
{
	int64_t begin = 0;
	for (size_t i = 0; i < b->extent_count; begin += b->extents[i++].len) {
		const struct storage_extent *e = &b->extents[i];
		if (at >= begin + e->len)
			continue;
		int64_t inside = at - begin;
		ssize_t n;
		do {
			n = pread(b->fd, buf, (size_t)MIN((int64_t)max, e->len - inside), (off_t)(e->offset + inside));
		} while (n < 0 && errno == EINTR);
		return n == 0 ? -1 : n;
	}
	return 0;
}

bool storage_digest(const struct storage_blob *b, char hex[DIGEST_HEX])
{
	_cleanup_free_ char *piece = xmalloc(PIECE);
	_cleanup_(digest_freep) struct digest *d = digest_new();
	int64_t at = 0;
	for (ssize_t n; at < b->size; at += n) {
		n = storage_read(b, at, piece, PIECE);
		if (n <= 0)
			return false;
		digest_update(d, piece, (size_t)n);
	}
	digest_hex(d, hex);
	return true;
}

/* ---- the list of a content's blocks ---- */

static const char *find_in(const char *text, size_t len, size_t at, const char *word)
{
	return at < len ? memmem(text + at, len - at, word, strlen(word)) : NULL;
}

bool storage_next_block(const char *xml, size_t len, size_t *at, char id[STORAGE_BLOCK_ID_MAX + 1])
{
	static const char *const kinds[] = {"Latest", "Uncommitted", "Committed"};
	const char *end = find_in(xml, len, *at, "</BlockList>"), *tag;
	if (*at == 0) {
		const char *begin = find_in(xml, len, 0, "<BlockList>"), *empty = find_in(xml, len, 0, "<BlockList/>");
		*at = begin != NULL && end != NULL && begin < end ? (size_t)(begin - xml) + strlen("<BlockList>")
		      : empty != NULL                             ? len
		                                                  : SIZE_MAX;
	}
	if (*at >= len || end == NULL)
		return false;
	for (tag = xml + *at; tag < end && strchr(" \t\r\n", *tag) != NULL && *tag != '\0'; tag++)
		continue;
	if (tag == end)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		_cleanup_free_ char *open = xasprintf("<%s>", kinds[i]), *close = xasprintf("</%s>", kinds[i]);
		if ((size_t)(end - tag) < strlen(open) || memcmp(tag, open, strlen(open)) != 0)
			continue;
		const char *text = tag + strlen(open);
		const char *stop = find_in(xml, len, (size_t)(text - xml), close);
		size_t n = stop != NULL ? (size_t)(stop - text) : 0;
		if (n == 0 || n > STORAGE_BLOCK_ID_MAX || memchr(text, '\0', n) != NULL || memchr(text, '<', n) != NULL)
			break;
		memcpy(id, text, n);
		id[n] = '\0';
		*at = (size_t)(stop - xml) + strlen(close);
		return true;
	}
	*at = SIZE_MAX;
	return false;
}

/* ---- a part of a content ---- */

bool storage_range(const char *text, int64_t size, int64_t *from, int64_t *len)
{
	long long first, last = size - 1;
	const char *dash = str_starts(text, "bytes=") ? strchr(text, '-') : NULL;
	if (dash == NULL || size == 0)
		return false;
	text += strlen("bytes=");
	_cleanup_free_ char *left = xstrndup(text, (size_t)(dash - text));
	if (*left == '\0') {
		if (!str_parse_i64(dash + 1, 1, INT64_MAX, &last))
			return false;
		*len = MIN(last, size);
		*from = size - *len;
		return true;
	}
	if (!str_parse_i64(left, 0, size - 1, &first) ||
	    (dash[1] != '\0' && !str_parse_i64(dash + 1, first, INT64_MAX, &last)))
		return false;
	*from = first;
	*len = MIN(last, size - 1) - first + 1;
	return true;
}
