/* Shapes of requests: members, identifiers, times, headers. */
#include "agent/forge/forge_priv.h"
#include "base/core/clock.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

bool check_is_guid(const char *text)
{
	for (int i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? text[i] != '-' : !(isdigit((unsigned char)text[i]) || (text[i] >= 'a' && text[i] <= 'f')))
			return false;
	}
	return text[36] == '\0';
}

/* digits 3: exactly three of fraction; 7: none to seven. */
static bool is_time(const char *text, int digits)
{
	static const char shape[] = "0000-00-00T00:00:00";
	for (size_t i = 0; i < sizeof(shape) - 1; i++)
		if (shape[i] == '0' ? !isdigit((unsigned char)text[i]) : text[i] != shape[i])
			return false;
	const char *p = text + sizeof(shape) - 1;
	int n = 0;
	if (*p == '.')
		for (p++; isdigit((unsigned char)*p); p++)
			n++;
	int64_t ignored;
	return (digits == 3 ? n == 3 : n <= 7) && strcmp(p, "Z") == 0 && clock_parse_rfc3339(text, &ignored) == 0;
}

static bool fits(char type, const json_t *value)
{
	const char *text = json_string_value(value);
	switch (type) {
	case 's':
		return text != NULL;
	case 'S':
		return text && *text;
	case 'g':
		return text && check_is_guid(text);
	case 'i':
		return json_is_integer(value);
	case 'b':
		return json_is_boolean(value);
	case 'o':
		return json_is_object(value);
	case 'a':
		return json_is_array(value);
	case 'm':
		return text && is_time(text, 3);
	case 't':
		return text && is_time(text, 7);
	case 'M':
		return json_is_null(value) || (text && is_time(text, 3));
	case 'T':
		return json_is_null(value) || (text && is_time(text, 7));
	default:
		return true;
	}
}

static const char *type_name(char type)
{
	switch (type) {
	case 's':
		return "a text";
	case 'S':
		return "a text that is not empty";
	case 'g':
		return "a GUID in lower case";
	case 'i':
		return "a whole number";
	case 'b':
		return "true or false";
	case 'o':
		return "an object";
	case 'a':
		return "a list";
	case 'm':
		return "a time with three digits of fraction and Z";
	case 't':
		return "a time in UTC with Z";
	case 'M':
		return "null or a time with three digits of fraction and Z";
	default:
		return "null or a time in UTC with Z";
	}
}

bool check_members(struct req *r, const json_t *object, const char *where, const struct member *members, size_t count)
{
	bool good = true;
	if (!json_is_object(object)) {
		req_complain(r, "%s must be an object", where);
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		json_t *value = json_object_get(object, members[i].name);
		if (!value && members[i].required) {
			if (!req_is_probe(r))
				req_complain(r, "%s lacks '%s'", where, members[i].name);
			good = false;
		} else if (value && !fits(members[i].type, value)) {
			_cleanup_free_ char *text = json_text(value);
			req_complain(r, "%s: '%s' must be %s, not %.80s", where, members[i].name,
			             type_name(members[i].type), text);
			good = false;
		}
	}
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		bool known = false;
		for (size_t i = 0; i < count; i++)
			known |= strcmp(key, members[i].name) == 0;
		if (!known) {
			req_complain(r, "%s has an unknown member '%.60s'", where, key);
			good = false;
		}
	}
	return good;
}

static void check_common(struct req *r)
{
	const char *agent = req_header(r, "User-Agent");
	if (!agent || !*agent)
		req_complain(r, "the request has no User-Agent");
	const char *encoding = req_header(r, "Transfer-Encoding");
	if (encoding)
		req_complain(r, "the body is sent with Transfer-Encoding '%.40s', not with a Content-Length", encoding);
	if (req_header(r, "Cookie"))
		req_complain(r, "the request has a Cookie");
}

void check_service_headers(struct req *r)
{
	check_common(r);
	const char *accept = req_header(r, "Accept");
	if (!accept || !strstr(accept, "application/json"))
		req_complain(r, "Accept must be application/json, not '%.60s'", accept ? accept : "");
	const char *type = req_header(r, "Content-Type");
	bool has_body = strcmp(r->method, "POST") == 0;
	if (has_body && (!type || strncasecmp(type, "application/json", strlen("application/json")) != 0))
		req_complain(r, "Content-Type must be application/json; charset=utf-8, not '%.60s'", type ? type : "");
	const char *session = req_header(r, "X-Actions-Session");
	if (session && !check_is_guid(session))
		req_complain(r, "X-Actions-Session must be a GUID, not '%.60s'", session);
	const char *expect = req_header(r, "Expect");
	if (expect)
		req_complain(r, "a small request must not say Expect: %.40s", expect);
}

void check_rest_headers(struct req *r)
{
	check_common(r);
	const char *type = req_header(r, "Content-Type");
	if (r->body_len && (!type || strncasecmp(type, "application/json", strlen("application/json")) != 0))
		req_complain(r, "Content-Type must be application/json, not '%.60s'", type ? type : "");
}
