#include "base/data/walls_told.h"

#include "base/sys/walls.h"

static void read_texts(const json_t *list, struct strv *ret)
{
	size_t i;
	const json_t *text;
	json_array_foreach((json_t *)(uintptr_t)list, i, text) if (json_is_string(text))
		strv_add(ret, json_string_value(text));
}

int walls_told_raise(const json_t *told, struct err *err)
{
	_cleanup_(strv_done) struct strv closed = {0}, open = {0};
	if (!json_get_bool(told, "processes", false))
		return 0;
	read_texts(json_get_array(told, "closed"), &closed);
	read_texts(json_get_array(told, "open"), &open);
	bool files = json_get_bool(told, "files", false);
	const struct landlock_plan plan = {
		.closed = files ? (const char *const *)strv_null_terminated(&closed) : NULL,
		.open = (const char *const *)strv_null_terminated(&open),
		.signals = json_get_bool(told, "signals", false),
	};
	return walls_raise(&plan, err);
}
