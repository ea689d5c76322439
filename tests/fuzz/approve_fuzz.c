/* Lists of approvers, signatures and comments: whatever they hold, what is read of them is one person's name for each key, and no signature that was
 * not made by a key's owner counts. */
#include "steps/approve/approve.h"

#include "base/data/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Only a line of its own, with this id and this digest, agrees. */
static void read_comment(const json_t *comment)
{
	static const struct step_request request = {
		.id = "20260131T102030-3fa94c",
		.scope = "shop.production",
		.digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		.until_ms = INT64_MAX};
	_cleanup_json_ json_t *approval = approve_comment_read(&request, comment);
	const char *body = json_get_string(comment, "body");
	if (approval != NULL &&
	    (body == NULL || strstr(body, "/davit approve 20260131T102030-3fa94c 0123456789ab") == NULL ||
	     json_get_string(approval, "login") == NULL))
		abort();
}

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
	_cleanup_json_ json_t *comment = NULL;
	if (json_parse((const char *)data, size, 1 << 20, &comment, &err) == 0)
		read_comment(comment);
	return 0;
}
