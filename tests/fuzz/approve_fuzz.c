/* Lists of approvers and signatures: whatever they hold, what is read of them is one person's name for each key, and no signature that was
 * not made by a key's owner counts. */
#include "steps/approve/approve.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char text[] = "davit approval 1\n";
	_cleanup_free_ char *input = xstrndup((const char *)data, size);
	_cleanup_(approvers_freep) struct approvers *list = NULL;
	struct approve_signature s;
	struct err err = ERR_INIT;
	if (approvers_parse(input, "approvers", &list, &err) == 0) {
		const struct strv *names = approvers_names(list);
		for (size_t i = 0; i < names->count; i++)
			if (!approvers_is(list, names->items[i], names->items[i]))
				abort();
	}
	if (approve_signature_read(input, &s, &err) == 0) {
		approve_signature_check(&s, text, strlen(text), &err);
		if (list != NULL)
			approvers_of_key(list, s.key);
	}
	return 0;
}
