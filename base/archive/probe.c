/* Decides if compression is worth the processor time, by a sample spread evenly over the entries to pack. */
#include "base/archive/archive.h"
#include "base/archive/tree_open.h"
#include <unistd.h>
#include <zlib.h>

enum { PROBE_PIECES = 12, PROBE_BYTES = 32 << 10, PROBE_WORTH = 97 /* per cent of the original size */ };

struct probe {
	Bytef in[PROBE_BYTES], out[PROBE_BYTES + PROBE_BYTES / 8 + 64];
};

/* The size after zlib at its fastest; 0: cannot be read, which the packing code will report. */
static size_t packed_size(struct probe *p, struct tree_opener *o, const struct tree_entry *e, int64_t offset,
                          size_t *ret_read)
{
	uLongf size = sizeof(p->out);
	ssize_t n;

	*ret_read = 0;
	if (e->content) {
		n = (ssize_t)MIN(e->size - offset, (int64_t)PROBE_BYTES);
		memcpy(p->in, e->content + offset, (size_t)n);
	} else {
		_cleanup_close_ int fd = tree_open(o, e->path, NULL);
		n = fd < 0 ? -1 : pread(fd, p->in, PROBE_BYTES, offset);
	}
	if (n <= 0 || compress2(p->out, &size, p->in, (uLong)n, 1) != Z_OK)
		return 0;
	*ret_read = (size_t)n;
	return size;
}

bool archive_packs_smaller(int dirfd, const struct tree *tree, const size_t *only, size_t only_count)
{
	struct tree_opener opener = TREE_OPENER_INIT(dirfd);
	_cleanup_free_ struct probe *p = xmalloc(sizeof(*p));
	size_t count = only ? only_count : tree->count, read = 0, packed = 0, piece = 0;
	int64_t total = 0, before = 0;

	for (size_t i = 0; i < count; i++)
		total += tree->entries[only ? only[i] : i].size;
	for (size_t i = 0; i < count && piece < PROBE_PIECES; i++) {
		const struct tree_entry *e = &tree->entries[only ? only[i] : i];
		/* The piece's place among all the bytes. */
		for (int64_t at;
		     piece < PROBE_PIECES && (at = total / PROBE_PIECES * (int64_t)piece) < before + e->size; piece++) {
			size_t n, size = S_ISREG(e->mode) ? packed_size(p, &opener, e, MAX(at - before, (int64_t)0), &n)
			                                  : (n = 0);
			read += n;
			packed += size;
		}
		before += e->size;
	}
	tree_opener_done(&opener);
	return read == 0 || packed * 100 < read * PROBE_WORTH;
}
