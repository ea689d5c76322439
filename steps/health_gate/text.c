/* Checks an answer: status lists, and text by containment or pattern. PCRE2 with limits, since the answer
 * comes from outside. */
#include "base/core/shown.h"
#include "steps/health_gate/health_gate.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MATCH_LIMIT = 200000, DEPTH_LIMIT = 1000, HEAP_LIMIT_KIB = 16 << 10, SHOWN = 120, WANTED = 80 };

static bool status_range(const json_t *item, long long *low, long long *high)
{
	if (json_is_integer(item)) {
		*low = *high = json_integer_value(item);
		return *low >= 100 && *low <= 599;
	}
	const char *text = json_string_value(item);
	if (text == NULL)
		return false;
	const char *dash = strchr(text, '-');
	if (dash == NULL) {
		if (!str_parse_i64(text, 100, 599, low))
			return false;
		*high = *low;
		return true;
	}
	_cleanup_free_ char *first = xstrndup(text, (size_t)(dash - text));
	return str_parse_i64(first, 100, 599, low) && str_parse_i64(dash + 1, *low, 599, high);
}

void gate_status_faults(const json_t *status, const struct gate_place *place)
{
	size_t count = json_is_array(status) ? json_array_size(status) : 1;
	long long low, high;
	if (status == NULL)
		return;
	if (count == 0)
		gate_fault(place, "status", NULL, "the list of accepted statuses is empty");
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_is_array(status) ? json_array_get(status, i) : status;
		if (status_range(item, &low, &high))
			continue;
		_cleanup_free_ char *text = json_text(item);
		gate_fault(place, "status", NULL,
		           "%s is not a status: a number from 100 to 599 or a range such as \"200-299\"", text);
	}
}

bool gate_status_accepts(const json_t *status, int code)
{
	if (status == NULL)
		return code == 200;
	size_t count = json_is_array(status) ? json_array_size(status) : 1;
	for (size_t i = 0; i < count; i++) {
		long long low, high;
		if (status_range(json_is_array(status) ? json_array_get(status, i) : status, &low, &high) &&
		    code >= low && code <= high)
			return true;
	}
	return false;
}

void gate_status_show(const json_t *status, struct str *out)
{
	size_t count = json_is_array(status) ? json_array_size(status) : 1;
	if (status == NULL)
		str_append(out, "200");
	for (size_t i = 0; status != NULL && i < count; i++) {
		const json_t *item = json_is_array(status) ? json_array_get(status, i) : status;
		const char *join = i == 0 ? "" : i + 1 == count ? " or " : ", ";
		if (json_is_integer(item))
			str_appendf(out, "%s%lld", join, (long long)json_integer_value(item));
		else
			str_appendf(out, "%s%s", join, json_string_value(item));
	}
}

static pcre2_code *pattern_compile(const char *pattern, struct err *err)
{
	int code;
	PCRE2_SIZE offset;
	PCRE2_UCHAR text[256];
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF,
	                               &code, &offset, NULL);
	if (re == NULL) {
		pcre2_get_error_message(code, text, sizeof(text));
		err_set(err, ERR_INVALID, "the pattern is wrong at character %zu: %s", (size_t)offset + 1,
		        (const char *)text);
	}
	return re;
}

int gate_pattern_check(const char *pattern, struct err *err)
{
	pcre2_code *re = pattern_compile(pattern, err);
	pcre2_code_free(re);
	return re != NULL ? 0 : ERR_INVALID;
}

/* 1 matches, 0 does not, negative: unknown. */
static int pattern_match(const char *pattern, const struct str *text, struct err *err)
{
	pcre2_code *re = pattern_compile(pattern, err);
	if (re == NULL)
		return ERR_INVALID;
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	pcre2_match_data *data = pcre2_match_data_create_from_pattern(re, NULL);
	int r = ERR_INTERNAL;
	if (limits != NULL && data != NULL) {
		pcre2_set_match_limit(limits, MATCH_LIMIT);
		pcre2_set_depth_limit(limits, DEPTH_LIMIT);
		pcre2_set_heap_limit(limits, HEAP_LIMIT_KIB);
		r = pcre2_match(re, (PCRE2_SPTR)str_peek(text), text->len, 0, 0, data, limits);
	}
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	pcre2_code_free(re);
	if (r >= 0)
		return 1;
	if (r == PCRE2_ERROR_NOMATCH)
		return 0;
	return err_set(err, ERR_LIMIT, "the pattern takes too long on this text");
}

static void beginning(const struct str *text, struct str *out)
{
	if (text->len == 0) {
		str_append(out, "; it is empty");
		return;
	}
	const char *line = memchr(text->data, '\n', text->len);
	size_t len = line != NULL && line > text->data ? (size_t)(line - text->data) : text->len;
	_cleanup_free_ char *shown = shown_text(text->data, len, SHOWN);
	str_append(out, "; it begins: ");
	str_append_safe(out, shown, strlen(shown));
}

bool gate_text_holds(const struct health_gate_checks *in, const struct str *text, const char *what, struct str *why)
{
	if (in->contains != NULL && memmem(str_peek(text), text->len, in->contains, strlen(in->contains)) == NULL) {
		_cleanup_free_ char *wanted = shown_text(in->contains, strlen(in->contains), WANTED);
		str_appendf(why, "the %s does not contain '%s'", what, wanted);
		beginning(text, why);
		return false;
	}
	if (in->matches == NULL)
		return true;
	struct err err = ERR_INIT;
	char line[512];
	int r = pattern_match(in->matches, text, &err);
	if (r == 1)
		return true;
	if (r < 0) {
		str_appendf(why, "the %s cannot be judged: %s", what, err_line(&err, line, sizeof(line)));
		return false;
	}
	_cleanup_free_ char *wanted = shown_text(in->matches, strlen(in->matches), WANTED);
	str_appendf(why, "the %s does not match /%s/", what, wanted);
	beginning(text, why);
	return false;
}

int gate_split_address(const char *address, char **ret_host, int *ret_port, struct err *err)
{
	const char *colon = strrchr(address, ':');
	long long port;
	if (colon == NULL || colon == address || !str_parse_i64(colon + 1, 1, 65535, &port))
		return err_hint(err, err_set(err, ERR_INVALID, "'%s' is not an address", address),
		                "HOST:PORT with a port from 1 to 65535, [ADDRESS]:PORT for IPv6");
	size_t len = (size_t)(colon - address);
	const char *host = address;
	if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	} else if (memchr(host, ':', len) != NULL) {
		return err_hint(err, err_set(err, ERR_INVALID, "'%s' is not an address", address),
		                "put an IPv6 address into brackets: [::1]:80");
	}
	*ret_host = xstrndup(host, len);
	*ret_port = (int)port;
	return 0;
}
