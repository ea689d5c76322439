#include "providers/proxmox/guest.h"

#include "base/core/mem.h"

#include <inttypes.h>
#include <string.h>

void guest_done(struct guest *g)
{
	free(g->name);
	free(g->lock);
	json_decref(g->config);
	json_decref(g->waiting);
	*g = (struct guest){0};
}

char *guest_path(const struct guest *g, const char *behind)
{
	return xasprintf("/nodes/%s/%s/%" PRId64 "%s", g->node, g->type, g->vmid, behind);
}

/* Numbers come as numbers or as texts. */
static int64_t number_of(const json_t *row, const char *name)
{
	const char *text = json_get_string(row, name);
	long long number = -1;
	if (text != NULL)
		return str_parse_i64(text, 0, INT32_MAX, &number) ? number : -1;
	return json_get_int(row, name, -1);
}

static int list_guests(struct proxmox *p, struct wait *w, json_t **ret, struct err *err)
{
	json_t *params _cleanup_json_ = json_pack("{s:s}", "type", "vm");
	int r = proxmox_call(p, NULL, "/cluster/resources", params, w, ret, err);
	if (r == 0 && !json_is_array(*ret)) {
		json_decref(TAKE(*ret));
		r = err_set(err, ERR_PROTOCOL, "%s: the list of guests is no list", proxmox_host(p));
	}
	return r;
}

static int take_row(const json_t *row, struct guest *ret, struct err *err)
{
	const char *type = json_get_string(row, "type"), *node = json_get_string(row, "node"),
		   *name = json_get_string(row, "name");
	if (type == NULL || (strcmp(type, "lxc") != 0 && strcmp(type, "qemu") != 0) || node == NULL ||
	    !upid_is_node(node))
		return err_set(err, ERR_PROTOCOL, "guest %" PRId64 " is of no known kind, or on no node", ret->vmid);
	snprintf(ret->type, sizeof(ret->type), "%s", type);
	snprintf(ret->node, sizeof(ret->node), "%s", node);
	ret->name = xstrdup(name);
	ret->there = true;
	return 0;
}

/* The list leaves out what the token may not see; the next free id does not. */
static int ask_hidden(struct proxmox *p, int64_t vmid, struct wait *w, bool *ret, struct err *err)
{
	json_t *params _cleanup_json_ = json_pack("{s:I}", "vmid", (json_int_t)vmid);
	int r = proxmox_call(p, NULL, "/cluster/nextid", params, w, NULL, err);
	*ret = r == ERR_INVALID;
	if (r == ERR_INVALID && err != NULL)
		err_clear(err);
	return r == ERR_INVALID ? 0 : r;
}

int guest_find(struct proxmox *p, int64_t vmid, struct wait *w, struct guest *ret, bool *ret_hidden, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL;
	int r = list_guests(p, w, &rows, err);
	*ret = (struct guest){.vmid = vmid};
	if (ret_hidden != NULL)
		*ret_hidden = false;
	for (size_t i = 0; r == 0 && i < json_array_size(rows); i++)
		if (number_of(json_array_get(rows, i), "vmid") == vmid)
			return take_row(json_array_get(rows, i), ret, err);
	return r == 0 && ret_hidden != NULL ? ask_hidden(p, vmid, w, ret_hidden, err) : r;
}

int guest_namesakes(struct proxmox *p, const char *name, int64_t but, struct wait *w, struct str *out, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL;
	int r = list_guests(p, w, &rows, err);
	for (size_t i = 0; r == 0 && i < json_array_size(rows); i++) {
		const char *other = json_get_string(json_array_get(rows, i), "name");
		int64_t vmid = number_of(json_array_get(rows, i), "vmid");
		if (other != NULL && strcmp(other, name) == 0 && vmid != but)
			str_appendf(out, "%s%" PRId64, out->len > 0 ? ", " : "", vmid);
	}
	return r;
}

static int read_waiting(struct proxmox *p, struct guest *g, struct wait *w, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL;
	_cleanup_free_ char *path = guest_path(g, "/pending");
	int r = proxmox_call(p, NULL, path, NULL, w, &rows, err);
	if (r < 0)
		return r;
	g->waiting = json_array();
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const char *key = json_get_string(row, "key");
		bool waits = json_object_get(row, "pending") != NULL || number_of(row, "delete") > 0;
		if (key != NULL && waits)
			json_array_append_new(g->waiting, json_string(key));
	}
	return 0;
}

/* While a guest is made its configuration may not be there yet. */
static int read_config(struct proxmox *p, struct guest *g, struct wait *w, struct err *err)
{
	_cleanup_free_ char *path = guest_path(g, "/config");
	int r = proxmox_call(p, NULL, path, NULL, w, &g->config, err);
	if (r < 0)
		return r;
	const char *name = json_get_string(g->config, strcmp(g->type, "lxc") == 0 ? "hostname" : "name");
	const char *lock = json_get_string(g->config, "lock");
	if (!json_is_object(g->config))
		return err_set(err, ERR_PROTOCOL, "%s: the configuration is no map", path);
	if (name != NULL) {
		free(g->name);
		g->name = xstrdup(name);
	}
	g->lock = xstrdup(lock);
	return 0;
}

static int read_status(struct proxmox *p, struct guest *g, struct wait *w, struct err *err)
{
	json_t *status _cleanup_json_ = NULL;
	_cleanup_free_ char *path = guest_path(g, "/status/current");
	int r = proxmox_call(p, NULL, path, NULL, w, &status, err);
	const char *state = json_get_string(status, "status"), *lock = json_get_string(status, "lock");
	if (r < 0)
		return r;
	if (state == NULL)
		return err_set(err, ERR_PROTOCOL, "%s: there is no state in it", path);
	g->running = strcmp(state, "running") == 0;
	if (lock != NULL && g->lock == NULL)
		g->lock = xstrdup(lock);
	return 0;
}

int guest_read(struct proxmox *p, int64_t vmid, struct wait *w, struct guest *ret, struct err *err)
{
	bool hidden = false;
	int r = guest_find(p, vmid, w, ret, &hidden, err);
	if (r == 0 && hidden) {
		err_set(err, ERR_PERMISSION, "a guest with the id %" PRId64 " exists, but the token %s may not see it",
		        vmid, proxmox_token(p));
		r = err_hint(err, ERR_PERMISSION, "it needs VM.Audit on /vms/%" PRId64, vmid);
	}
	if (r == 0 && ret->there)
		r = read_config(p, ret, w, err);
	if (r == 0 && ret->there)
		r = read_status(p, ret, w, err);
	if (r == 0 && ret->there)
		r = read_waiting(p, ret, w, err);
	if (r < 0)
		guest_done(ret);
	return r;
}
