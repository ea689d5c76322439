#include "steps/apply/kinds/guest.h"

#include "base/secret/mask.h"
#include "providers/proxmox/address.h"
#include "providers/proxmox/attributes.h"
#include "providers/proxmox/guest_change.h"
#include "providers/proxmox/inventory.h"
#include "providers/proxmox/properties.h"
#include "providers/proxmox/rights.h"
#include "providers/proxmox/self.h"
#include "providers/proxmox/target.h"
#include "steps/apply/apply.h"

#include <inttypes.h>

const char *const guest_targets[] = {"proxmox", NULL};
const struct change_type *const guest_kinds[] = {&proxmox_guest, NULL};

/* Members of the input that are no attributes of the guest. */
static const char *const others[] = {"name",       "id",      "depends_on", "protect", "ignore_changes",
                                     "replace_on", "running", "net",        "ipconfig"};
/* Known to the making only: their row says what it was made with. */
static const char *const made_with[] = {"template", "clone", "ssh_public_keys"};

static bool is_among(const char *const *all, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(all[i], name) == 0)
			return true;
	return false;
}

static bool is_absent(const json_t *node)
{
	const char *type = json_get_string(node, "type");
	return type == NULL || strcmp(type, "absent") == 0;
}

/* ---- the input ---- */

static json_t *joined(const json_t *list, const char *between)
{
	_cleanup_(str_done) struct str text = STR_INIT(64 << 10);
	for (size_t i = 0; i < json_array_size(list); i++)
		str_appendf(&text, "%s%s", i > 0 ? between : "", json_string_value(json_array_get(list, i)));
	return json_string(str_peek(&text));
}

static json_t *attribute_of(const char *name, const json_t *value)
{
	if (strcmp(name, "disk") == 0) {
		_cleanup_free_ char *size = attribute_size(json_integer_value(value));
		return json_string(size);
	}
	if (strcmp(name, "tags") == 0)
		return joined(value, ";");
	if (strcmp(name, "ssh_public_keys") == 0)
		return joined(value, "\n");
	return json_deep_copy(value);
}

/* All that is asked for, by the names that a node has. */
static json_t *asked_for(const struct resource *r)
{
	json_t *in _cleanup_json_ = fields_write_whole(r->type->choice.table, r->in), *all = json_object(), *value;
	const char *name;
	json_object_foreach(in, name, value)
	{
		bool empty = json_is_array(value) && json_array_size(value) == 0;
		if (!is_among(others, ARRAY_SIZE(others), name) && !json_is_null(value) && !empty)
			json_object_set_new(all, name, attribute_of(name, value));
	}
	json_object_update(all, json_object_get(in, "net"));
	json_object_update(all, json_object_get(in, "ipconfig"));
	json_object_set_new(all, "status", json_string(json_get_bool(in, "running", true) ? "running" : "stopped"));
	return all;
}

static int64_t id_of(const struct resource *r)
{
	return *(const int64_t *)fields_member(r->type->choice.table, r->in, "vmid");
}

static const char *node_of(const struct resource *r)
{
	return *(const char *const *)fields_member(r->type->choice.table, r->in, "node");
}

const char *const guest_families[] = {"net", "ipconfig", NULL};

static bool is_ignored(const struct resource *r, const char *name)
{
	if (apply_ignores(r, name))
		return true;
	for (size_t i = 0; guest_families[i] != NULL; i++)
		if (str_starts(name, guest_families[i]) && apply_ignores(r, guest_families[i]))
			return true;
	return false;
}

static void validate_properties(const struct resource *r, const char *member, const json_t *map,
                                const struct resource_faults *f)
{
	const char *name;
	json_t *text;
	json_object_foreach((json_t *)(uintptr_t)map, name, text)
	{
		json_t *parts _cleanup_json_ = NULL;
		struct err err = ERR_INIT;
		char line[300];
		const struct attribute *a = str_starts(name, member) ? attribute_find(r->type->what, name) : NULL;
		if (a == NULL || strlen(name) == strlen(member))
			resource_fault(f, r, member, "'%s' is not one of %s0, %s1 …", name, member, member);
		else if (properties_read(json_string_value(text), a->first, &parts, &err) < 0)
			resource_fault(f, r, member, "%s: %s", name, err_line(&err, line, sizeof(line)));
	}
}

/* A configuration is shown to whoever may look at the guest, and stands in plan and journal. */
static void refuse_secrets(const struct resource *r, const json_t *in, const struct resource_faults *f)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)in, name, value)
	{
		_cleanup_free_ char *text = json_dumps(value, JSON_ENCODE_ANY);
		if (text != NULL && mask_finds(mask_process(), text, strlen(text)))
			resource_fault(f, r, name, "`%s` of '%s' holds a secret", name, r->id);
	}
}

void guest_validate(const struct resource *r, const struct resource_faults *f)
{
	json_t *in _cleanup_json_ = fields_write_whole(r->type->choice.table, r->in);
	int64_t disk = json_get_int(in, "disk", 0);
	refuse_secrets(r, in, f);
	validate_properties(r, "net", json_object_get(in, "net"), f);
	validate_properties(r, "ipconfig", json_object_get(in, "ipconfig"), f);
	if (disk % (INT64_C(1) << 30) != 0)
		resource_fault(f, r, "disk", "the size of a disk is whole GiB");
	if (json_object_get(in, "clone") == NULL && (json_get_string(in, "storage") == NULL || disk == 0))
		resource_fault(f, r, "name", "'%s' needs `storage` and `disk`, or what it is a clone of", r->id);
}

/* ---- what a server must have ---- */

static int check_places(struct proxmox *p, const struct resource *r, const json_t *asked, struct wait *w,
                        struct err *err)
{
	const char *storage = json_get_string(asked, "storage"), *template = json_get_string(asked, "template");
	const char *content = strcmp(r->type->what, "lxc") == 0 ? "rootdir" : "images";
	int e = inventory_check_node(p, node_of(r), w, err);
	if (e == 0 && storage != NULL)
		e = inventory_check_storage(p, node_of(r), storage, content, w, err);
	if (e == 0 && template != NULL)
		e = inventory_check_template(p, node_of(r), template, w, err);
	return e;
}

static void add_once(const char **all, size_t *count, const char *privilege)
{
	if (privilege != NULL && !is_among(all, *count, privilege))
		all[(*count)++] = privilege;
}

/* To make one: all of it. To change one: what its attributes need. */
static int check_rights(struct proxmox *p, const struct resource *r, const json_t *asked, bool exists, struct wait *w,
                        struct err *err)
{
	const char *wanted[16] = {"VM.Audit", "VM.PowerMgmt"}, *name;
	size_t count = 2;
	json_t *value;
	_cleanup_free_ char *path = xasprintf("/vms/%" PRId64, id_of(r));
	json_object_foreach((json_t *)(uintptr_t)asked, name, value)
	{
		const struct attribute *a = attribute_find(r->type->what, name);
		if (a != NULL && (!exists || a->form != FORM_FIXED) && count + 2 < ARRAY_SIZE(wanted))
			add_once(wanted, &count, a->privilege);
	}
	if (!exists)
		add_once(wanted, &count, "VM.Allocate");
	wanted[count] = NULL;
	return rights_check(p, path, wanted, w, err);
}

static int check_storage_rights(struct proxmox *p, const json_t *asked, struct wait *w, struct err *err)
{
	static const char *const wanted[] = {"Datastore.AllocateSpace", NULL};
	const char *storage = json_get_string(asked, "storage");
	_cleanup_free_ char *path = storage != NULL ? xasprintf("/storage/%s", storage) : NULL;
	return path != NULL ? rights_check(p, path, wanted, w, err) : 0;
}

static int check_source(struct proxmox *p, const json_t *asked, struct wait *w, struct err *err)
{
	static const char *const wanted[] = {"VM.Clone", NULL};
	int64_t from = json_get_int(json_object_get(asked, "clone"), "from", -1);
	struct guest g _cleanup_(guest_done) = {0};
	_cleanup_free_ char *path = xasprintf("/vms/%" PRId64, from);
	int e = from > 0 ? guest_find(p, from, w, &g, NULL, err) : 0;
	if (e < 0 || from <= 0)
		return e;
	if (!g.there)
		return err_set(err, ERR_NOT_FOUND, "there is no guest %" PRId64 " to clone that the token may see",
		               from);
	return rights_check(p, path, wanted, w, err);
}

static int check_on(struct view *v, const struct resource *r, struct err *err)
{
	struct proxmox *p = proxmox_of_target(v);
	json_t *asked _cleanup_json_ = asked_for(r);
	struct guest g _cleanup_(guest_done) = {0};
	if (p == NULL)
		return 0;
	int e = check_places(p, r, asked, v->wait, err);
	if (e == 0)
		e = guest_find(p, id_of(r), v->wait, &g, NULL, err);
	if (e == 0)
		e = check_rights(p, r, asked, g.there, v->wait, err);
	if (e == 0 && !g.there)
		e = check_storage_rights(p, asked, v->wait, err);
	if (e == 0 && !g.there)
		e = check_source(p, asked, v->wait, err);
	return e < 0 ? err_wrap(err, e, "%s", r->key) : 0;
}

int guest_check(const struct step_context *c, const struct resource *r, struct err *err)
{
	int e = 0;
	for (size_t i = 0; e == 0 && i < c->target_count; i++)
		e = check_on(&c->targets[i]->view, r, err);
	return e;
}

/* ---- look and compare ---- */

/* The row says with what it was made, which the server does not. */
static void recall(const json_t *row, json_t *node)
{
	for (size_t i = 0; i < ARRAY_SIZE(made_with); i++)
		if (json_object_get(row, made_with[i]) != NULL)
			json_object_set(node, made_with[i], json_object_get(row, made_with[i]));
}

int guest_together(struct view *v, size_t count, void (*one)(void *context, size_t i), void *context, struct err *err)
{
	return proxmox_each(proxmox_of_target(v), count, one, context, v->wait, err);
}

int guest_look(struct resource_call *x, const char *id, json_t **ret, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	int64_t vmid = x->wanted != NULL ? id_of(x->wanted) : json_get_int(x->row, "vmid", -1);
	int r = guest_read(proxmox_of_target(x->v), vmid, x->v->wait, &g, err);
	if (r < 0)
		return r;
	json_t *node = guest_node(&g);
	/* The id may belong to another guest by now. */
	if (g.there && (g.name == NULL || strcmp(g.name, id) != 0))
		json_object_set_new(node, "type", json_string("other"));
	if (g.there)
		recall(x->row, node);
	*ret = node;
	return 0;
}

static int refuse_identity(const struct resource_call *x, const struct resource *r, const json_t *before,
                           struct err *err)
{
	struct str same _cleanup_(str_done) = STR_INIT(1024);
	const char *there = json_get_string(before, "type"), *name = json_get_string(before, "name");
	int64_t recorded = json_get_int(x->row, "vmid", id_of(r));
	if (recorded != id_of(r))
		return err_set(err, ERR_REFUSED, "'%s' was made with the id %" PRId64 ", which cannot become %" PRId64,
		               r->id, recorded, id_of(r));
	if (strcmp(there, "other") == 0)
		return err_set(err, ERR_REFUSED, "the id %" PRId64 " belongs to the guest '%s', not to '%s'", id_of(r),
		               name != NULL ? name : "", r->id);
	int e = is_absent(before) ? guest_namesakes(proxmox_of_target(x->v), r->id, id_of(r), x->v->wait, &same, err)
	                          : 0;
	if (e == 0 && same.len > 0)
		e = err_set(err, ERR_REFUSED, "a guest with the name '%s' has the id %s already", r->id,
		            str_peek(&same));
	return e;
}

/* What the server made up (a card's address) stays. */
static void set_wanted(const struct resource *r, const json_t *before, json_t *after, const char *name, json_t *value)
{
	static const char *const keep[] = {"hwaddr", "macaddr", "type", NULL};
	const struct attribute *a = attribute_find(r->type->what, name);
	json_t *there = json_object_get(before, name);
	if (attribute_fits(r->type->what, name, there, value))
		return;
	if (a == NULL || a->form != FORM_PROPERTIES || there == NULL) {
		json_object_set(after, name, value);
		return;
	}
	_cleanup_free_ char *merged =
		properties_merge(json_string_value(there), json_string_value(value), a->first, keep);
	json_object_set_new(after, name, json_string(merged));
}

static int refuse_shrink(const json_t *before, const json_t *after, struct err *err)
{
	const char *there = json_get_string(before, "disk"), *wanted = json_get_string(after, "disk");
	if (there == NULL || wanted == NULL || properties_size(wanted) >= properties_size(there))
		return 0;
	return err_set(err, ERR_REFUSED, "the disk has %s, and a disk cannot shrink to %s", there, wanted);
}

/* Others may refer to it: what cannot become known is told with the plan. */
static void warn_of_address(const struct resource_call *x, const struct resource *r, const json_t *after)
{
	if (x->plan == NULL || r->name == NULL || strcmp(r->type->what, "qemu") != 0 || address_is_told(after))
		return;
	_cleanup_free_ char *text =
		xasprintf("%s: its `ip` will not be known: it has no guest agent (`agent: 1`), and no `ip` in "
	                  "`ipconfig0`",
	                  r->key);
	if (!strv_has(&x->plan->warnings, text))
		strv_add(&x->plan->warnings, text);
}

int guest_want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
               struct str *content, struct err *err)
{
	json_t *asked _cleanup_json_ = asked_for(r), *after _cleanup_json_ = NULL, *value;
	bool exists = !is_absent(before);
	const char *name;
	(void)content;
	int e = refuse_identity(x, r, before, err);
	if (e < 0)
		return e;
	after = exists ? json_deep_copy(before) : json_pack("{s:s, s:s}", "type", r->type->what, "name", r->id);
	json_object_foreach(asked, name, value)
	{
		/* Of one that somebody else made nobody knows with what. */
		bool unknown = exists && is_among(made_with, ARRAY_SIZE(made_with), name) &&
		               json_object_get(before, name) == NULL;
		if (!unknown && !(exists && is_ignored(r, name)))
			set_wanted(r, before, after, name, value);
	}
	e = refuse_shrink(before, after, err);
	if (e == 0)
		warn_of_address(x, r, after);
	if (e == 0)
		*ret = TAKE(after);
	return e;
}

void guest_remember(const struct resource *r, json_t *row)
{
	json_t *asked _cleanup_json_ = asked_for(r);
	json_object_set_new(row, "vmid", json_integer(id_of(r)));
	recall(asked, row);
}

/* ---- what a change means ---- */

static bool differs(const json_t *before, const json_t *after, const char *name)
{
	const char *type = json_get_string(after, "type");
	return !attribute_fits(type != NULL ? type : "", name, json_object_get(before, name),
	                       json_object_get(after, name));
}

bool guest_alike(const json_t *before, const json_t *after, const char *name)
{
	return !differs(before, after, name);
}

void guest_forces(const json_t *before, const json_t *after, struct str *out)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)after, name, value)
	{
		const struct attribute *a = attribute_find(json_get_string(after, "type"), name);
		bool fixed = (a != NULL && a->form == FORM_FIXED) || is_among(made_with, ARRAY_SIZE(made_with), name);
		if (fixed && differs(before, after, name))
			str_appendf(out, "%s`%s`", out->len > 0 ? ", " : "", name);
	}
}

void guest_identity(const json_t *before, struct str *out)
{
	str_appendf(out, "=%" PRId64, json_get_int(before, "vmid", -1));
}

static bool is_running(const json_t *node)
{
	const char *status = json_get_string(node, "status");
	return status != NULL && strcmp(status, "running") == 0;
}

static void add_restarts(const json_t *before, const json_t *after, struct str *out)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)after, name, value)
	{
		const struct attribute *a = attribute_find(json_get_string(after, "type"), name);
		if (a != NULL && a->restarts && differs(before, after, name))
			str_appendf(out, "%s`%s`", out->len > 0 ? ", " : "", name);
	}
}

void guest_means(const json_t *before, const json_t *after, enum change_action action, struct str *out)
{
	struct str restarts _cleanup_(str_done) = STR_INIT(1024);
	if (action == ACTION_DESTROY || action == ACTION_REPLACE)
		str_append(out, "; its disks are lost for good: an undo cannot bring them back");
	if (action != ACTION_UPDATE)
		return;
	if (is_running(before) && !is_running(after))
		str_append(out, "; it is stopped");
	add_restarts(before, after, &restarts);
	if (is_running(before) && is_running(after) && restarts.len > 0)
		str_appendf(out, "; it is restarted for %s", str_peek(&restarts));
	if (differs(before, after, "disk"))
		str_append(out, "; an undo cannot shrink the disk");
}

int guest_forbids(struct resource_call *x, const json_t *before, const json_t *after, enum change_action action,
                  struct str *ret_why, struct err *err)
{
	static const char *const wanted[] = {"VM.Allocate", "VM.PowerMgmt", NULL};
	struct str restarts _cleanup_(str_done) = STR_INIT(1024);
	struct guest g _cleanup_(guest_done) = {0};
	struct proxmox *p = proxmox_of_target(x->v);
	struct err own = ERR_INIT;
	char line[1024];
	bool goes = action == ACTION_DESTROY || action == ACTION_REPLACE;
	_cleanup_free_ char *path = xasprintf("/vms/%" PRId64, json_get_int(before, "vmid", -1));
	if (!goes)
		add_restarts(before, after, &restarts);
	if (!goes && !(is_running(before) && (!is_running(after) || restarts.len > 0)))
		return 0;
	int r = guest_read(p, json_get_int(before, "vmid", -1), x->v->wait, &g, err);
	if (r < 0)
		return r;
	r = self_refuse(p, &g, goes ? "destroyed" : "stopped or restarted", x->v->wait, &own);
	if (r == 0 && goes)
		r = rights_check(p, path, wanted, x->v->wait, &own);
	if (r == ERR_REFUSED || r == ERR_PERMISSION) {
		str_appendf(ret_why, "stays: %s", err_line(&own, line, sizeof(line)));
		return 0;
	}
	if (r < 0 && err != NULL)
		*err = own;
	return r;
}

/* By the id: a name may be that of two guests. */
json_t *guest_kept(const struct resource *r)
{
	json_t *id = json_stringf("%" PRId64, id_of(r));
	return json_pack("{s:[o]}", "guests", id);
}

/* ---- what others may refer to ---- */

const char *const guest_output_names[] = {"ip", NULL};

int guest_outputs(struct resource_call *x, const struct resource *r, json_t *ret, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	struct proxmox *p = proxmox_of_target(x->v);
	struct str why _cleanup_(str_done) = STR_INIT(1024);
	_cleanup_free_ char *address = NULL;
	int e = guest_read(p, id_of(r), x->v->wait, &g, err);
	if (e == 0)
		e = address_wait(p, &g, x->v->wait, &address, &why, err);
	if (e == 0 && address == NULL)
		x->c->report(x->c->engine, "the address of %s is not known: %s", r->key, str_peek(&why));
	if (e == 0)
		json_set_string(ret, "ip", address);
	return e < 0 ? err_wrap(err, e, "the address of %s", r->key) : 0;
}
