/* What Scaleway answers: refusals, objects, rules. Read or refused; nothing of it moves a cursor or gets into a path. */
#include "base/core/mem.h"
#include "providers/scaleway/instance.h"
#include "providers/scaleway/reply.h"
#include "providers/scaleway/security_group.h"
#include "providers/scaleway/volume.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_reply(const json_t *value)
{
	static const int statuses[] = {400, 401, 403, 404, 409, 429, 500, 503};
	struct str out _cleanup_(str_done) = STR_INIT(2048);
	reply_describe(value, &out);
	for (size_t i = 0; i < out.len; i++)
		if ((unsigned char)out.data[i] < ' ')
			abort();
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (reply_code(statuses[i], value, i % 2 == 0) >= 0 || reply_hint(statuses[i], value) == NULL)
			abort();
}

static void try_object(const json_t *value)
{
	const struct scaleway_kind *const kinds[] = {&scaleway_kind_instance, &scaleway_kind_ip, &scaleway_kind_volume,
	                                             &scaleway_kind_security_group};
	struct self self = {0};
	struct str why _cleanup_(str_done) = STR_INIT(4096);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		json_t *tags _cleanup_json_ = object_tags(kinds[i], value, NULL, "web", "davit=x");
		object_name(kinds[i], value);
		if (kinds[i]->settled != NULL)
			kinds[i]->settled(value);
		if (kinds[i]->broken != NULL)
			kinds[i]->broken(value);
		_cleanup_free_ char *word = kinds[i]->names != NULL ? kinds[i]->names(value) : NULL;
		if (word != NULL && strpbrk(word, " /?#%") != NULL)
			abort();
	}
	object_has_mark(value, "davit=x");
	instance_address(value);
	instance_is_self(&self, value, &why);
	volume_gb(value);
	volume_is_used(value);
}

/* What was read once is read the same again. */
static void try_rules(const json_t *value)
{
	json_t *rules _cleanup_json_ = security_group_rules(value);
	json_t *rows _cleanup_json_ = security_group_rows(rules), *again _cleanup_json_ = security_group_rules(rows);
	if (json_array_size(again) != json_array_size(rules))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *value _cleanup_json_ = NULL;
	if (json_parse((const char *)data, size, 1 << 20, &value, NULL) < 0)
		return 0;
	try_reply(value);
	try_object(value);
	try_rules(value);
	return 0;
}
