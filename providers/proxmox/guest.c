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

/* ---- by name ---- */

enum { LISTED = 20, LIST_MAX = 2000 };

static int not_there(struct proxmox *p, const json_t *rows, const char *id_or_name, struct err *err)
{
	struct str names _cleanup_(str_done) = STR_INIT(LIST_MAX);
	for (size_t i = 0; i < json_array_size(rows) && i < LISTED; i++) {
		const char *name = json_get_string(json_array_get(rows, i), "name");
		str_appendf(&names, "%s%.80s (%" PRId64 ")", i > 0 ? ", " : "", name != NULL ? name : "",
		            number_of(json_array_get(rows, i), "vmid"));
	}
	err_set(err, ERR_NOT_FOUND, "%s has no guest '%s'", proxmox_host(p), id_or_name);
	return err_hint(err, ERR_NOT_FOUND, "its guests: %s",
	                names.len > 0 ? str_peek(&names) : "none that this token may see");
}

static int find_id(struct proxmox *p, const json_t *rows, const char *id_or_name, int64_t *ret, struct err *err)
{
	long long id = 0;
	bool by_id = str_parse_i64(id_or_name, 0, INT32_MAX, &id);
	*ret = -1;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const char *name = json_get_string(json_array_get(rows, i), "name");
		int64_t vmid = number_of(json_array_get(rows, i), "vmid");
		if (by_id ? vmid != id : name == NULL || strcmp(name, id_or_name) != 0)
			continue;
		if (*ret >= 0) {
			err_set(err, ERR_REFUSED, "the guests %" PRId64 " and %" PRId64 " are both called '%s'", *ret,
			        vmid, id_or_name);
			return err_hint(err, ERR_REFUSED, "name the one that is meant by its id");
		}
		*ret = vmid;
	}
	return *ret >= 0 ? 0 : not_there(p, rows, id_or_name, err);
}

int guest_read_named(struct proxmox *p, const char *id_or_name, struct wait *w, struct guest *ret, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL;
	int64_t vmid = -1;
	int r = list_guests(p, w, &rows, err);
	if (r == 0)
		r = find_id(p, rows, id_or_name, &vmid, err);
	if (r == 0)
		r = guest_read(p, vmid, w, ret, err);
	if (r == 0 && !ret->there)
		r = not_there(p, rows, id_or_name, err);
	return r;
}
