/* The lock and the copy of the change records lie on a target, which may write there what it likes: read or refused with a reason; a
 * record that was read comes out as it went in. */
#include "engine/record/change.h"
#include "engine/lock/lock.h"
#include "engine/target/target.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *content;
static size_t content_len;

static int give(struct view *v, const char *path, size_t max, struct str *out, struct err *err)
{
	(void)v;
	if (content_len > max || !str_append_n(out, content, content_len))
		return err_set(err, ERR_LIMIT, "'%s' is too large", path);
	return 0;
}

static void look_at_lock(struct view *v)
{
	_cleanup_json_ json_t *record = NULL;
	struct err err = ERR_INIT;
	if (lock_read(v, "/base/open/shop.production", &record, &err) < 0) {
		if (err.frame_count == 0)
			abort();
		return;
	}
	_cleanup_free_ char *text = lock_describe(record);
	if (text == NULL)
		abort();
	(void)lock_owner_process_gone(record);
}

static void look_at_changes(struct view *v)
{
	_cleanup_(plan_done) struct plan plan = {0};
	struct err err = ERR_INIT;
	if (lock_read_changes(v, "/base/open/shop.production", &plan, &err) < 0) {
		if (err.frame_count == 0)
			abort();
		return;
	}
	for (size_t i = 0; i < plan.count; i++) {
		_cleanup_json_ json_t *record = change_record(&plan.changes[i]), *again = NULL;
		_cleanup_(change_done) struct change change = {0};
		if (change_from_record(record, &change, &err) < 0)
			abort();
		again = change_record(&change);
		if (!json_equal(record, again))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct host_type type = {.read = give};
	char name[] = "web";
	struct view view = {.type = &type, .name = name};
	content = data;
	content_len = size;
	look_at_lock(&view);
	look_at_changes(&view);
	return 0;
}
