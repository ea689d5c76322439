#include "providers/scaleway/reply.h"

#include <string.h>

enum { MESSAGE_MAX = 300, TOO_MANY = 429 };

bool reply_is_id(const char *text)
{
	static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	if (text == NULL || strlen(text) != sizeof(shape) - 1)
		return false;
	for (size_t i = 0; shape[i] != '\0'; i++) {
		bool digit = text[i] != '\0' && strchr("0123456789abcdef", text[i]) != NULL;
		if (shape[i] == '-' ? text[i] != '-' : !digit)
			return false;
	}
	return true;
}

static bool is_type(const json_t *body, const char *type)
{
	const char *own = json_get_string(body, "type");
	return own != NULL && strcmp(own, type) == 0;
}

/* The older form of the Instance API says it in a sentence only. */
static bool is_quota(const json_t *body)
{
	const char *message = json_get_string(body, "message");
	return is_type(body, "quotas_exceeded") || (message != NULL && strstr(message, "quota exceeded") != NULL);
}

static bool is_stock(const json_t *body)
{
	return is_type(body, "out_of_stock");
}

static int code_of_server(const json_t *body, bool reads)
{
	if (is_stock(body))
		return ERR_FAILED;
	return reads ? ERR_NETWORK : ERR_UNKNOWN;
}

int reply_code(int status, const json_t *body, bool reads)
{
	if (is_quota(body))
		return ERR_FAILED;
	switch (status) {
	case 400:
		return ERR_INVALID;
	case 401:
		return ERR_AUTH;
	case 403:
		return ERR_PERMISSION;
	case 404:
	case 410:
		return ERR_NOT_FOUND;
	case 408:
		return reads ? ERR_NETWORK : ERR_UNKNOWN;
	case TOO_MANY:
		return ERR_NETWORK;
	default:
		return status >= 500 ? code_of_server(body, reads) : ERR_FAILED;
	}
}

/* ---- for people ---- */

static void append(struct str *out, const char *before, const char *text)
{
	size_t len = text != NULL ? strlen(text) : 0;
	if (len == 0)
		return;
	str_append(out, before);
	str_append_safe(out, text, str_whole_characters(text, MIN(len, (size_t)MESSAGE_MAX)));
}

static void append_numbers(const json_t *detail, struct str *out)
{
	if (!json_is_integer(json_object_get(detail, "quota")))
		return;
	str_appendf(out, " (%lld of %lld used)", (long long)json_get_int(detail, "current", 0),
	            (long long)json_get_int(detail, "quota", 0));
}

static void append_detail(const json_t *detail, struct str *out)
{
	const char *argument = json_get_string(detail, "argument_name"), *action = json_get_string(detail, "action");
	const char *help = json_get_string(detail, "help_message");
	append(out, "; ", argument != NULL ? argument : json_get_string(detail, "resource"));
	append(out, ": ", action != NULL ? action : help != NULL ? help : json_get_string(detail, "reason"));
	append_numbers(detail, out);
}

static void append_fields(const json_t *fields, struct str *out)
{
	const char *name;
	json_t *texts;
	json_object_foreach((json_t *)(uintptr_t)fields, name, texts)
	{
		append(out, "; ", name);
		append(out, ": ", json_string_value(json_array_get(texts, 0)));
	}
}

void reply_describe(const json_t *body, struct str *out)
{
	static const char *const more[] = {"resource", "current_state", "precondition", "help_message"};
	const json_t *details = json_get_array(body, "details");
	const char *message = json_get_string(body, "message");
	append(out, "", message != NULL ? message : json_get_string(body, "type"));
	if (is_type(body, "not_found"))
		append(out, " ", json_get_string(body, "resource_id"));
	for (size_t i = 0; i < ARRAY_SIZE(more); i++)
		append(out, i == 0 ? "; " : ", ", json_get_string(body, more[i]));
	for (size_t i = 0; i < json_array_size(details); i++)
		append_detail(json_array_get(details, i), out);
	append_fields(json_get_object(body, "fields"), out);
}

const char *reply_hint(int status, const json_t *body)
{
	if (is_quota(body))
		return "the organization's quota of that resource is used up: free some, or ask Scaleway for more";
	if (is_stock(body))
		return "this zone has no capacity for that type now: take another type or zone, or wait";
	if (status == 401)
		return "check the target's `token`: the secret key of an API key that has not expired";
	if (status == 403)
		return "the API key needs a policy with the full access to Instances, Block Storage and IPs of the "
		       "target's project";
	if (status == 429)
		return "the service limits how often it is asked: try again later";
	return "";
}
