#include "agent/deployment/certificates.h"

static const char member[] = "tls";

json_t *certificates_of(const struct step_info *info, const json_t *input)
{
	json_t *list, *found, *item;
	size_t i;
	if (info == NULL || info->certificates == NULL || (list = json_get_array(input, info->certificates)) == NULL)
		return NULL;
	found = json_array();
	json_array_foreach(list, i, item)
	{
		const json_t *tls = json_get_object(item, member);
		if (tls != NULL)
			json_array_append_new(found, json_pack("{s:O}", member, tls));
	}
	if (json_array_size(found) > 0)
		return found;
	json_decref(found);
	return NULL;
}
