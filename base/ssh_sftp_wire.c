#include "base/ssh_sftp_wire.h"

#include <string.h>

enum { ATTR_SIZE = 1, ATTR_OWNER = 2, ATTR_MODE = 4, ATTR_TIMES = 8 };
#define ATTR_EXTENDED 0x80000000u

static const unsigned char *take(struct sftp_cursor *c, size_t len)
{
	if (c->bad || len > (size_t)(c->end - c->p)) {
		c->bad = true;
		return NULL;
	}
	c->p += len;
	return c->p - len;
}

uint32_t sftp_get_u32(struct sftp_cursor *c)
{
	const unsigned char *p = take(c, 4);
	return p != NULL ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

uint64_t sftp_get_u64(struct sftp_cursor *c)
{
	uint64_t high = sftp_get_u32(c), low = sftp_get_u32(c);
	return c->bad ? 0 : high << 32 | low;
}

struct sftp_text sftp_get_text(struct sftp_cursor *c)
{
	size_t len = sftp_get_u32(c);
	const unsigned char *p = take(c, len);
	return p != NULL ? (struct sftp_text){.data = (const char *)p, .len = len} : (struct sftp_text){.data = ""};
}

static char type_of(uint32_t mode)
{
	switch (mode & 0170000) {
	case 0100000:
		return 'f';
	case 0040000:
		return 'd';
	case 0120000:
		return 'l';
	case 0:
		return '?';
	default:
		return 'o';
	}
}

struct sftp_stat sftp_get_attrs(struct sftp_cursor *c)
{
	struct sftp_stat st = {.type = '?'};
	uint32_t flags = sftp_get_u32(c);
	if (flags & ATTR_SIZE)
		st.size = sftp_get_u64(c);
	if (flags & ATTR_OWNER) {
		st.uid = sftp_get_u32(c);
		st.gid = sftp_get_u32(c);
	}
	if (flags & ATTR_MODE) {
		uint32_t mode = sftp_get_u32(c);
		st.type = type_of(mode);
		st.mode = mode & 07777;
	}
	if (flags & ATTR_TIMES) {
		sftp_get_u32(c);
		st.mtime_s = sftp_get_u32(c);
	}
	if (flags & ATTR_EXTENDED) {
		/* Pairs of texts; a count that is too large ends with the message. */
		for (uint32_t left = sftp_get_u32(c); left > 0 && !c->bad; left--) {
			sftp_get_text(c);
			sftp_get_text(c);
		}
	}
	return c->bad ? (struct sftp_stat){.type = '?'} : st;
}

int sftp_frame(const void *data, size_t len, struct sftp_message *ret)
{
	struct sftp_cursor c = {.p = data, .end = (const unsigned char *)data + len};
	if (len < 5)
		return 0;
	size_t size = sftp_get_u32(&c);
	if (size < 5 || size > SFTP_MESSAGE_MAX)
		return ERR_PROTOCOL;
	if (size > len - 4)
		return 0;
	c.end = c.p + size;
	ret->type = (enum sftp_type) * take(&c, 1);
	ret->id = ret->type != SFTP_VERSION_REPLY ? sftp_get_u32(&c) : 0;
	ret->body = c;
	return (int)(size + 4);
}

bool sftp_name_is_sound(struct sftp_text name)
{
	return name.len > 0 && name.len <= SFTP_PATH_MAX && memchr(name.data, '\0', name.len) == NULL &&
	       memchr(name.data, '/', name.len) == NULL;
}

void sftp_put_u32(struct str *out, uint32_t value)
{
	unsigned char bytes[4] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
	                          (unsigned char)(value >> 8), (unsigned char)value};
	str_append_n(out, bytes, sizeof(bytes));
}

void sftp_put_u64(struct str *out, uint64_t value)
{
	sftp_put_u32(out, (uint32_t)(value >> 32));
	sftp_put_u32(out, (uint32_t)value);
}

void sftp_put_text(struct str *out, const void *data, size_t len)
{
	sftp_put_u32(out, (uint32_t)len);
	str_append_n(out, data, len);
}

void sftp_put_mode(struct str *out, unsigned mode)
{
	sftp_put_u32(out, ATTR_MODE);
	sftp_put_u32(out, mode);
}

size_t sftp_begin(struct str *out, enum sftp_type type, uint32_t id)
{
	size_t begin = out->len;
	sftp_put_u32(out, 0);
	str_append_c(out, (char)type);
	sftp_put_u32(out, id);
	return begin;
}

void sftp_end(struct str *out, size_t begin)
{
	if (out->failed)
		return;
	uint32_t size = (uint32_t)(out->len - begin - 4);
	unsigned char *p = (unsigned char *)out->data + begin;
	p[0] = (unsigned char)(size >> 24);
	p[1] = (unsigned char)(size >> 16);
	p[2] = (unsigned char)(size >> 8);
	p[3] = (unsigned char)size;
}
