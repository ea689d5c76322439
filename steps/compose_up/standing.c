/* The former containers that a replacement without a gap leaves where they are: stopped behind `rolling`, running behind `blue-green`. They go
 * when the deployment is committed, and not before: until then an undo starts the very containers. Which they are stands in "x-davit" of the
 * configuration that took their place, so that whoever comes later takes them neither for its own nor for somebody's. */
#include "steps/compose_up/compose_up.h"

enum { ID_LENGTH = 64, STOP_EXTRA_MS = 60000 };

/* One that depends on what is replaced, and must be replaced itself: compose would take the former containers away with it. */
static const struct compose_service *above_differs(const struct compose_up_in *in, const struct compose_payload *p,
                                                   const struct docker_containers *now)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct compose_service *one = compose_find(&p->stack, now->items[i].service);
		if (one != NULL && !compose_is_new(p, one, &now->items[i]) && !compose_rolls_one(in, p, now, one) &&
		    compose_needs_rolled(in, p, now, one->name))
			return one;
	}
	return NULL;
}

void compose_stand(const struct compose_up_in *in, struct compose_payload *p, const struct docker_containers *now)
{
	strv_done(&p->standing);
	for (size_t i = 0; above_differs(in, p, now) == NULL && i < now->count; i++) {
		const struct compose_service *one = compose_find(&p->stack, now->items[i].service);
		if (one != NULL && compose_rolls_one(in, p, now, one) && !compose_is_new(p, one, &now->items[i]))
			strv_add(&p->standing, now->items[i].id);
	}
}

void compose_stand_faults(const struct compose_up_in *in, const struct compose_payload *p, struct strv *faults)
{
	const struct compose_service *one =
		in->strategy == COMPOSE_UP_STRATEGY_BLUE_GREEN ? above_differs(in, p, &p->was) : NULL;
	if (one != NULL)
		strv_addf(
			faults,
			"'%s' differs too, depends on what is replaced, and cannot stand twice: with `blue-green` it has to be "
			"deployed by itself first",
			one->name);
}

json_t *compose_state_with(json_t *wanted, const struct strv *standing, const struct docker_containers *now)
{
	for (size_t i = 0; i < now->count; i++)
		if (strv_has(standing, now->items[i].id))
			compose_state_add(wanted, &now->items[i]);
	return wanted;
}

/* A file on the target says which: what is no id of a container is none. */
static void list_of(const json_t *about, struct strv *ret)
{
	size_t i;
	json_t *one;
	json_array_foreach(json_get_array(about, "standing"), i, one)
	{
		const char *id = json_string_value(one);
		if (id != NULL && strlen(id) == ID_LENGTH && id[strspn(id, "0123456789abcdef")] == '\0')
			strv_add(ret, id);
	}
}

void compose_hide(struct docker_containers *l, const json_t *about, struct strv *hidden)
{
	_cleanup_(strv_done) struct strv ids = {0};
	list_of(about, &ids);
	for (size_t i = l->count; i-- > 0;)
		if (strv_has(&ids, l->items[i].id)) {
			strv_add(hidden, l->items[i].id);
			docker_containers_drop(l, i);
		}
}

int compose_remove_containers(const struct docker *d, const char *project, const struct strv *ids, int64_t timeout_ms,
                              struct err *err)
{
	_cleanup_(str_done) struct str words = STR_INIT(64 << 10), script = STR_INIT(256 << 10), label = STR_INIT(1024);
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	if (ids->count == 0)
		return 0;
	for (size_t i = 0; i < ids->count; i++)
		str_appendf(&words, " %s", ids->items[i]);
	str_appendf(&label, "label=com.docker.compose.project=%s", project);
	str_appendf(
		&script,
		"docker stop%s >/dev/null 2>&1; docker rm --force%s >/dev/null 2>&1\nleft=$(docker ps --all --quiet --no-trunc --filter ",
		str_peek(&words), str_peek(&words));
	str_append_shell(&script, str_peek(&label));
	str_appendf(&script,
	            ") || exit\nfor i in%s; do case $left in *$i*) echo \"$i stays\" >&2; exit 1 ;; esac; done\n",
	            str_peek(&words));
	const struct docker_call call = {
		.script = str_peek(&script), .timeout_ms = timeout_ms + STOP_EXTRA_MS, .changes = true};
	return docker_must(d, &call, &said, err);
}

int compose_drop_standing(const struct step_context *c, struct target *t, const char *current, struct err *err)
{
	const struct compose_up_in *in = c->input;
	struct docker d = compose_docker(c, &t->view, t);
	_cleanup_(strv_done) struct strv ids = {0};
	_cleanup_json_ json_t *model = NULL;
	if (current == NULL)
		return 0;
	_cleanup_free_ char *path = compose_file(&t->view, in->project, current);
	int r = compose_read_model(&t->view, path, &model, err);
	if (r == ERR_NOT_FOUND)
		err_clear(err);
	if (r < 0)
		return r == ERR_NOT_FOUND ? 0 : r;
	json_t *about = json_get_object(model, "x-davit");
	list_of(about, &ids);
	r = compose_remove_containers(&d, in->project, &ids, in->timeout_ms, err);
	if (r < 0 || ids.count == 0)
		return r;
	c->report(c->engine, "removed %zu former container%s of %s", ids.count, ids.count == 1 ? "" : "s", in->project);
	json_object_del(about, "standing");
	return compose_put_json(t, path, model, err);
}
