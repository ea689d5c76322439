#include "providers/proxmox/target.h"

#include "base/core/mem.h"
#include "schemas/targets/proxmox.h"

#include <stdlib.h>

struct proxmox_target {
	struct target t;
	struct proxmox *proxmox;
};

/* The first question shows whether the server is the right one and takes the token. */
static int open_target(struct view *v, struct err *err)
{
	const struct proxmox_target *t = (const struct proxmox_target *)(const void *)v;
	json_t *version _cleanup_json_ = NULL;
	if (v->facts.identity != NULL)
		return 0;
	int r = proxmox_call(t->proxmox, NULL, "/version", NULL, v->wait, &version, err);
	if (r < 0)
		return err_wrap(err, r, "target '%s'", v->name);
	v->facts.identity = xasprintf("proxmox:%s", proxmox_host(t->proxmox));
	return 0;
}

static void free_target(struct target *t)
{
	struct proxmox_target *p = (struct proxmox_target *)(void *)t;
	target_done(t);
	proxmox_free(p->proxmox);
	free(p);
}

static const struct target_type proxmox_type = {.name = "proxmox", .open = open_target, .free = free_target};

int proxmox_target_new(const struct target_config *config, struct target **ret, struct err *err)
{
	const struct target_proxmox *given = config->kind.typed;
	const struct proxmox_config login = {given->url,         given->token_id, given->token_secret,
	                                     given->fingerprint, given->ca_file,  given->task_timeout_ms};
	struct proxmox *proxmox = NULL;
	int r = proxmox_new(&login, &proxmox, err);
	if (r < 0)
		return err_wrap(err, r, "target '%s'", config->name);
	struct proxmox_target *t = xcalloc(1, sizeof(*t));
	t->t.view.kind = &proxmox_type;
	t->t.view.name = xstrdup(config->name);
	t->proxmox = proxmox;
	*ret = &t->t;
	return 0;
}

struct proxmox *proxmox_of_target(const struct view *v)
{
	return v->kind == &proxmox_type ? ((const struct proxmox_target *)(const void *)v)->proxmox : NULL;
}
