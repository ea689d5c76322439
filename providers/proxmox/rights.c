#include "providers/proxmox/rights.h"

#include <string.h>

static bool has(const json_t *rights, const char *path, const char *name)
{
	const json_t *value = json_object_get(json_object_get(rights, path), name);
	return value != NULL && !json_is_null(value);
}

int rights_check(struct proxmox *p, const char *path, const char *const *wanted, struct wait *w, struct err *err)
{
	json_t *rights _cleanup_json_ = NULL, *params _cleanup_json_ = json_pack("{s:s}", "path", path);
	struct str missing _cleanup_(str_done) = STR_INIT(1024);
	int r = proxmox_call(p, NULL, "/access/permissions", params, w, &rights, err);
	if (r < 0)
		return r;
	for (size_t i = 0; wanted[i] != NULL; i++)
		if (!has(rights, path, wanted[i]))
			str_appendf(&missing, "%s%s", missing.len > 0 ? ", " : "", wanted[i]);
	if (missing.len == 0)
		return 0;
	err_set(err, ERR_PERMISSION, "the token %s lacks %s on %s", proxmox_token(p), str_peek(&missing), path);
	return err_hint(
		err, ERR_PERMISSION,
		"give them to the token and to its user: a token with privilege separation has only what both have");
}
