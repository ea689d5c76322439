#include "providers/registry/challenge.h"

#include "base/core/str.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* tchar of RFC 9110 5.6.2. */
static bool is_token(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static void skip_blanks(const char **p)
{
	while (**p == ' ' || **p == '\t')
		++*p;
}

static bool read_token(const char **p, struct str *out)
{
	const char *from = *p;
	while (is_token(**p))
		++*p;
	str_clear(out);
	return str_append_n(out, from, (size_t)(*p - from)) && *p > from;
}

static bool read_quoted(const char **p, struct str *out)
{
	str_clear(out);
	for (++*p; **p != '"'; ++*p) {
		if (**p == '\\')
			++*p;
		if (**p == '\0' || (unsigned char)**p < ' ' || !str_append_c(out, **p))
			return false;
	}
	++*p;
	return true;
}

static void keep(struct registry_challenge *c, const char *name, const struct str *value)
{
	char **const places[] = {&c->realm, &c->service, &c->scope, &c->error};
	static const char *const names[] = {"realm", "service", "scope", "error"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(name, names[i]) == 0 && *places[i] == NULL)
			*places[i] = xstrdup(str_peek(value));
}

/* name=value, …; ends before the next challenge, which begins with a token that no `=` follows. False: cannot be read. */
static bool read_parameters(const char **p, struct registry_challenge *c)
{
	struct str name _cleanup_(str_done) = STR_INIT(256),
			value _cleanup_(str_done) = STR_INIT(REGISTRY_CHALLENGE_MAX);
	for (;;) {
		skip_blanks(p);
		const char *begin = *p;
		if (**p == '\0')
			return true;
		if (!read_token(p, &name))
			return false;
		skip_blanks(p);
		if (**p != '=') {
			*p = begin;
			return true;
		}
		++*p;
		skip_blanks(p);
		if (!(**p == '"' ? read_quoted(p, &value) : read_token(p, &value)))
			return false;
		if (c != NULL)
			keep(c, str_peek(&name), &value);
		skip_blanks(p);
		while (**p == ',' || **p == ' ' || **p == '\t')
			++*p;
	}
}

static bool read_challenges(const char *p, struct registry_challenge *c)
{
	struct str scheme _cleanup_(str_done) = STR_INIT(64);
	skip_blanks(&p);
	while (*p != '\0') {
		if (!read_token(&p, &scheme))
			return false;
		bool first_bearer = strcasecmp(str_peek(&scheme), "Bearer") == 0 && !c->bearer;
		c->basic = c->basic || strcasecmp(str_peek(&scheme), "Basic") == 0;
		c->bearer = c->bearer || first_bearer;
		if (*p != '\0' && *p != ' ' && *p != ',')
			return false;
		while (*p == ',' || *p == ' ')
			p++;
		if (!read_parameters(&p, first_bearer ? c : NULL))
			return false;
	}
	return true;
}

int registry_challenge_read(const char *header, struct registry_challenge *ret, struct err *err)
{
	struct registry_challenge c _cleanup_(registry_challenge_done) = {0};
	if (strlen(header) > REGISTRY_CHALLENGE_MAX || !read_challenges(header, &c))
		return err_set(err, ERR_PROTOCOL, "the registry asks for a login in a form that cannot be read");
	c.bearer = c.bearer && c.realm != NULL;
	if (!c.basic && !c.bearer)
		return err_set(err, ERR_PROTOCOL, "the registry asks for a login that is neither Basic nor Bearer");
	*ret = c;
	c = (struct registry_challenge){0};
	return 0;
}

void registry_challenge_done(struct registry_challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	free(c->error);
	*c = (struct registry_challenge){0};
}
