/* Texts of private keys: whatever they hold, what is made of them is a key's text with its own line ends, and mending it
 * again changes nothing. */
#include "base/ssh/ssh_priv.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(str_done) struct str once = STR_SECRET_INIT(1 << 20), twice = STR_SECRET_INIT(1 << 20),
				       notes = STR_INIT(1024), whole = STR_SECRET_INIT(1 << 20);
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	struct err err = ERR_INIT;
	char type[64];
	if (ssh_key_mend(text, &once, &notes, &err) == 0) {
		str_clear(&notes);
		if (!str_starts(str_peek(&once), "-----BEGIN ") || !str_ends(str_peek(&once), "-----\n") ||
		    ssh_key_mend(str_peek(&once), &twice, &notes, &err) < 0 ||
		    strcmp(str_peek(&once), str_peek(&twice)) != 0)
			abort();
	}
	ssh_key_check(text, "open", &whole, NULL, type, &err);
	return 0;
}
