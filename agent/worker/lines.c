#include "agent/worker/lines.h"

void lines_init(struct lines *l, size_t max, const struct mask *mask)
{
	*l = (struct lines){.part = STR_INIT(max), .mask = mask};
}

static void give(struct lines *l, line_fn line, void *context)
{
	line(context, str_peek(&l->part), l->part.len);
	str_clear(&l->part);
}

/* A line longer than what is kept: what no secret reaches out of goes, the rest waits for its continuation. */
static void give_part(struct lines *l, line_fn line, void *context)
{
	static const char lost[] = "(the rest of this line was left out: a secret in it is longer than what is masked)";
	size_t cut = l->mask != NULL ? mask_cut(l->mask, l->part.data, l->part.len) : l->part.len;
	if (cut == 0) {
		l->dropping = true;
		str_clear(&l->part);
		str_append(&l->part, lost);
		give(l, line, context);
		return;
	}
	line(context, l->part.data, cut);
	str_remove_front(&l->part, cut);
}

static void add(struct lines *l, const char *data, size_t len, line_fn line, void *context)
{
	while (len > 0 && !l->dropping) {
		size_t n = MIN(len, l->part.max - l->part.len);
		str_append_n(&l->part, data, n);
		data += n;
		len -= n;
		if (len > 0)
			give_part(l, line, context);
	}
}

void lines_feed(struct lines *l, const char *data, size_t len, line_fn line, void *context)
{
	const char *end = data + len;
	while (data < end) {
		if (l->after_cr && *data == '\n') {
			l->after_cr = false;
			data++;
			continue;
		}
		l->after_cr = false;
		size_t n = 0;
		while (data + n < end && data[n] != '\n' && data[n] != '\r')
			n++;
		add(l, data, n, line, context);
		data += n;
		if (data < end) {
			l->after_cr = *data++ == '\r';
			if (!l->dropping)
				give(l, line, context);
			l->dropping = false;
		}
	}
}

void lines_end(struct lines *l, line_fn line, void *context)
{
	if (l->part.len > 0)
		give(l, line, context);
}

void lines_done(struct lines *l)
{
	str_done(&l->part);
}
