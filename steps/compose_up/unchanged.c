/* The short way for a stack that runs as configured: one look, which reads all that the configuration depends on and what the engine says of
 * its containers and images. Only where both are as they were when the stack was started there is nothing to do; whatever differs, or cannot
 * be told, takes the long way. */
#include "steps/compose_up/inputs.h"
#include "providers/docker/socket.h"

static bool is_plain_name(const char *name)
{
	return name != NULL && *name != '\0' &&
	       name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")] == '\0' &&
	       (*name < '0' || *name > '9');
}

/* It comes from a file on the target, and its names become variables of a script. */
static bool is_usable(const json_t *inputs)
{
	size_t i;
	json_t *one;
	if (json_get_string(inputs, "digest") == NULL || json_get_array(inputs, "files") == NULL)
		return false;
	json_array_foreach(json_get_array(inputs, "files"), i, one) if (!json_is_string(one)) return false;
	json_array_foreach(json_get_array(inputs, "names"), i,
	                   one) if (!is_plain_name(json_string_value(one))) return false;
	return true;
}

static int ask(const struct docker *d, const struct compose_up_in *in, const json_t *inputs,
               const struct docker_questions *questions, struct target_result *said, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(1 << 20), words = STR_SECRET_INIT(1 << 20);
	said->out.wipe = true;
	compose_inputs_script(&script, in);
	compose_inputs_words(inputs, &words);
	docker_socket_ask(d, &script, questions);
	const struct docker_call call = {.script = str_peek(&script),
	                                 .input = words.data,
	                                 .input_len = words.len,
	                                 .timeout_ms = COMPOSE_LOOK_MS};
	return docker_ask(d, &call, said, err);
}

static void list_images(const struct compose_stack *s, struct strv *ret)
{
	for (size_t i = 0; i < s->count; i++)
		if (!strv_has(ret, s->services[i].image))
			strv_add(ret, s->services[i].image);
}

static int look(const struct step_context *c, const struct docker *d, json_t *known, struct compose_payload *p,
                bool *ret_same, struct err *err)
{
	const struct compose_up_in *in = c->input;
	const json_t *inputs = json_get_object(json_get_object(known, "x-davit"), "inputs");
	_cleanup_(strv_done) struct strv images = {0}, faults = {0};
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	_cleanup_json_ json_t *here = NULL;
	char hex[DIGEST_HEX];
	if (!is_usable(inputs) || compose_known_stack(in, known, &p->stack) < 0)
		return 0;
	/* Those of the input are told by the long way, whatever runs. */
	compose_roll_faults(in, &p->stack, &faults);
	if (faults.count > 0)
		return 0;
	list_images(&p->stack, &images);
	const struct docker_questions questions = {in->project, &images};
	int r = ask(d, in, inputs, &questions, &said, err);
	if (r < 0 || said.status != 0 || !compose_inputs_digest(in, &said.out, hex) ||
	    strcmp(hex, json_get_string(inputs, "digest")) != 0)
		return r;
	if (!docker_socket_read(d, &said.out, &questions, &p->was, &here)) {
		docker_containers_done(&p->was);
		r = docker_project(d, in->project, &p->was, err);
		if (r == 0)
			r = docker_images(d, &images, &here, err);
	}
	if (r == 0) {
		p->images = compose_images_of(in, &p->stack, here);
		*ret_same = compose_is_same(p);
	}
	return r;
}

int compose_unchanged(const struct step_context *c, const struct docker *d, struct compose_payload *p, bool *ret_same,
                      struct err *err)
{
	_cleanup_json_ json_t *known = NULL;
	*ret_same = false;
	int r = compose_read_own(c, d, &known, err);
	if (r == 0 && known != NULL)
		r = look(c, d, known, p, ret_same, err);
	if (*ret_same)
		return 0;
	compose_payload_clear(p);
	return r;
}
