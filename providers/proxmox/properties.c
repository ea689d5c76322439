#include "providers/proxmox/properties.h"

#include <stdlib.h>
#include <string.h>

static int add_part(json_t *all, const char *part, size_t len, const char *first, struct err *err)
{
	const char *equals = memchr(part, '=', len);
	size_t name_len = equals != NULL ? (size_t)(equals - part) : 0;
	_cleanup_free_ char *name = equals != NULL ? xstrndup(part, name_len) : xstrdup(first);
	const char *value = equals != NULL ? equals + 1 : part;
	size_t value_len = len - (size_t)(value - part);
	if (name == NULL || name[0] == '\0' || len == 0)
		return err_set(err, ERR_INVALID, "a part of the value says nothing");
	if (json_object_get(all, name) != NULL)
		return err_set(err, ERR_INVALID, "'%s' stands twice", name);
	json_object_set_new(all, name, json_string_lossy(value, value_len));
	return 0;
}

int properties_read(const char *text, const char *first, json_t **ret, struct err *err)
{
	json_t *all _cleanup_json_ = json_object();
	if (strlen(text) > PROPERTIES_MAX)
		return err_set(err, ERR_LIMIT, "a value is longer than %d bytes", PROPERTIES_MAX);
	for (const char *at = text;;) {
		size_t len = strcspn(at, ",");
		int r = add_part(all, at, len, first, err);
		if (r < 0)
			return r;
		if (at[len] == '\0')
			break;
		at += len + 1;
	}
	*ret = TAKE(all);
	return 0;
}

void properties_write(const json_t *properties, const char *first, struct str *out)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)properties, name, value)
	{
		bool bare = first != NULL && strcmp(name, first) == 0;
		str_appendf(out, "%s%s%s%s", out->len > 0 ? "," : "", bare ? "" : name, bare ? "" : "=",
		            json_string_value(value));
	}
}

/* "virtio" there as a name, with the address that was made up for it. */
static const char *named_by_first(const json_t *there, const json_t *wanted, const char *first)
{
	const char *value = first != NULL ? json_get_string(wanted, first) : NULL;
	return value != NULL && json_object_get(there, value) != NULL ? value : NULL;
}

bool properties_include(const char *there, const char *wanted, const char *first)
{
	json_t *a _cleanup_json_ = NULL, *b _cleanup_json_ = NULL;
	const char *name;
	json_t *value;
	if (properties_read(there, first, &a, NULL) < 0 || properties_read(wanted, first, &b, NULL) < 0)
		return strcmp(there, wanted) == 0;
	const char *named = named_by_first(a, b, first);
	json_object_foreach(b, name, value)
	{
		if (named != NULL && strcmp(name, first) == 0)
			continue;
		if (!json_equal(json_object_get(a, name), value))
			return false;
	}
	return true;
}

char *properties_merge(const char *there, const char *wanted, const char *first, const char *const *keep)
{
	json_t *a _cleanup_json_ = NULL, *b _cleanup_json_ = NULL;
	struct str out = STR_INIT(2 * PROPERTIES_MAX);
	if (properties_read(there, first, &a, NULL) < 0 || properties_read(wanted, first, &b, NULL) < 0)
		return xstrdup(wanted);
	const char *named = named_by_first(a, b, first);
	if (named != NULL) {
		json_t *whole = json_pack("{s:O}", named, json_object_get(a, named));
		json_object_del(b, first);
		json_object_update(whole, b);
		json_decref(b);
		b = whole;
	}
	for (size_t i = 0; keep[i] != NULL; i++)
		if (json_object_get(a, keep[i]) != NULL && json_object_get(b, keep[i]) == NULL)
			json_object_set(b, keep[i], json_object_get(a, keep[i]));
	properties_write(b, first, &out);
	char *text = xstrdup(str_peek(&out));
	str_done(&out);
	return text;
}

int64_t properties_size(const char *text)
{
	static const char units[] = "KMGT";
	char *end = NULL;
	double number = strtod(text, &end);
	if (end == text || number < 0 || number > 9e15 || strchr("0123456789", text[0]) == NULL)
		return -1;
	const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
	if (*end != '\0' && (unit == NULL || end[1] != '\0'))
		return -1;
	for (size_t i = 0; unit != NULL && i <= (size_t)(unit - units); i++)
		number *= 1024;
	return number < 9e18 ? (int64_t)number : -1;
}
