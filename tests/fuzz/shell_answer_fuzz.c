/* What a target's shell answers comes from a peer that may say anything, in pieces that are cut anywhere: however it is cut, the same
 * content is handed on, and the same end or the same refusal is seen. The first byte says how it is cut. */
#include "engine/target/shell/answer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONTENT_MAX = 4 << 20 };

static void keep(void *context, const char *data, size_t len)
{
	if (len == 0 || !str_append_n(context, data, len))
		abort();
}

struct outcome {
	struct answer answer;
	struct str content;
	int result;
};

static void read_in_pieces(struct outcome *o, const char *data, size_t len, size_t piece)
{
	struct err err = ERR_INIT;
	*o = (struct outcome){.answer = ANSWER_INIT("davit-1a2b"), .content = STR_INIT(CONTENT_MAX)};
	for (size_t at = 0; at < len && o->result == 0; at += piece)
		o->result = answer_take(&o->answer, data + at, MIN(piece, len - at), keep, &o->content, &err);
	if (o->result < 0 && err.frame_count == 0)
		abort();
	if (o->answer.done && (strchr(ANSWER_KINDS, o->answer.kind) == NULL || o->answer.status < 0))
		abort();
}

static void outcome_done(struct outcome *o)
{
	str_done(&o->answer.held);
	str_done(&o->content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(outcome_done) struct outcome whole = {0}, cut = {0};
	long long pid, start, group, *const numbers[] = {&pid, &start, &group};
	if (size == 0)
		return 0;
	const char *text = (const char *)data + 1;
	read_in_pieces(&whole, text, size - 1, size);
	read_in_pieces(&cut, text, size - 1, 1 + data[0] % 40u);
	if (whole.result != cut.result || whole.answer.done != cut.answer.done ||
	    whole.content.len != cut.content.len ||
	    memcmp(str_peek(&whole.content), str_peek(&cut.content), cut.content.len) != 0)
		abort();
	if (whole.answer.done && (whole.answer.kind != cut.answer.kind || whole.answer.status != cut.answer.status))
		abort();
	if (answer_numbers(str_peek(&whole.content), whole.content.len, numbers, ARRAY_SIZE(numbers)) &&
	    (pid < 0 || start < 0 || group < 0))
		abort();
	return 0;
}
