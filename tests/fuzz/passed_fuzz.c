/* The record of what passed a gate, as a host shows it, and the list of agents beside it: what is read of a record comes out as it went in,
 * holds nothing that steers a terminal, and no line counts whose signature was not made by its key. */
#include "engine/record/passed.h"
#include "steps/promote/promote.h"

#include <stdint.h>
#include <stdlib.h>

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void look_at_line(const struct passed_line *l)
{
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	passed_statement(l, &text);
	for (size_t i = 0; i < text.len; i++)
		must(text.data[i] == '\n' || (text.data[i] > ' ' && text.data[i] < 0x7f) || text.data[i] == ' ');
	for (size_t i = 0; i < l->digests.count; i++)
		must(passed_is_digest(l->digests.items[i]));
	passed_is_signed(l);
}

static void look_at_record(const char *data, size_t size)
{
	_cleanup_(passed_done) struct passed record = {0}, again = {0};
	_cleanup_(str_done) struct str text = STR_INIT(PASSED_MAX), twice = STR_INIT(PASSED_MAX);
	struct err err = ERR_INIT;
	if (passed_read(data, size, &record, &err) < 0) {
		must(err.frame_count > 0);
		return;
	}
	must(record.count <= PASSED_LINES);
	for (size_t i = 0; i < record.count; i++)
		look_at_line(&record.items[i]);
	passed_write(&record, &text);
	must(passed_read(str_peek(&text), text.len, &again, &err) == 0 && again.count == record.count &&
	     again.damaged == 0);
	passed_write(&again, &twice);
	must(strcmp(str_peek(&text), str_peek(&twice)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *input = xstrndup((const char *)data, size);
	_cleanup_(agents_freep) struct agents *agents = NULL;
	static const unsigned char nobody[ED25519_KEY_SIZE];
	struct err err = ERR_INIT;
	look_at_record((const char *)data, size);
	if (agents_parse(input, "agents", &agents, &err) == 0)
		agents_of_key(agents, nobody);
	else
		must(err.frame_count > 0);
	return 0;
}
