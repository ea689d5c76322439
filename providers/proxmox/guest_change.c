#include "providers/proxmox/guest_change.h"

#include "base/core/mem.h"
#include "engine/change/address.h"
#include "engine/change/change.h"
#include "providers/proxmox/attributes.h"
#include "providers/proxmox/guest_move.h"
#include "providers/proxmox/properties.h"
#include "providers/proxmox/request.h"
#include "providers/proxmox/target.h"

#include <inttypes.h>
#include <string.h>

static bool is_absent(const json_t *node)
{
	const char *type = json_get_string(node, "type");
	return type == NULL || strcmp(type, "absent") == 0;
}

static const json_t *identity_of(const struct change *c)
{
	return is_absent(c->after) ? c->before : c->after;
}

static int read_now(struct change_call *x, const struct change *c, json_t **ret, struct guest *g, struct err *err)
{
	struct proxmox *p = proxmox_of_target(x->v);
	int64_t id = guest_id_of(c);
	if (p == NULL || id < 0)
		return err_set(err, ERR_INVALID, "'%s' is no guest of target '%s'", c->path, x->v->name);
	int r = guest_read(p, id, x->v->wait, g, err);
	if (r == 0)
		*ret = guest_node(g);
	return r;
}

static bool is_same_guest(const struct change *c, const json_t *now)
{
	const char *const members[] = {"type", "name"};
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (!json_equal(json_object_get(now, members[i]), json_object_get(identity_of(c), members[i])))
			return false;
	return true;
}

/* ---- compare ---- */

/* Only its row changes. The id may be another guest's by now. */
static bool changes_nothing(const struct change *c)
{
	return c->action == ACTION_ADOPT;
}

static bool fits(const json_t *now, const json_t *node, const char *name)
{
	const char *type = json_get_string(now, "type");
	return attribute_fits(type != NULL ? type : "", name, json_object_get(now, name), json_object_get(node, name));
}

static bool counts(const char *name)
{
	return attribute_is_compared(name) && strcmp(name, "type") != 0 && strcmp(name, "vmid") != 0 &&
	       strcmp(name, "name") != 0;
}

static bool fits_all(const json_t *now, const json_t *node, const char *but)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)node, name, value)
	{
		if (counts(name) && (but == NULL || strcmp(name, but) != 0) && !fits(now, node, name))
			return false;
	}
	return true;
}

struct sides {
	bool before, after, either;
	size_t differing;
};

static void look_at(const struct change *c, const json_t *now, const char *name, struct sides *s)
{
	const char *type = json_get_string(now, "type");
	if (!counts(name) ||
	    attribute_fits(type, name, json_object_get(c->before, name), json_object_get(c->after, name)))
		return;
	bool before = fits(now, c->before, name), after = fits(now, c->after, name);
	s->before = s->before && before;
	s->after = s->after && after;
	s->either = s->either && (before || after);
	s->differing++;
}

/* Only what the change is about: what else somebody set stays theirs. */
static struct sides sides_of(const struct change *c, const json_t *now)
{
	struct sides s = {true, true, true, 0};
	const char *name;
	json_t *value;
	json_object_foreach(c->before, name, value) look_at(c, now, name, &s);
	json_object_foreach(c->after, name, value)
	{
		if (json_object_get(c->before, name) == NULL)
			look_at(c, now, name, &s);
	}
	return s;
}

static enum change_match match_update(const struct change *c, const json_t *now)
{
	struct sides s = sides_of(c, now);
	if (s.before && s.after)
		return MATCH_BOTH;
	return s.before ? MATCH_BEFORE : s.after ? MATCH_AFTER : s.either ? MATCH_PART : MATCH_NEITHER;
}

/* The new one may look as the former one did. */
static enum change_match match_replace(const struct change *c, const json_t *now, bool gone)
{
	if (is_absent(now))
		return MATCH_PART;
	if (gone)
		return fits_all(now, c->after, NULL) ? MATCH_AFTER : MATCH_PART;
	return fits_all(now, c->before, NULL)       ? MATCH_BEFORE
	       : fits_all(now, c->before, "status") ? MATCH_PART
	                                            : MATCH_NEITHER;
}

/* One that is not finished belongs to its change; one that was finished and is otherwise now, to somebody else. */
static enum change_match match_create(const struct change *c, const json_t *now)
{
	if (is_absent(now))
		return MATCH_BEFORE;
	if (!is_same_guest(c, now))
		return MATCH_NEITHER;
	return fits_all(now, c->after, NULL) ? MATCH_AFTER : c->state == CHANGE_DONE ? MATCH_NEITHER : MATCH_PART;
}

static enum change_match match_destroy(const struct change *c, const json_t *now)
{
	if (is_absent(now))
		return MATCH_AFTER;
	if (!is_same_guest(c, now))
		return MATCH_NEITHER;
	return fits_all(now, c->before, NULL)       ? MATCH_BEFORE
	       : fits_all(now, c->before, "status") ? MATCH_PART
	                                            : MATCH_NEITHER;
}

static enum change_match match_of(const struct change *c, const json_t *now, bool gone)
{
	if (changes_nothing(c))
		return MATCH_BOTH;
	if (is_absent(c->before) && is_absent(c->after))
		return is_absent(now) ? MATCH_BOTH : MATCH_NEITHER;
	if (is_absent(c->before))
		return match_create(c, now);
	if (is_absent(c->after))
		return match_destroy(c, now);
	if (c->action == ACTION_REPLACE)
		return match_replace(c, now, gone);
	return is_absent(now) || !is_same_guest(c, now) ? MATCH_NEITHER : match_update(c, now);
}

static int compare(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *now _cleanup_json_ = NULL;
	bool gone = false;
	int r = read_now(x, c, &now, &g, err);
	if (r == 0 && c->action == ACTION_REPLACE)
		r = guest_is_gone(x, c, &gone, err);
	if (r == 0)
		*ret = match_of(c, now, gone);
	return r;
}

static void explain_one(const json_t *now, const json_t *wanted, const char *name, struct str *out)
{
	_cleanup_free_ char *is = json_dumps(json_object_get(now, name), JSON_ENCODE_ANY),
			    *shall = json_dumps(json_object_get(wanted, name), JSON_ENCODE_ANY);
	str_appendf(out, "%s%s is %s instead of %s", out->len > 0 ? ", " : "", name, is != NULL ? is : "not set",
	            shall != NULL ? shall : "not set");
}

static int explain(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *now _cleanup_json_ = NULL, *value;
	const char *name;
	int r = read_now(x, c, &now, &g, err);
	if (r < 0)
		return r;
	if (is_absent(now) || is_absent(c->after)) {
		str_append(out, is_absent(now) ? "there is no such guest" : "the guest is still there");
	} else if (!is_same_guest(c, now)) {
		str_appendf(out, "guest %" PRId64 " is %s '%s'", g.vmid, g.type, g.name != NULL ? g.name : "");
	} else {
		json_object_foreach(c->after, name, value)
		{
			if (counts(name) && !fits(now, c->after, name))
				explain_one(now, c->after, name, out);
		}
	}
	return 0;
}

/* ---- make and take back ---- */

static int apply(struct change_call *x, struct change *c, struct err *err)
{
	const struct guest_move m = {x, c, c->before, c->after, c->action == ACTION_REPLACE};
	return changes_nothing(c) ? 0 : guest_move(&m, err);
}

static int cannot_come_back(const struct change *c, struct err *err)
{
	const char *name = json_get_string(c->before, "name");
	err_set(err, ERR_UNSUPPORTED, "guest %" PRId64 " '%s' was destroyed with its disks, which nothing brings back",
	        guest_id_of(c), name != NULL ? name : "");
	return err_hint(err, ERR_UNSUPPORTED, "restore it from a backup");
}

static int refuse_shrink(const struct change *c, const json_t *now, struct err *err)
{
	const char *before = json_get_string(c->before, "disk"), *there = json_get_string(now, "disk");
	if (before == NULL || there == NULL || properties_size(there) <= properties_size(before))
		return 0;
	err_set(err, ERR_UNSUPPORTED, "the disk of '%s' has %s now and had %s: a disk cannot shrink", c->path, there,
	        before);
	return err_hint(
		err, ERR_UNSUPPORTED,
		"everything else of it is as it was; accept the larger disk: davit unlock ENVIRONMENT --accept");
}

static int undo_update(struct change_call *x, const struct change *c, struct err *err)
{
	const struct guest_move m = {x, c, c->after, c->before, false};
	struct guest g _cleanup_(guest_done) = {0};
	json_t *now _cleanup_json_ = NULL;
	int r = guest_move(&m, err);
	if (r == 0)
		r = read_now(x, c, &now, &g, err);
	return r < 0 ? r : refuse_shrink(c, now, err);
}

static int undo(struct change_call *x, const struct change *c, struct err *err)
{
	struct guest g _cleanup_(guest_done) = {0};
	json_t *now _cleanup_json_ = NULL;
	bool gone = false;
	if (changes_nothing(c))
		return 0;
	if (is_absent(c->before)) {
		const struct guest_move m = {x, c, c->after, c->before, false};
		return guest_move(&m, err);
	}
	int r = read_now(x, c, &now, &g, err);
	if (r == 0 && c->action == ACTION_REPLACE)
		r = guest_is_gone(x, c, &gone, err);
	if (r < 0)
		return r;
	if (!g.there || gone)
		return cannot_come_back(c, err);
	return undo_update(x, c, err);
}

static int resume(struct change_call *x, const struct change *c, struct err *err)
{
	return request_resume(x, c, json_get_string(identity_of(c), "node"), guest_id_of(c), err);
}

const struct change_type proxmox_guest = {
	.name = "proxmox-guest",
	.compare = compare,
	.explain = explain,
	.apply = apply,
	.resume = resume,
	.undo = undo,
	.is_named = address_is_named,
};
