#include "providers/proxmox/address.h"

#include "base/core/clock.h"
#include "base/core/mem.h"
#include "providers/proxmox/properties.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum { CONTAINER_MS = 30000, MACHINE_MS = 180000, PAUSE_MS = 500, PAUSE_MOST_MS = 3000, WORDS_MAX = 200 };

/* "10.0.0.5/24" → "10.0.0.5"; NULL: no address of IPv4 that leads to it from elsewhere. What a server says is nothing else. */
static char *plain_address(const char *text)
{
	struct in_addr a;
	_cleanup_free_ char *address = text != NULL ? xstrndup(text, strcspn(text, "/")) : NULL;
	bool valid = address != NULL && inet_pton(AF_INET, address, &a) == 1 && !str_starts(address, "127.") &&
	             !str_starts(address, "169.254.");
	return valid ? TAKE(address) : NULL;
}

static bool is_container(const struct guest *g)
{
	return strcmp(g->type, "lxc") == 0;
}

/* ---- by its configuration ---- */

/* `ip` of its first card; NULL: none is written there. free() */
static char *written_ip(const json_t *config, const char *key)
{
	json_t *parts _cleanup_json_ = NULL;
	const char *card = json_get_string(config, key);
	if (card == NULL || properties_read(card, "name", &parts, NULL) < 0)
		return NULL;
	return xstrdup(json_get_string(parts, "ip"));
}

static bool has_agent(const json_t *config)
{
	json_t *parts _cleanup_json_ = NULL;
	const char *agent = json_get_string(config, "agent");
	if (agent == NULL || properties_read(agent, "enabled", &parts, NULL) < 0)
		return json_get_int(config, "agent", 0) == 1;
	const char *enabled = json_get_string(parts, "enabled");
	return enabled != NULL && strcmp(enabled, "1") == 0;
}

bool address_is_told(const json_t *config)
{
	_cleanup_free_ char *ip = written_ip(config, "ipconfig0"), *plain = plain_address(ip);
	return plain != NULL || has_agent(config);
}

/* ---- by what runs in it ---- */

/* Bridges of an engine in it have addresses, too, which lead nowhere: its first card is known by its hardware address. */
static bool is_first_card(const struct guest *g, const json_t *row)
{
	const char *card = json_get_string(g->config, "net0"), *address = json_get_string(row, "hardware-address");
	size_t len = address != NULL ? strlen(address) : 0;
	for (const char *at = card; at != NULL && len > 0 && *at != '\0'; at++)
		if (strncasecmp(at, address, len) == 0)
			return true;
	return false;
}

static char *agents_address(const struct guest *g, const json_t *answer)
{
	const json_t *rows = json_object_get(answer, "result");
	char *found = NULL;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i), *addresses = json_object_get(row, "ip-addresses");
		for (size_t k = 0; is_first_card(g, row) && found == NULL && k < json_array_size(addresses); k++)
			found = plain_address(json_get_string(json_array_get(addresses, k), "ip-address"));
	}
	return found;
}

static char *nodes_address(const json_t *rows)
{
	char *found = NULL;
	for (size_t i = 0; found == NULL && i < json_array_size(rows); i++)
		found = plain_address(json_get_string(json_array_get(rows, i), "inet"));
	return found;
}

/* An agent that has not begun yet is an error to the server: *ret stays NULL, and `why` has its words. */
static int look(struct proxmox *p, const struct guest *g, struct wait *w, char **ret, struct str *why, struct err *err)
{
	json_t *answer _cleanup_json_ = NULL;
	struct err own = ERR_INIT;
	char line[1024];
	_cleanup_free_ char *path = guest_path(g, is_container(g) ? "/interfaces" : "/agent/network-get-interfaces");
	int r = proxmox_call(p, NULL, path, NULL, w, &answer, &own);
	if (r == 0)
		*ret = is_container(g) ? nodes_address(answer) : agents_address(g, answer);
	str_truncate(why, 0);
	if (!is_container(g) && (r == ERR_FAILED || r == ERR_PERMISSION)) {
		str_appendf(why, "its guest agent: %.*s", WORDS_MAX, err_line(&own, line, sizeof(line)));
		return r == ERR_PERMISSION ? r : 0;
	}
	if (r < 0 && err != NULL)
		*err = own;
	return r;
}

static int wait_for(struct proxmox *p, const struct guest *g, struct wait *w, char **ret, struct str *why,
                    struct err *err)
{
	int64_t most = is_container(g) ? CONTAINER_MS : MACHINE_MS, pause = PAUSE_MS,
		until = clock_mono_ms() + MIN(most, proxmox_task_timeout(p));
	for (;;) {
		int r = look(p, g, w, ret, why, err);
		if (r < 0 || *ret != NULL)
			return r;
		if (clock_mono_ms() >= until)
			break;
		r = wait_ms(w, MIN(pause, MAX(until - clock_mono_ms(), (int64_t)1)), err);
		if (r < 0)
			return r;
		pause = MIN(pause * 3 / 2, (int64_t)PAUSE_MOST_MS);
	}
	if (why->len == 0)
		str_append(why, "none was given to its first card");
	return 0;
}

int address_wait(struct proxmox *p, const struct guest *g, struct wait *w, char **ret, struct str *why, struct err *err)
{
	_cleanup_free_ char *ip = written_ip(g->config, is_container(g) ? "net0" : "ipconfig0");
	bool asks = is_container(g) ? ip != NULL && strcmp(ip, "dhcp") == 0 : has_agent(g->config);
	*ret = plain_address(ip);
	if (*ret != NULL)
		return 0;
	if (!g->running || !asks) {
		str_append(why, !g->running       ? "it does not run"
		                : is_container(g) ? "its first card has none of IPv4"
		                                  : "it has no guest agent (`agent: 1`), and no `ip` in `ipconfig0`");
		return 0;
	}
	int r = wait_for(p, g, w, ret, why, err);
	/* What it may not be asked for stays unknown; whoever needs it is told so. */
	return r == ERR_PERMISSION ? 0 : r;
}
