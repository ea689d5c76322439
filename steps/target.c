#include "steps/target.h"

#include "base/digest.h"
#include "base/json.h"
#include <string.h>

void node_done(struct node *n)
{
	free(n->link);
	n->link = NULL;
}

void target_result_done(struct target_result *r)
{
	str_done(&r->out);
	str_done(&r->err);
}

int target_new(const char *name, const json_t *config, struct target **ret, struct err *err)
{
	const char *become = json_get_string(config, "become");
	json_t *ssh = json_object_get(config, "ssh");
	json_t *local = json_object_get(config, "local");
	if ((ssh != NULL) == (local != NULL))
		return err_set(err, ERR_INVALID, "target '%s' needs exactly one of 'local' and 'ssh'", name);
	if (become && strcmp(become, "sudo") != 0)
		return err_set(err, ERR_INVALID, "target '%s': 'become' is 'sudo' or left out, not '%s'", name, become);
	if (ssh || become)
		return target_shell_new(name, config, ret, err);
	return target_local_new(name, config, ret, err);
}

void target_free(struct target *t)
{
	if (t)
		t->view.type->free(t);
}

void target_freep(struct target **t)
{
	target_free(*t);
}

void target_done(struct target *t)
{
	struct target_facts *f = &t->view.facts;
	free(f->base);
	free(f->identity);
	free(f->user);
	free(f->machine_id);
	free(f->boot_id);
	free(f->hostname);
	free(t->view.name);
	free(t->lock_dir);
	free(t->token);
}

char *target_private_name_for(const char *path, const char *purpose)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char hex[DIGEST_HEX];
	digest_of(name, strlen(name), hex);
	return xasprintf("%.*s.davit-%s-%.16s", (int)(name - path), path, purpose, hex);
}

char *target_private_name(const char *path)
{
	return target_private_name_for(path, "new");
}
