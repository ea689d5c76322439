#include "agent/worker/command.h"

#include <strings.h>

static const struct {
	const char *name;
	enum command_kind kind;
} registered[] = {
	{"set-output", COMMAND_SET_OUTPUT},
	{"save-state", COMMAND_SAVE_STATE},
	{"set-env", COMMAND_SET_ENV},
	{"add-path", COMMAND_ADD_PATH},
	{"add-mask", COMMAND_ADD_MASK},
	{"debug", COMMAND_DEBUG},
	{"error", COMMAND_ERROR},
	{"warning", COMMAND_WARNING},
	{"notice", COMMAND_NOTICE},
	{"group", COMMAND_GROUP},
	{"endgroup", COMMAND_ENDGROUP},
	{"add-matcher", COMMAND_ADD_MATCHER},
	{"remove-matcher", COMMAND_REMOVE_MATCHER},
	{"echo", COMMAND_ECHO},
	{"stop-commands", COMMAND_STOP},
};

struct escape {
	const char *sequence;
	char c;
};
/* In the order in which they are replaced; %25 last, so that %2525 gives %25. */
static const struct escape data_escapes[] = {{"%0D", '\r'}, {"%0A", '\n'}, {"%25", '%'}, {NULL, 0}};
static const struct escape property_escapes[] = {
	{"%0D", '\r'}, {"%0A", '\n'}, {"%3A", ':'}, {"%2C", ','}, {"%25", '%'}, {NULL, 0},
};
static const struct escape bracket_escapes[] = {
	{"%3B", ';'}, {"%0D", '\r'}, {"%0A", '\n'}, {"%5D", ']'}, {"%25", '%'}, {NULL, 0},
};

static char *unescape(const char *text, size_t len, const struct escape *escapes)
{
	char *s = xstrndup(text, len);
	for (; escapes->sequence != NULL; escapes++) {
		char *to = s;
		for (const char *from = s; *from != '\0';) {
			if (*from == '%' && strncmp(from, escapes->sequence, 3) == 0) {
				*to++ = escapes->c;
				from += 3;
			} else {
				*to++ = *from++;
			}
		}
		*to = '\0';
	}
	return s;
}

static const char *after_equals(const char *p, const char *end)
{
	while (p < end && *p == '=')
		p++;
	return p;
}

static void read_properties(const char *p, const char *end, char separator, const struct escape *escapes,
                            struct command *ret)
{
	while (p < end) {
		const char *stop = memchr(p, separator, (size_t)(end - p));
		if (stop == NULL)
			stop = end;
		/* As .NET splits without empty entries: equals signs in front of the name or the value are none of it. */
		p = after_equals(p, stop);
		const char *equals = memchr(p, '=', (size_t)(stop - p)),
			   *from = equals != NULL ? after_equals(equals, stop) : stop;
		if (from < stop) {
			_cleanup_free_ char *name = xstrndup(p, (size_t)(equals - p));
			_cleanup_free_ char *value = unescape(from, (size_t)(stop - from), escapes);
			json_object_set_new(ret->properties, name, json_string_lossy(value, strlen(value)));
		}
		p = stop + 1;
	}
}

static bool is_named(const char *p, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(p, name, len) == 0;
}

static bool find_kind(const char *name, size_t len, const struct command_rules *rules, struct command *ret)
{
	if (rules->stopped != NULL) {
		if (!is_named(name, len, rules->stopped))
			return false;
		ret->kind = COMMAND_RESUME;
		ret->name = "resume";
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(registered); i++) {
		if (!is_named(name, len, registered[i].name))
			continue;
		if (registered[i].kind == COMMAND_NOTICE && !rules->notice)
			return false;
		ret->kind = registered[i].kind;
		ret->name = registered[i].name;
		return true;
	}
	return false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r';
}

/* ::name key=value,key=value::data */
static bool read_colons(const char *line, const struct command_rules *rules, struct command *ret)
{
	while (is_blank(*line))
		line++;
	if (strncmp(line, "::", 2) != 0)
		return false;
	const char *name = line + 2, *close = strstr(name, "::");
	if (close == NULL)
		return false;
	const char *blank = memchr(name, ' ', (size_t)(close - name));
	if (!find_kind(name, (size_t)((blank != NULL ? blank : close) - name), rules, ret))
		return false;
	ret->properties = json_object();
	if (blank != NULL) {
		const char *from = blank, *to = close;
		while (from < to && is_blank(*from))
			from++;
		while (from < to && is_blank(to[-1]))
			to--;
		read_properties(from, to, ',', property_escapes, ret);
	}
	ret->data = unescape(close + 2, strlen(close + 2), data_escapes);
	return true;
}

/* ##[name key=value;key=value]data, anywhere in the line */
static bool read_brackets(const char *line, const struct command_rules *rules, struct command *ret)
{
	const char *open = strstr(line, "##[");
	if (open == NULL)
		return false;
	const char *name = open + 3, *close = strchr(name, ']');
	if (close == NULL)
		return false;
	const char *blank = memchr(name, ' ', (size_t)(close - name));
	if (!find_kind(name, (size_t)((blank != NULL ? blank : close) - name), rules, ret))
		return false;
	ret->properties = json_object();
	if (blank != NULL)
		read_properties(blank + 1, close, ';', bracket_escapes, ret);
	ret->data = unescape(close + 1, strlen(close + 1), bracket_escapes);
	return true;
}

void command_read(const char *line, const struct command_rules *rules, struct command *ret)
{
	*ret = (struct command){.kind = COMMAND_NONE};
	if (!read_colons(line, rules, ret))
		read_brackets(line, rules, ret);
}

void command_done(struct command *c)
{
	json_decref(c->properties);
	free(c->data);
	*c = (struct command){.kind = COMMAND_NONE};
}

const char *command_property(const struct command *c, const char *name)
{
	const char *key;
	json_t *value;
	json_object_foreach(c->properties, key, value) if (strcasecmp(key, name) == 0) return json_string_value(value);
	return NULL;
}

bool command_token_is_allowed(const char *token)
{
	if (token[0] == '\0' || strcasecmp(token, "pause-logging") == 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(registered); i++)
		if (strcasecmp(token, registered[i].name) == 0)
			return false;
	return true;
}
