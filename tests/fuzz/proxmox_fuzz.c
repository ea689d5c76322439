/* What a Proxmox server answers: names of tasks, configurations, values that are lists. Read or refused; what was read is safe in a path. */
#include "base/core/mem.h"
#include "providers/proxmox/attributes.h"
#include "providers/proxmox/properties.h"
#include "providers/proxmox/self.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_upid(const char *text)
{
	struct upid u;
	if (upid_read(text, &u, NULL) == 0 &&
	    (!upid_is_node(u.node) || strpbrk(u.node, "/%?#. ") != NULL || strchr(u.user, '/') != NULL))
		abort();
}

static void try_properties(const char *text)
{
	static const char *const keep[] = {"hwaddr", NULL};
	json_t *all _cleanup_json_ = NULL, *again _cleanup_json_ = NULL;
	struct str out _cleanup_(str_done) = STR_INIT(4 * PROPERTIES_MAX);
	if (properties_read(text, "volume", &all, NULL) < 0)
		return;
	if (!properties_include(text, text, "volume"))
		abort();
	free(properties_merge(text, text, "volume", keep));
	/* A value that has an equals sign behind a bare name would be read as a name. */
	properties_write(all, NULL, &out);
	if (properties_read(str_peek(&out), "volume", &again, NULL) < 0 || !json_equal(all, again))
		abort();
}

static void try_guest(const char *text, size_t size)
{
	struct guest g = {.there = true, .type = "qemu", .vmid = 101, .node = "pve"};
	struct self s = {0};
	struct str why _cleanup_(str_done) = STR_INIT(1 << 16);
	if (json_parse(text, size, 1 << 20, &g.config, NULL) == 0 && json_is_object(g.config)) {
		for (int i = 0; i < 2; i++) {
			snprintf(g.type, sizeof(g.type), "%s", i == 0 ? "qemu" : "lxc");
			json_t *node _cleanup_json_ = guest_node(&g);
			if (json_get_string(node, "node") == NULL || strcmp(json_get_string(node, "node"), "pve") != 0)
				abort();
			self_is(&s, &g, &why);
		}
	}
	guest_done(&g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	try_upid(text);
	try_properties(text);
	try_guest(text, strlen(text));
	return 0;
}
