/* A deployment that waits for people goes on in another process, long after the values of its file are gone: they are sealed with it. */
#include "agent/deployment/file_priv.h"
#include "base/secret/mask.h"

#include <string.h>

enum { SEALED_MAX = 16 << 20 };
static const char member[] = "going_on";

static bool waits(const struct deployment_file *d)
{
	size_t i;
	json_t *step;
	json_array_foreach(json_object_get(d->deployment, "steps"), i, step)
	{
		const char *name = json_get_string(step, "step");
		const struct step_info *info = name ? step_info(name) : NULL;
		if (info && info->waits)
			return true;
	}
	return false;
}

void deployment_file_keep(struct deployment_file *d, const json_t *masked, const char *actor)
{
	if (!waits(d))
		return;
	json_t *secrets = json_object_get(d->contexts, "secrets"), *token = json_object_get(d->deployment, "token");
	json_t *masks = masked ? json_deep_copy(masked) : json_array();
	if (secrets)
		json_array_append(masks, secrets);
	if (token)
		json_array_append(masks, token);
	json_object_set_new(d->deployment, member,
	                    json_pack("{s:o, s:O, s:O}", "masks", masks, "contexts", d->contexts, "late", d->late));
	if (actor && *actor)
		json_object_set_new(d->deployment, "actor", json_string_lossy(actor, strlen(actor)));
}

int deployment_file_parked(struct store *s, const char *id, struct deployment_file **ret, struct err *err)
{
	struct deployment_file *d _cleanup_(deployment_file_freep) = file_document_new(NULL);
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(SEALED_MAX + 1024);
	json_t *sealed = NULL;
	int r = store_unseal(s, id, &text, err);
	if (r == 0)
		r = json_parse(str_peek(&text), text.len, SEALED_MAX, &sealed, err);
	if (r < 0)
		return err_wrap(err, r, "read what the deployment %s needs to go on", id);
	json_decref(d->deployment);
	d->deployment = sealed;
	const json_t *kept = json_object_get(sealed, member);
	json_object_update(d->contexts, json_object_get(kept, "contexts"));
	json_object_update(d->late, json_object_get(kept, "late"));
	deployment_values_mask(json_object_get(kept, "masks"));
	*ret = TAKE(d);
	return 0;
}
