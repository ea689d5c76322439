#include "providers/proxmox/address.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "providers/proxmox/properties.h"

#include <arpa/inet.h>
#include <string.h>

enum { ADDRESS_MS = 30000, ADDRESS_PAUSE_MS = 500 };

/* "10.0.0.5/24" → "10.0.0.5"; NULL: no address of IPv4 that leads to it from elsewhere. What a server says is nothing else. */
static char *plain_address(const char *text)
{
	struct in_addr a;
	_cleanup_free_ char *address = text != NULL ? xstrndup(text, strcspn(text, "/")) : NULL;
	bool valid = address != NULL && inet_pton(AF_INET, address, &a) == 1 && !str_starts(address, "127.");
	return valid ? TAKE(address) : NULL;
}

/* Of its first card; *ret_dynamic: it is told one when it starts. */
static char *configured(const struct guest *g, bool *ret_dynamic)
{
	json_t *parts _cleanup_json_ = NULL;
	const char *card = json_get_string(g->config, "net0");
	*ret_dynamic = false;
	if (card == NULL || properties_read(card, "name", &parts, NULL) < 0)
		return NULL;
	const char *ip = json_get_string(parts, "ip");
	*ret_dynamic = ip != NULL && strcmp(ip, "dhcp") == 0;
	return plain_address(ip);
}

static int look(struct proxmox *p, const struct guest *g, struct wait *w, char **ret, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL;
	_cleanup_free_ char *path = guest_path(g, "/interfaces");
	int r = proxmox_call(p, NULL, path, NULL, w, &rows, err);
	for (size_t i = 0; r == 0 && *ret == NULL && i < json_array_size(rows); i++)
		*ret = plain_address(json_get_string(json_array_get(rows, i), "inet"));
	return r;
}

int address_wait(struct proxmox *p, const struct guest *g, struct wait *w, char **ret, struct err *err)
{
	bool dynamic = false;
	int64_t until = clock_mono_ms() + ADDRESS_MS;
	int r = 0;
	*ret = configured(g, &dynamic);
	while (r == 0 && *ret == NULL && dynamic && g->running) {
		r = look(p, g, w, ret, err);
		if (*ret != NULL || clock_mono_ms() >= until)
			break;
		if (r == 0)
			r = wait_ms(w, ADDRESS_PAUSE_MS, err);
	}
	return r;
}
