/* A service's answer is read within its bounds, whatever it is. */
#include "providers/s3/answer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct s3_text xml = {(const char *)data, size};
	struct s3_text one;
	_cleanup_(str_done) struct str code = STR_INIT(64);
	size_t at = 0, before = 0;
	s3_answer_text(xml, "Code", &code);
	if (code.len > 64)
		abort();
	while (s3_answer_next(xml, "Contents", &at, &one)) {
		_cleanup_(str_done) struct str key = STR_INIT(4096);
		s3_answer_text(one, "Key", &key);
		if (at <= before || at > size || one.data < xml.data || one.data + one.len > xml.data + size)
			abort();
		before = at;
	}
	return 0;
}
