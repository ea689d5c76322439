/* apply with its kinds of resources: its own, and those that providers bring. A new one is one more line here. */
#include "steps/apply/apply.h"

extern const struct resource_type resource_file, resource_directory, resource_lines, resource_link, resource_lxc,
	resource_qemu, resource_group, resource_user, resource_authorized_key, resource_package, resource_systemd_unit,
	resource_cron, resource_sysctl, resource_docker_network, resource_docker_volume, resource_scaleway_instance,
	resource_scaleway_ip, resource_scaleway_volume, resource_scaleway_security_group;

static const struct field_choice *const resources[] = {
	&resource_file.choice,
	&resource_directory.choice,
	&resource_lines.choice,
	&resource_link.choice,
	&resource_lxc.choice,
	&resource_qemu.choice,
	&resource_group.choice,
	&resource_user.choice,
	&resource_authorized_key.choice,
	&resource_package.choice,
	&resource_systemd_unit.choice,
	&resource_cron.choice,
	&resource_sysctl.choice,
	&resource_docker_network.choice,
	&resource_docker_volume.choice,
	&resource_scaleway_instance.choice,
	&resource_scaleway_ip.choice,
	&resource_scaleway_volume.choice,
	&resource_scaleway_security_group.choice,
	NULL,
};

extern const struct step_type apply_step;
const struct step_type apply_step = {APPLY_STEP, .choices = resources};
