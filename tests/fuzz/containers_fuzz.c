/* What a workflow asks for as containers: the message's tokens, evaluated and held against a policy; then the words of docker. */
#include "agent/worker/containers/containers.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The image stands there once as a word of its own, behind all options. */
static void look_at(const struct container *c, struct mask *mask)
{
	struct strv argv = {.count = 0}, env = {.count = 0};
	struct container_place place = {.program = "docker", .name = "n", .network = "w", .workdir = "/__w"};
	container_create_arguments(c, &place, mask, &argv, &env);
	size_t behind = c->command.count + (c->alias == NULL ? 2 : 0) + 1;
	if (docker_check_image(c->image, NULL) < 0 || argv.count < behind ||
	    strcmp(argv.items[argv.count - behind], c->image) != 0)
		abort();
	for (size_t i = 0; i < c->options.count; i++)
		if (strcmp(c->options.items[i], "--") == 0 && (i == 0 || c->options.items[i - 1][0] != '-'))
			abort();
	strv_done(&argv);
	strv_done(&env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ json_t *message = NULL;
	if (json_parse((const char *)data, size, 1 << 16, &message, NULL) < 0 || !json_is_object(message))
		return 0;
	_cleanup_(mask_freep) struct mask *mask = mask_new();
	_cleanup_json_ json_t *settings = json_pack("{s:s}", "actions", "docker://*"),
			      *contexts = json_pack("{s:{s:s}, s:{s:s}}", "github", "actor", "a", "secrets", "S", "s"),
			      *environ = json_object();
	struct job j = {.message = message,
	                .settings = settings,
	                .mask = mask,
	                .contexts = contexts,
	                .github = json_object_get(contexts, "github"),
	                .job_environ = environ,
	                .scope = {.expr = {.contexts = contexts}},
	                .input_fd = -1,
	                .signal_fd = -1,
	                .log = {.block = STR_INIT(1 << 22)}};
	j.setup = record_new(&j, NULL, "Set up job");
	struct err err = ERR_INIT;
	int r = containers_read(&j, &err);
	if (r < 0 && j.containers != NULL)
		abort();
	for (size_t i = 0; j.containers != NULL && i < j.containers->count; i++)
		look_at(&j.containers->all[i], mask);
	containers_free(j.containers);
	for (size_t i = 0; i < j.record_count; i++)
		record_free(j.records[i]);
	free(j.records);
	str_done(&j.log.block);
	return 0;
}
