#include "steps/registry.h"

#include "base/sys/walls.h"
#include "base/data/json.h"
#include "providers/http/target.h"
#include "providers/proxmox/target.h"
#include "providers/registry/target.h"
#include "providers/s3/target.h"
#include "providers/scaleway/target.h"
#include "schemas/targets/http.h"
#include "schemas/targets/local.h"
#include "schemas/targets/proxmox.h"
#include "schemas/targets/registry.h"
#include "schemas/targets/s3.h"
#include "schemas/targets/scaleway.h"
#include "schemas/targets/ssh.h"
#include "steps/apply/apply.h"

#include <string.h>

extern const struct step_type apply_step, approve_step, archive_upload_step, bootstrap_step, checkout_step,
	compose_up_step, health_gate_step, notify_step, preflight_step, promote_step, restore_step, run_step,
	secret_write_step, snapshot_step, terraform_step;

/* In the order of docs/steps. */
static const struct step_type *const steps[] = {
	&checkout_step,     &preflight_step,      &approve_step,    &bootstrap_step,
	&snapshot_step,     &restore_step,        &apply_step,      &terraform_step,
	&secret_write_step, &archive_upload_step, &compose_up_step, &run_step,
	&health_gate_step,  &promote_step,        &notify_step,     NULL,
};

const struct step_type *const *step_all(size_t *ret_count)
{
	*ret_count = sizeof(steps) / sizeof(steps[0]) - 1;
	return steps;
}

const struct step_type *step_find(const char *name)
{
	for (size_t i = 0; steps[i]; i++)
		if (strcmp(steps[i]->info->name, name) == 0)
			return steps[i];
	return NULL;
}

static const struct change_type *find_among(const struct change_type *const *kinds, const char *kind)
{
	for (size_t i = 0; kinds && kinds[i]; i++)
		if (strcmp(kinds[i]->name, kind) == 0)
			return kinds[i];
	return NULL;
}

const struct change_type *change_find(const char *kind)
{
	const struct change_type *found = NULL;
	for (size_t i = 0; !found && steps[i]; i++)
		found = find_among(steps[i]->kinds, kind);
	for (size_t i = 0; !found && apply_step.choices[i]; i++)
		found = find_among(resource_type_of(apply_step.choices[i])->kinds, kind);
	return found;
}

/* This process works outside the walls of a job's commands; a shell works behind them. */
static int make_local(const struct target_config *config, struct target **ret, struct err *err)
{
	bool by_shell = config->host.has_become || walls_stand();
	return by_shell ? target_shell_new(config, ret, err) : target_local_new(config, ret, err);
}

static void describe_local(const struct target_config *config, json_t *ret)
{
	(void)config;
	json_object_set_new(ret, "host", json_string("localhost"));
}

static void describe_ssh(const struct target_config *config, json_t *ret)
{
	const struct target_ssh *ssh = config->kind.typed;
	json_object_set_new(ret, "port", json_integer((json_int_t)ssh->port));
	json_object_set_new(ret, "host", json_string(ssh->host));
	if (ssh->user.count > 0)
		json_object_set_new(ret, "user", json_string(ssh->user.items[0]));
}

static const struct target_kind local = {
	.choice = TARGET_LOCAL_CHOICE, .is_host = true, .make = make_local, .describe = describe_local};
static const struct target_kind ssh = {.choice = TARGET_SSH_CHOICE,
                                       .is_host = true,
                                       .is_remote = true,
                                       .make = target_shell_new,
                                       .describe = describe_ssh};

static const struct target_kind registry = {.choice = TARGET_REGISTRY_CHOICE, .make = registry_target_new};

static void describe_proxmox(const struct target_config *config, json_t *ret)
{
	const struct target_proxmox *proxmox = config->kind.typed;
	json_object_set_new(ret, "url", json_string(proxmox->url));
}

static const struct target_kind proxmox = {
	.choice = TARGET_PROXMOX_CHOICE, .make = proxmox_target_new, .describe = describe_proxmox};

static void describe_s3(const struct target_config *config, json_t *ret)
{
	const struct target_s3 *s3 = config->kind.typed;
	json_object_set_new(ret, "url", json_string(s3->url));
}

static const struct target_kind s3 = {.choice = TARGET_S3_CHOICE, .make = s3_target_new, .describe = describe_s3};

static void describe_http(const struct target_config *config, json_t *ret)
{
	const struct target_http *http = config->kind.typed;
	json_object_set_new(ret, "url", json_string(http->address));
}

static const struct target_kind http = {
	.choice = TARGET_HTTP_CHOICE, .make = http_target_new, .describe = describe_http};

static void describe_scaleway(const struct target_config *config, json_t *ret)
{
	const struct target_scaleway *scaleway = config->kind.typed;
	json_object_set_new(ret, "zone", json_string(scaleway->zone));
}

static const struct target_kind scaleway = {
	.choice = TARGET_SCALEWAY_CHOICE, .make = scaleway_target_new, .describe = describe_scaleway};

const struct field_choice *const target_kinds[] = {
	&local.choice, &ssh.choice, &registry.choice, &proxmox.choice, &s3.choice, &scaleway.choice, &http.choice, NULL,
};
