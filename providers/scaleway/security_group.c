#include "providers/scaleway/security_group.h"

#include "base/core/mem.h"
#include "providers/scaleway/resource_move.h"

#include <inttypes.h>
#include <string.h>

enum { PORT_MAX = 65535 };

static const char anywhere[] = "0.0.0.0/0";

/* ---- rules ---- */

bool security_group_ports(const char *text, int64_t *ret_from, int64_t *ret_to)
{
	const char *dash = strchr(text, '-');
	_cleanup_free_ char *first = dash != NULL ? xstrndup(text, (size_t)(dash - text)) : xstrdup(text);
	long long from = 0, to = 0;
	if (!str_parse_i64(first, 1, PORT_MAX, &from))
		return false;
	to = from;
	if (dash != NULL && !str_parse_i64(dash + 1, from, PORT_MAX, &to))
		return false;
	*ret_from = from;
	*ret_to = to;
	return true;
}

json_t *security_group_rule(const char *direction, const char *action, const char *protocol, const char *ip_range,
                            const char *ports)
{
	json_t *rule = json_object();
	json_set_string(rule, "direction", direction);
	json_set_string(rule, "action", action);
	json_set_string(rule, "protocol", protocol);
	json_set_string(rule, "ip_range", ip_range != NULL ? ip_range : anywhere);
	json_set_string(rule, "ports", ports);
	return rule;
}

static char *ports_of(const json_t *row)
{
	int64_t from = json_get_int(row, "dest_port_from", 0), to = json_get_int(row, "dest_port_to", 0);
	if (from <= 0)
		return NULL;
	return to > from ? xasprintf("%" PRId64 "-%" PRId64, from, to) : xasprintf("%" PRId64, from);
}

/* A single address comes back with the length of its network or without. */
static char *range_of(const json_t *row)
{
	const char *range = json_get_string(row, "ip_range");
	if (range == NULL || strchr(range, '/') != NULL)
		return xstrdup(range);
	return xasprintf("%s/%d", range, strchr(range, ':') != NULL ? 128 : 32);
}

static bool is_before(const json_t *a, const json_t *b)
{
	return json_get_int(a, "position", 0) < json_get_int(b, "position", 0);
}

/* The rules that Scaleway puts there itself, against mail, are none of ours. */
static json_t *own_rows(const json_t *rows)
{
	json_t *own = json_array();
	for (size_t i = 0; i < json_array_size(rows); i++) {
		json_t *row = json_array_get(rows, i);
		size_t at = json_array_size(own);
		if (!json_get_bool(row, "editable", true))
			continue;
		while (at > 0 && is_before(row, json_array_get(own, at - 1)))
			at--;
		json_array_insert(own, at, row);
	}
	return own;
}

json_t *security_group_rules(const json_t *rows)
{
	json_t *own _cleanup_json_ = own_rows(rows), *rules = json_array();
	for (size_t i = 0; i < json_array_size(own); i++) {
		const json_t *row = json_array_get(own, i);
		_cleanup_free_ char *ports = ports_of(row), *range = range_of(row);
		json_array_append_new(rules, security_group_rule(json_get_string(row, "direction"),
		                                                 json_get_string(row, "action"),
		                                                 json_get_string(row, "protocol"), range, ports));
	}
	return rules;
}

json_t *security_group_rows(const json_t *rules)
{
	static const char *const same[] = {"direction", "action", "protocol", "ip_range"};
	json_t *rows = json_array();
	for (size_t i = 0; i < json_array_size(rules); i++) {
		const json_t *rule = json_array_get(rules, i);
		const char *ports = json_get_string(rule, "ports");
		json_t *row = json_pack("{s:I, s:b}", "position", (json_int_t)i + 1, "editable", 1);
		int64_t from = 0, to = 0;
		for (size_t k = 0; k < ARRAY_SIZE(same); k++)
			json_object_set(row, same[k], json_object_get(rule, same[k]));
		if (ports != NULL && security_group_ports(ports, &from, &to)) {
			json_object_set_new(row, "dest_port_from", json_integer(from));
			json_object_set_new(row, "dest_port_to", json_integer(to));
		}
		json_array_append_new(rows, row);
	}
	return rows;
}

/* ---- the group ---- */

static const char *const settings[] = {"description", "stateful", "inbound_default_policy", "outbound_default_policy"};

static char *rules_path(const struct scaleway *s, const json_t *object)
{
	return object_path(s, &scaleway_kind_security_group, object_id(object), "/rules");
}

static int group_node(struct scaleway *s, const json_t *object, struct wait *w, json_t *ret, struct err *err)
{
	json_t *rows _cleanup_json_ = NULL;
	_cleanup_free_ char *path = rules_path(s, object);
	int r = scaleway_list(s, path, "rules", w, &rows, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (json_object_get(object, settings[i]) != NULL)
			json_object_set(ret, settings[i], json_object_get(object, settings[i]));
	json_object_set_new(ret, "rules", security_group_rules(rows));
	return 0;
}

static int group_body(struct scaleway_move *m, json_t *body, struct err *err)
{
	(void)err;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (json_object_get(m->to, settings[i]) != NULL)
			json_object_set(body, settings[i], json_object_get(m->to, settings[i]));
	return 0;
}

static int set_rules(struct scaleway_move *m, const json_t *object, struct err *err)
{
	json_t *body _cleanup_json_ = json_pack("{s:o}", "rules", security_group_rows(json_object_get(m->to, "rules")));
	_cleanup_free_ char *path = rules_path(m->s, object);
	int r = move_ask(m, "PUT", path, body, NULL, err);
	return r < 0 ? r : MOVE_MORE;
}

/* Rules first: what a stricter policy would shut out is let in by then. */
static int group_next(struct scaleway_move *m, const json_t *object, const json_t *now, struct err *err)
{
	json_t *body _cleanup_json_ = json_object();
	_cleanup_free_ char *path = object_path(m->s, m->kind, object_id(object), "");
	if (move_wants(m, now, "rules"))
		return set_rules(m, object, err);
	move_add_tags(m, object, now, body);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (move_wants(m, now, settings[i]))
			json_object_set(body, settings[i], json_object_get(m->to, settings[i]));
	if (json_object_size(body) == 0)
		return MOVE_DONE;
	int r = move_ask(m, "PATCH", path, body, NULL, err);
	return r < 0 ? r : MOVE_MORE;
}

const struct scaleway_kind scaleway_kind_security_group = {
	.name = "scaleway_security_group",
	.word = "security group",
	.path = "security_groups",
	.list = "security_groups",
	.wrap = "security_group",
	.node = group_node,
	.body = group_body,
	.next = group_next,
};
