/* What a server answers by SFTP: read within its bounds, whatever it is. */
#include "base/ssh_sftp_wire.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_names(struct sftp_cursor c)
{
	for (uint32_t left = sftp_get_u32(&c); left > 0 && !c.bad; left--) {
		struct sftp_text name = sftp_get_text(&c);
		if (sftp_name_is_sound(name))
			assert(memchr(name.data, '/', name.len) == NULL);
		sftp_get_text(&c);
		sftp_get_attrs(&c);
	}
	assert(c.p <= c.end);
}

static void read_texts(struct sftp_cursor c)
{
	while (!c.bad && c.p < c.end) {
		struct sftp_text text = sftp_get_text(&c);
		assert(c.bad ? text.len == 0 : text.data + text.len == (const char *)c.p);
	}
}

static void read_numbers(struct sftp_cursor c)
{
	for (int i = 0; i < 11; i++)
		sftp_get_u64(&c);
	assert(c.p <= c.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sftp_message m;
	for (int n; size > 0 && (n = sftp_frame(data, size, &m)) > 0; data += n, size -= (size_t)n) {
		struct sftp_cursor attrs = m.body;
		assert((size_t)n <= size && m.body.end == data + n);
		sftp_get_attrs(&attrs);
		read_names(m.body);
		read_texts(m.body);
		read_numbers(m.body);
	}
	return 0;
}
