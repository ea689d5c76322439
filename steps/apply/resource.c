#include "steps/apply/resource.h"

#include "base/core/shown.h"

#include <stdarg.h>

enum { MAX_FAULT = 8192 };

const struct resource_type *resource_type_of(const struct field_choice *choice)
{
	/* The choice is the type's first member. */
	return (const struct resource_type *)(const void *)choice;
}

const struct resource_type *resource_type_named(const struct step_type *step, const char *name)
{
	for (size_t i = 0; step->choices[i] != NULL; i++)
		if (strcmp(step->choices[i]->name, name) == 0)
			return resource_type_of(step->choices[i]);
	return NULL;
}

bool resource_type_fits(const struct resource_type *type, const struct view *v)
{
	for (size_t i = 0; type->targets != NULL && type->targets[i] != NULL; i++)
		if (strcmp(type->targets[i], v->kind->name) == 0)
			return true;
	return type->targets == NULL && v->type != NULL;
}

void resource_fault(const struct resource_faults *f, const struct resource *r, const char *member, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *text = shown_format(MAX_FAULT, fmt, args);
	va_end(args);
	_cleanup_free_ char *at = xasprintf("%s/%s", r->pointer, member);
	faults_add(f->faults, f->doc, at, "%s", text);
}
