#include "agent/worker/message.h"

#include "agent/expr/expr.h"
#include "agent/service/wire.h"
#include "base/secret/leaves.h"
#include "base/secret/base64.h"
#include "base/core/log.h"

#include <math.h>
#include <strings.h>

const char *message_variable(const json_t *message, const char *name)
{
	return wire_string(wire_get(wire_get(message, "variables"), name), "value");
}

bool message_flag(const json_t *message, const char *name, bool otherwise)
{
	const char *text = message_variable(message, name);
	if (text == NULL)
		return otherwise;
	text += strspn(text, " \t");
	size_t len = strcspn(text, " \t");
	if (len == 4 && strncasecmp(text, "true", 4) == 0)
		return true;
	return len == 5 && strncasecmp(text, "false", 5) == 0 ? false : otherwise;
}

/* The string of an escaped literal; false: the expression is more than a literal. */
static bool literal_of(const char *regex, struct str *out)
{
	for (const char *p = regex; *p != '\0'; p++) {
		if (*p == '\\' && p[1] != '\0') {
			p++;
			if (strchr("nrtfv", *p) != NULL)
				str_append_c(out, "\n\r\t\f\v"[strchr("nrtfv", *p) - "nrtfv"]);
			else if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9'))
				return false;
			else
				str_append_c(out, *p);
		} else if (strchr("^$.|?*+()[]{}\\", *p) != NULL) {
			return false;
		} else {
			str_append_c(out, *p);
		}
	}
	return !out->failed;
}

static void mask_regex(const char *regex, struct mask *mask)
{
	_cleanup_(str_done) struct str literal = STR_SECRET_INIT(1 << 20);
	if (literal_of(regex, &literal)) {
		mask_add(mask, str_peek(&literal), literal.len);
		return;
	}
	struct err err = ERR_INIT;
	char line[256];
	mask_add(mask, regex, strlen(regex));
	if (mask_add_pattern(mask, regex, &err) < 0)
		log_debug("job", "%s", err_line(&err, line, sizeof(line)));
}

static void mask_endpoints(const json_t *message, struct mask *mask)
{
	size_t i;
	json_t *endpoint, *value;
	const char *key;
	json_array_foreach(wire_get(wire_get(message, "resources"), "endpoints"), i, endpoint)
	{
		json_t *parameters = wire_get(wire_get(endpoint, "authorization"), "parameters");
		json_object_foreach(parameters, key, value) if (json_is_string(value))
			mask_add(mask, json_string_value(value), json_string_length(value));
	}
}

static void mask_basic_token(const char *token, struct mask *mask)
{
	_cleanup_(str_done) struct str pair = STR_SECRET_INIT(1 << 16), encoded = STR_SECRET_INIT(1 << 17);
	str_appendf(&pair, "x-access-token:%s", token);
	base64_encode(str_peek(&pair), pair.len, &encoded);
	mask_add_plain(mask, str_peek(&encoded), encoded.len);
}

static bool is_switch(const char *name)
{
	return strcasecmp(name, "ACTIONS_STEP_DEBUG") == 0 || strcasecmp(name, "ACTIONS_RUNNER_DEBUG") == 0;
}

void message_mask(const json_t *message, struct mask *mask)
{
	const char *name;
	json_t *variable, *hint;
	size_t i;
	json_object_foreach(wire_get(message, "variables"), name, variable)
	{
		const char *value = wire_string(variable, "value");
		if (value == NULL || !wire_bool(variable, "isSecret", false) || is_switch(name))
			continue;
		mask_add(mask, value, strlen(value));
		mask_add_leaves(mask, value, strlen(value));
	}
	json_array_foreach(wire_get(message, "mask"), i, hint)
	{
		const char *type = wire_string(hint, "type"), *value = wire_string(hint, "value");
		bool regex = type != NULL ? strcasecmp(type, "regex") == 0 : wire_int(hint, "type", 0) == 2;
		if (regex && value != NULL && value[0] != '\0')
			mask_regex(value, mask);
	}
	mask_endpoints(message, mask);
	wire_mask_proxies(mask);
	const char *token = message_variable(message, "system.github.token");
	if (token != NULL && token[0] != '\0')
		mask_basic_token(token, mask);
}

json_t *message_secrets(const json_t *message)
{
	json_t *secrets = json_object(), *variable;
	const char *name;
	json_object_foreach(wire_get(message, "variables"), name, variable)
	{
		const char *value = wire_string(variable, "value");
		if (value == NULL || !wire_bool(variable, "isSecret", false) ||
		    strcasecmp(name, "system.accessToken") == 0 || strcasecmp(name, "system.github.token") == 0)
			continue;
		json_object_set_new(secrets, strcasecmp(name, "github_token") == 0 ? "GITHUB_TOKEN" : name,
		                    json_string(value));
	}
	return secrets;
}

const char *message_connection_data(const json_t *message, const char *name)
{
	size_t i;
	json_t *endpoint;
	json_array_foreach(wire_get(wire_get(message, "resources"), "endpoints"), i, endpoint)
	{
		const char *own = wire_string(endpoint, "name");
		if (own == NULL || strcasecmp(own, "SystemVssConnection") != 0)
			continue;
		const char *text = wire_string(wire_get(endpoint, "data"), name);
		return text != NULL && text[0] != '\0' ? text : NULL;
	}
	return NULL;
}
