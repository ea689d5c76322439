#include "agent/deployment/faults.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	const struct fault *x = *(const struct fault *const *)a, *y = *(const struct fault *const *)b;
	if (x->mark.line != y->mark.line)
		return x->mark.line < y->mark.line ? -1 : 1;
	if (x->mark.column != y->mark.column)
		return x->mark.column < y->mark.column ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void set_text(json_t *object, const char *key, const char *text)
{
	if (text != NULL && *text != '\0')
		json_object_set_new(object, key, json_string_lossy(text, strlen(text)));
}

json_t *deployment_faults_json(const struct faults *faults, const struct yaml_doc *doc)
{
	_cleanup_free_ const struct fault **order = xcalloc(faults->count, sizeof(*order));
	json_t *list = json_array();
	for (size_t i = 0; i < faults->count; i++)
		order[i] = &faults->items[i];
	qsort(order, faults->count, sizeof(*order), compare);
	for (size_t i = 0; i < faults->count; i++) {
		const struct fault *f = order[i];
		json_t *item = json_object();
		set_text(item, "file", doc ? yaml_name(doc) : NULL);
		if (doc != NULL && f->mark.line > 0 && f->mark.line != INT32_MAX) {
			json_object_set_new(item, "line", json_integer(f->mark.line));
			json_object_set_new(item, "column", json_integer(f->mark.column));
		}
		set_text(item, "at", f->pointer);
		set_text(item, "text", f->text);
		set_text(item, "hint", f->hint);
		json_array_append_new(list, item);
	}
	return list;
}
