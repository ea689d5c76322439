/* Rules of security groups, as a node has them and as the service does. */
#pragma once
#include "base/data/json.h"

/* {"direction":"inbound","action":"accept","protocol":"TCP","ip_range":"0.0.0.0/0","ports":"22"}: whole, in one form. The caller's. */
json_t *security_group_rule(const char *direction, const char *action, const char *protocol, const char *ip_range,
                            const char *ports);
/* Of the service's rules those that may be changed, in their order. The caller's. */
json_t *security_group_rules(const json_t *rows);
/* For a request. The caller's. */
json_t *security_group_rows(const json_t *rules);
/* "443" or "8000-8010". false: neither. */
bool security_group_ports(const char *text, int64_t *ret_from, int64_t *ret_to);
