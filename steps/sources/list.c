/* The list of sources, and the one that a step's inputs name. */
#include "steps/sources/sources.h"

static const struct source *const sources[] = {&source_files,   &source_postgres, &source_volume,
                                               &source_command, &source_proxmox,  &source_scaleway};

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

int source_check_targets(const struct source_call *s, bool to_put_back, struct faults *faults, struct err *err)
{
	const struct source_outside *outside = s->source->outside;
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->c->target_count; i++) {
		struct target *t = s->c->targets[i];
		bool fits = outside ? strcmp(t->view.kind->name, outside->target) == 0 : target_is_host(t);
		if (!fits)
			faults_add(faults, NULL, "/target", "'%s' is of the kind '%s', which has no `%s`", t->view.name,
			           t->view.kind->name, s->source->name);
		else if (outside)
			r = outside->check(s, &t->view, to_put_back, faults, err);
	}
	return r;
}

int source_tell_outside(const struct source_call *s, struct view *v, struct err *err)
{
	_cleanup_json_ json_t *rows = NULL;
	const char *key, *id = s->c->deployment->id;
	json_t *row;

	int r = s->source->outside && id ? s->c->state_list(s->c->engine, v->name, &rows, err) : 0;
	json_object_foreach(rows, key, row)
	{
		const char *of = json_get_string(row, "deployment");
		if (of && strcmp(of, id) == 0)
			json_object_set_new(s->c->outputs, "snapshot", json_string(id));
	}
	return r;
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
