/* The document of a state and the record of its lock lie at a service, where others write too: read or refused with a reason. A document that was read is
 * written as one that reads the same; nothing that a holder wrote gets to a terminal as it is. */
#include "engine/state/holder.h"
#include "engine/state/state.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at_document(const uint8_t *data, size_t size)
{
	_cleanup_(state_document_done) struct state_document d = {0}, again = {0};
	_cleanup_(str_done) struct str text = STR_INIT(2 * STATE_MAX);
	struct err err = ERR_INIT;
	if (state_document_read((const char *)data, size, "shop.production", &d, &err) < 0) {
		if (err.frame_count == 0)
			abort();
		return;
	}
	if (state_document_text(&d, "shop.production", &text, &err) < 0 ||
	    state_document_read(str_peek(&text), text.len, "shop.production", &again, &err) < 0 ||
	    again.serial != d.serial || !json_equal(again.rows, d.rows))
		abort();
}

static void look_at_holder(const uint8_t *data, size_t size)
{
	_cleanup_json_ json_t *record = NULL;
	_cleanup_(state_holder_done) struct state_holder h = {0};
	if (json_parse((const char *)data, size, KEEPER_HOLDER_MAX, &record, NULL) < 0)
		return;
	state_holder_read(record, &h);
	_cleanup_free_ char *text = state_holder_describe(&h);
	for (const char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			abort();
	state_holder_renew(record, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	look_at_document(data, size);
	look_at_holder(data, size);
	return 0;
}
