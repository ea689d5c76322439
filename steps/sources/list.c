/* The list of sources, and the one that a step's inputs name. */
#include "steps/sources/sources.h"

static const struct source *const sources[] = {&source_files, &source_postgres, &source_volume, &source_command};

void source_call_init(struct source_call *s, const struct step_context *c)
{
	/* Inputs that could not be read name none: then there is nothing to say of it. */
	*s = (struct source_call){
		.c = c, .source = sources[0], .all = fields_write_whole(c->type->info->inputs, c->input)};
	for (size_t i = 0; i < ARRAY_SIZE(sources) && s->in == NULL; i++) {
		s->in = json_object_get(s->all, sources[i]->name);
		if (s->in)
			s->source = sources[i];
	}
	s->env = json_object_get(s->all, "env");
}

void source_call_done(struct source_call *s)
{
	json_decref(s->all);
	s->all = NULL;
}

/* As fields_write gives it: seconds, or a string if they are not whole. */
int64_t source_duration_ms(const json_t *in, const char *name)
{
	const json_t *value = json_object_get(in, name);
	long long ms = 0;

	if (json_is_integer(value))
		return json_integer_value(value) * 1000;
	return value && str_parse_duration_ms(json_string_value(value), &ms) == 0 ? ms : 0;
}
