#include "steps/apply/kinds/template.h"

#include "base/core/mem.h"

#include <string.h>

static const char opening[] = "${{", closing[] = "}}", context[] = "values.";
static const char name_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
enum { NAMES_MAX = 1000, SHOWN_MAX = 60 };

struct filling {
	const char *name, *text;
	const struct field_map *values;
	bool *used;
};

bool template_is_name(const char *name)
{
	return *name != '\0' && name[strspn(name, name_letters)] == '\0';
}

static int line_of(const struct filling *f, const char *at)
{
	int line = 1;
	for (const char *p = f->text; p < at; p++)
		line += *p == '\n';
	return line;
}

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

/* The name in a place; NULL: it is another expression. */
static char *read_place(const char *at, const char **ret_end)
{
	const char *name = skip_blanks(at + strlen(opening));
	if (strncmp(name, context, strlen(context)) != 0)
		return NULL;
	name += strlen(context);
	size_t len = strspn(name, name_letters);
	const char *end = skip_blanks(name + len);
	if (len == 0 || strncmp(end, closing, strlen(closing)) != 0)
		return NULL;
	*ret_end = end + strlen(closing);
	return xstrndup(name, len);
}

static int refuse_expression(const struct filling *f, const char *at, struct err *err)
{
	size_t len = strcspn(at, "}\n");
	err_set(err, ERR_INVALID, "%s:%d: '%.*s' is no place for a value", f->name, line_of(f, at),
	        (int)(len < SHOWN_MAX ? len : SHOWN_MAX), at);
	return err_hint(
		err, ERR_INVALID,
		"a template has ${{ values.NAME }} only: give it `values: { NAME: … }`, where ${{ vars.… }} and ${{ resources.… }} may stand");
}

static int refuse_name(const struct filling *f, const char *at, const char *name, struct err *err)
{
	const char *names[NAMES_MAX];
	size_t count = 0;
	for (; count < f->values->count && count < NAMES_MAX; count++)
		names[count] = f->values->items[count].key;
	const char *nearest = str_nearest(name, names, count);
	err_set(err, ERR_INVALID, "%s:%d: there is no value '%s'", f->name, line_of(f, at), name);
	return nearest != NULL ? err_hint(err, ERR_INVALID, "did you mean '%s'?", nearest) : ERR_INVALID;
}

static int fill_place(const struct filling *f, const char *at, const char **ret_end, struct str *out, struct err *err)
{
	_cleanup_free_ char *name = read_place(at, ret_end);
	if (name == NULL)
		return refuse_expression(f, at, err);
	for (size_t i = 0; i < f->values->count; i++) {
		if (strcmp(f->values->items[i].key, name) != 0)
			continue;
		str_append(out, f->values->items[i].value);
		f->used[i] = true;
		return 0;
	}
	return refuse_name(f, at, name, err);
}

int template_fill(const char *name, const struct str *text, const struct field_map *values, struct str *out,
                  struct err *err)
{
	_cleanup_free_ bool *used = xcalloc(values->count + 1, sizeof(*used));
	const struct filling f = {.name = name, .text = str_peek(text), .values = values, .used = used};
	const char *from = f.text, *at;
	if (memchr(f.text, '\0', text->len) != NULL)
		return err_set(err, ERR_INVALID, "%s holds a NUL: it is no template", name);
	while ((at = strstr(from, opening)) != NULL) {
		str_append_n(out, from, (size_t)(at - from));
		int r = fill_place(&f, at, &from, out, err);
		if (r < 0)
			return r;
	}
	str_append(out, from);
	for (size_t i = 0; i < values->count; i++)
		if (!used[i])
			return err_set(err, ERR_INVALID, "%s has no place for the value '%s'", name,
			               values->items[i].key);
	return out->failed ? err_set(err, ERR_LIMIT, "%s is too large once it is filled in", name) : 0;
}
