/* Env files as they lie on a target: whatever they hold, reading them is bounded, and each line lies where it is said
 * to lie. */
#include "steps/secret_write/secret_write.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = ERR_INIT;
	struct env_file file = {0};
	if (env_read((const char *)data, size, &file, &err) == 0) {
		size_t at = 0;
		for (size_t i = 0; i < file.count; i++) {
			if (file.lines[i].start != at || file.lines[i].end <= at)
				abort();
			at = file.lines[i].end;
		}
		if (at != size)
			abort();
	}
	env_file_done(&file);
	/* What is written in any dialect is read back as it was. */
	for (int dialect = SECRET_WRITE_DIALECT_ANY; dialect <= SECRET_WRITE_DIALECT_SYSTEMD; dialect++) {
		struct str quoted = STR_SECRET_INIT(4 << 20);
		if (size < SECRET_MAX_VALUE && env_quote((enum secret_write_dialect)dialect, "KEY", (const char *)data,
		                                         size, &quoted, &err) == 0) {
			if (env_read(str_peek(&quoted), quoted.len, &file, &err) < 0 || file.count != 1 ||
			    file.lines[0].value.len != size || memcmp(str_peek(&file.lines[0].value), data, size) != 0)
				abort();
			env_file_done(&file);
		}
		str_done(&quoted);
	}
	secret_key_parse((const char *)data, size, &err);
	return 0;
}
