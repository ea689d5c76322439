/* A security group of Scaleway with its rules. */
#include "providers/scaleway/resource_change.h"
#include "providers/scaleway/security_group.h"
#include "schemas/resources/scaleway_security_group.h"
#include "steps/apply/kinds/scaleway.h"

#include <string.h>

static bool has_ports(const char *protocol)
{
	return strcmp(protocol, "TCP") == 0 || strcmp(protocol, "UDP") == 0;
}

static void validate_rules(const struct resource *r, const struct resource_faults *f)
{
	json_t *in _cleanup_json_ = fields_write_whole(r->type->choice.table, r->in);
	const json_t *rules = json_get_array(in, "rules");
	for (size_t i = 0; i < json_array_size(rules); i++) {
		const json_t *rule = json_array_get(rules, i);
		const char *ports = json_get_string(rule, "ports"), *protocol = json_get_string(rule, "protocol");
		int64_t from, to;
		if (ports != NULL && !security_group_ports(ports, &from, &to))
			resource_fault(f, r, "rules", "'%s' is neither a port nor a range of ports", ports);
		if (ports != NULL && protocol != NULL && !has_ports(protocol))
			resource_fault(f, r, "rules", "%s has no ports", protocol);
	}
}

static void validate(const struct resource *r, const struct resource_faults *f)
{
	scaleway_validate(r, f);
	validate_rules(r, f);
}

/* Rules in the form that is compared. */
static int want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                struct str *content, struct err *err)
{
	int e = scaleway_want(x, r, before, ret, content, err);
	if (e < 0)
		return e;
	const json_t *given = json_get_array(*ret, "rules");
	json_t *rules = json_array();
	for (size_t i = 0; i < json_array_size(given); i++) {
		const json_t *rule = json_array_get(given, i);
		json_array_append_new(
			rules, security_group_rule(json_get_string(rule, "direction"), json_get_string(rule, "action"),
		                                   json_get_string(rule, "protocol"), json_get_string(rule, "ip_range"),
		                                   json_get_string(rule, "ports")));
	}
	json_object_set_new(*ret, "rules", rules);
	return 0;
}

extern const struct resource_type resource_scaleway_security_group;
const struct resource_type resource_scaleway_security_group = {.choice = RESOURCE_SCALEWAY_SECURITY_GROUP_CHOICE,
                                                               .what = "scaleway_security_group",
                                                               .space = "scaleway_security_group",
                                                               .validate = validate,
                                                               .want = want,
                                                               SCALEWAY_RESOURCE};
