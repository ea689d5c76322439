#include "base/data/yaml.h"

#include <stdarg.h>
#include <stdio.h>

enum { FAULTS_MAX = 50, FAULT_TEXT_MAX = 4096 };

/* NULL: there are enough. */
static struct fault *grow(struct faults *f, bool warning)
{
	struct fault **items = warning ? &f->warnings : &f->items;
	size_t *count = warning ? &f->warning_count : &f->count;
	f->last_is_warning = warning;
	if (*count > (f->max ? f->max : FAULTS_MAX))
		return NULL;
	*items = xgrow(*items, warning ? &f->warning_cap : &f->cap, *count + 1, sizeof(**items));
	struct fault *fault = &(*items)[(*count)++];
	*fault = (struct fault){0};
	return fault;
}

static struct fault *last(struct faults *f)
{
	size_t count = f->last_is_warning ? f->warning_count : f->count;
	struct fault *items = f->last_is_warning ? f->warnings : f->items;
	return count == 0 || items[count - 1].mark.line == INT32_MAX ? NULL : &items[count - 1];
}

static void add(struct faults *f, bool warning, struct yaml_mark mark, const char *pointer, const char *fmt,
                va_list args)
{
	size_t max = f->max ? f->max : FAULTS_MAX;
	struct fault *fault = grow(f, warning);
	if (fault == NULL)
		return;
	fault->mark = mark;
	if ((warning ? f->warning_count : f->count) > max) {
		/* Sorted last, whatever its place. */
		fault->mark = (struct yaml_mark){INT32_MAX, 0};
		fault->pointer = xstrdup("");
		fault->text = xasprintf("and more, after the first %zu", max);
		return;
	}
	fault->pointer = xstrdup(pointer);
	if (vasprintf(&fault->text, fmt, args) < 0)
		fault->text = xstrdup(fmt);
}

void faults_add(struct faults *f, const struct yaml_doc *doc, const char *pointer, const char *fmt, ...)
{
	struct yaml_mark mark = doc ? yaml_value_mark(doc, pointer) : (struct yaml_mark){0, 0};
	va_list args;
	va_start(args, fmt);
	add(f, false, mark, pointer, fmt, args);
	va_end(args);
}

void faults_add_key(struct faults *f, const struct yaml_doc *doc, const char *pointer, const char *fmt, ...)
{
	struct yaml_mark mark = doc ? yaml_key_mark(doc, pointer) : (struct yaml_mark){0, 0};
	va_list args;
	va_start(args, fmt);
	add(f, false, mark, pointer, fmt, args);
	va_end(args);
}

void faults_add_at(struct faults *f, struct yaml_mark mark, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(f, false, mark, "", fmt, args);
	va_end(args);
}

void faults_warn(struct faults *f, const char *pointer, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	add(f, true, (struct yaml_mark){0, 0}, pointer, fmt, args);
	va_end(args);
}

void faults_hint(struct faults *f, const char *fmt, ...)
{
	struct fault *fault = last(f);
	if (fault == NULL || fault->hint != NULL)
		return;
	va_list args;
	va_start(args, fmt);
	if (vasprintf(&fault->hint, fmt, args) < 0)
		fault->hint = NULL;
	va_end(args);
}

void faults_code(struct faults *f, const char *code)
{
	struct fault *fault = last(f);
	if (fault != NULL)
		fault->code = code;
}

void faults_where(struct faults *f, const char *where)
{
	struct fault *fault = last(f);
	if (fault != NULL && fault->where == NULL)
		fault->where = xstrdup(where);
}

static void fault_done(struct fault *fault)
{
	free(fault->pointer);
	free(fault->text);
	free(fault->hint);
	free(fault->where);
}

static void move_list(struct faults *to, struct fault *from, size_t count, bool warning)
{
	for (size_t i = 0; i < count; i++) {
		struct fault *fault = grow(to, warning);
		if (fault != NULL)
			*fault = from[i];
		else
			fault_done(&from[i]);
	}
}

void faults_move(struct faults *to, struct faults *from)
{
	move_list(to, from->items, from->count, false);
	move_list(to, from->warnings, from->warning_count, true);
	from->count = from->warning_count = 0;
	faults_done(from);
}

static bool is_one_of(const char *key, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(key, names[i]) == 0)
			return true;
	return false;
}

void faults_check_keys(struct faults *f, const struct yaml_doc *doc, struct str *pointer, const json_t *object,
                       const char *what, const char *const *names, size_t count)
{
	size_t base = pointer->len;
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		if (is_one_of(key, names, count))
			continue;
		faults_pointer_push(pointer, key);
		faults_add_key(f, doc, str_peek(pointer), "'%.60s' is not a key of %s", key, what);
		faults_code(f, "unknown-key");
		const char *nearest = str_nearest(key, names, count);
		if (nearest != NULL)
			faults_hint(f, "did you mean '%s'?", nearest);
		str_truncate(pointer, base);
	}
}

static int compare(const void *a, const void *b)
{
	const struct fault *x = *(const struct fault *const *)a, *y = *(const struct fault *const *)b;
	if (x->mark.line != y->mark.line)
		return x->mark.line < y->mark.line ? -1 : 1;
	if (x->mark.column != y->mark.column)
		return x->mark.column < y->mark.column ? -1 : 1;
	return x < y ? -1 : 1;
}

static const struct fault **sorted(const struct faults *f)
{
	const struct fault **order = xcalloc(f->count, sizeof(*order));
	for (size_t i = 0; i < f->count; i++)
		order[i] = &f->items[i];
	qsort(order, f->count, sizeof(*order), compare);
	return order;
}

static void append_fault(const struct fault *fault, const struct yaml_doc *doc, struct str *out)
{
	if (doc != NULL) {
		const char *name = yaml_name(doc);
		str_append_safe(out, name, strlen(name));
		if (fault->mark.line > 0 && fault->mark.line != INT32_MAX)
			str_appendf(out, ":%d:%d", fault->mark.line, fault->mark.column);
		str_append(out, ": ");
	}
	if (fault->pointer[0] != '\0') {
		str_append_safe(out, fault->pointer, strlen(fault->pointer));
		str_append(out, ": ");
	}
	str_append_safe(out, fault->text, strnlen(fault->text, FAULT_TEXT_MAX));
}

void faults_print(const struct faults *f, const struct yaml_doc *doc, struct str *out)
{
	_cleanup_free_ const struct fault **order = sorted(f);
	for (size_t i = 0; i < f->count; i++) {
		append_fault(order[i], doc, out);
		str_append_c(out, '\n');
		if (order[i]->hint != NULL) {
			str_append(out, "  ");
			str_append_safe(out, order[i]->hint, strlen(order[i]->hint));
			str_append_c(out, '\n');
		}
	}
}

int faults_to_err(const struct faults *f, const struct yaml_doc *doc, struct err *err)
{
	if (f->count == 0)
		return 0;
	_cleanup_free_ const struct fault **order = sorted(f);
	_cleanup_(str_done) struct str text = STR_INIT(2 * FAULT_TEXT_MAX);
	append_fault(order[0], doc, &text);
	if (f->count > 1)
		err_set(err, ERR_INVALID, "%.400s (and %zu more)", str_peek(&text), f->count - 1);
	else
		err_set(err, ERR_INVALID, "%s", str_peek(&text));
	if (order[0]->hint != NULL)
		err_hint(err, ERR_INVALID, "%s", order[0]->hint);
	return ERR_INVALID;
}

void faults_done(struct faults *f)
{
	for (size_t i = 0; i < f->count; i++)
		fault_done(&f->items[i]);
	for (size_t i = 0; i < f->warning_count; i++)
		fault_done(&f->warnings[i]);
	free(f->items);
	free(f->warnings);
	*f = (struct faults){.max = f->max};
}

void faults_pointer_push(struct str *pointer, const char *token)
{
	str_append_c(pointer, '/');
	for (; *token; token++) {
		if (*token == '~')
			str_append(pointer, "~0");
		else if (*token == '/')
			str_append(pointer, "~1");
		else
			str_append_c(pointer, *token);
	}
}

void faults_pointer_push_index(struct str *pointer, size_t index)
{
	str_appendf(pointer, "/%zu", index);
}
