/* A pack as it streams by: "PACK", version 2, the number of objects; each object a header of type and size in groups of 7 bits, for a
 * delta where its base is, then zlib; a checksum of 20 bytes. Source: gitformat-pack of git's documentation. */
#include <string.h>
#include <zlib.h>

#include "base/core/str.h"
#include "base/git/prewrite.h"

enum state { HEADER, SIZE, OFFSET, BASE, CONTENT, OVER };
enum { HEADER_BYTES = 12, TYPE_OFFSET_DELTA = 6, TYPE_BASE_DELTA = 7, SCRATCH = 64 << 10 };

struct git_unpack {
	git_unpack_fn object;
	void *context;
	enum state state;
	unsigned char head[HEADER_BYTES];
	size_t have;   /* bytes of head, or of the base's id */
	uint32_t left; /* objects */
	unsigned type, shift;
	uint64_t size;
	z_stream z;
	struct str content; /* of an object that is wanted */
	bool wanted;
	char scratch[SCRATCH];
};

struct git_unpack *git_unpack_new(git_unpack_fn object, void *context)
{
	struct git_unpack *u = xcalloc(1, sizeof(*u));
	u->object = object;
	u->context = context;
	u->content = (struct str)STR_INIT(EARLY_OBJECT_MAX + 2);
	if (inflateInit(&u->z) != Z_OK)
		u->state = OVER;
	return u;
}

void git_unpack_free(struct git_unpack *u)
{
	if (u == NULL)
		return;
	inflateEnd(&u->z);
	str_done(&u->content);
	free(u);
}

static void next_object(struct git_unpack *u)
{
	u->state = u->left == 0 ? OVER : SIZE;
	u->shift = 0;
	u->have = 0;
	u->size = 0;
}

static void on_header(struct git_unpack *u, unsigned char byte)
{
	u->head[u->have++] = byte;
	if (u->have < HEADER_BYTES)
		return;
	u->left = (uint32_t)u->head[8] << 24 | (uint32_t)u->head[9] << 16 | (uint32_t)u->head[10] << 8 | u->head[11];
	if (memcmp(u->head, "PACK\0\0\0\2", 8) != 0)
		u->left = 0;
	next_object(u);
}

static void begin_content(struct git_unpack *u)
{
	u->state = CONTENT;
	u->wanted = u->type >= GIT_OBJECT_COMMIT && u->type <= GIT_OBJECT_BLOB && u->size <= EARLY_OBJECT_MAX;
	str_clear(&u->content);
	if (inflateReset(&u->z) != Z_OK)
		u->state = OVER;
}

static void on_size(struct git_unpack *u, unsigned char byte)
{
	if (u->shift == 0) {
		u->type = (byte >> 4) & 7;
		u->size = byte & 15;
		u->shift = 4;
	} else {
		u->size |= (uint64_t)(byte & 127) << u->shift;
		u->shift += 7;
	}
	if (byte & 128) {
		if (u->shift > 53)
			u->state = OVER;
		return;
	}
	u->left--;
	if (u->type == TYPE_OFFSET_DELTA)
		u->state = OFFSET;
	else if (u->type == TYPE_BASE_DELTA)
		u->state = BASE;
	else
		begin_content(u);
}

/* Returns the number of bytes used. Offers one byte more than the size, so that a longer object is noticed. */
static size_t on_content(struct git_unpack *u, const unsigned char *data, size_t len)
{
	size_t room = u->wanted ? (size_t)u->size + 1 - u->content.len : SCRATCH;
	char *to = u->wanted ? str_reserve(&u->content, room) : u->scratch;
	if (to == NULL) {
		u->state = OVER;
		return len;
	}
	u->z.next_in = (unsigned char *)(uintptr_t)data;
	u->z.avail_in = (unsigned)MIN(len, (size_t)1 << 30);
	u->z.next_out = (unsigned char *)to;
	u->z.avail_out = (unsigned)room;
	size_t offered = u->z.avail_in;
	int r = inflate(&u->z, Z_NO_FLUSH);
	if (u->wanted)
		u->content.len += room - u->z.avail_out;
	if (r != Z_OK && r != Z_STREAM_END)
		u->state = OVER;
	if (u->wanted && u->content.len > u->size)
		u->state = OVER;
	if (r == Z_STREAM_END && u->state == CONTENT) {
		bool more = !u->wanted ||
		            (u->content.len == u->size &&
		             u->object(u->context, (git_object_t)u->type, str_peek(&u->content), u->content.len));
		next_object(u);
		if (!more)
			u->state = OVER;
	}
	return offered - u->z.avail_in;
}

bool git_unpack_feed(struct git_unpack *u, const void *data, size_t len)
{
	const unsigned char *p = data, *end = p + len;
	while (p < end && u->state != OVER) {
		switch (u->state) {
		case HEADER:
			on_header(u, *p++);
			break;
		case SIZE:
			on_size(u, *p++);
			break;
		case OFFSET:
			if (!(*p++ & 128))
				begin_content(u);
			break;
		case BASE:
			p++;
			if (++u->have == GIT_OID_RAWSZ)
				begin_content(u);
			break;
		default:
			p += on_content(u, p, (size_t)(end - p));
		}
	}
	return u->state != OVER;
}
