/* A `uses:` of the agent's own actions: davit-step with the inputs; and the decision of the deployment that such steps share.
 */
#include "agent/worker/action.h"

#include "agent/actions/resolve.h"
#include "agent/service/wire.h"
#include "base/sys/fs.h"

#include <strings.h>

enum { DOCUMENT_MAX = 8 << 20 };

static void log_action_head(struct job *j, struct record *r, const struct uses *uses, const json_t *inputs)
{
	const char *name;
	json_t *value;
	record_line(j, r, "##[group]Run %s", uses->shown);
	if (json_object_size(inputs) > 0)
		record_line(j, r, "with:");
	json_object_foreach((json_t *)inputs, name, value) if (json_string_length(value) > 0)
		record_line(j, r, "  %s: %s", name, json_string_value(value));
	step_log_env(j, r);
	record_line(j, r, "##[endgroup]");
}

static json_t *job_document(const struct job *j, const struct record *r, const json_t *inputs)
{
	_cleanup_json_ json_t *env = environ_open_values(j, r);
	struct uses_job source = {
		.inputs = inputs,
		.env = env,
		.github = j->github,
		.matrix = json_object_get(j->contexts, "matrix"),
		.secrets = json_object_get(j->contexts, "secrets"),
		.tracking_id = j->tracking_id,
		.workspace = j->workspace,
		.on_failure = json_get_string(j->settings, "on_failure"),
		.status = json_get_string(j->job_context, "status"),
		.environment = wire_string(wire_get(j->message, "actionsEnvironment"), "name"),
		.isolation = json_get_object(j->settings, "isolation"),
	};
	return uses_job(&source);
}

int typed_run(struct job *j, struct record *r, const struct uses *uses, const json_t *inputs, int64_t timeout_ms,
              bool deaf, enum process_end *ret_end, int *ret_status, struct err *err)
{
	_cleanup_free_ char *program = fs_helper_program("davit-step", err);
	if (program == NULL)
		return ERR_NOT_FOUND;
	_cleanup_json_ json_t *job = job_document(j, r, inputs);
	_cleanup_(str_done) struct str document = STR_SECRET_INIT(DOCUMENT_MAX);
	if (!uses_document(uses, inputs, job, &document))
		return err_set(err, ERR_LIMIT, "the inputs of %s are larger than %d MiB", uses->shown,
		               DOCUMENT_MAX >> 20);
	const char *argv[6];
	struct strv env = {.count = 0};
	uses_arguments(uses, program, argv);
	environ_make(j, r, ENVIRON_TYPED, &env);
	struct process p = {
		.argv = argv,
		.env = (const char *const *)strv_null_terminated(&env),
		.cwd = j->workspace,
		.input = str_peek(&document),
		.input_len = document.len,
		.timeout_ms = timeout_ms,
		.patient = true,
		.deaf = deaf,
	};
	int e = process_run(j, r, &p, ret_end, ret_status, err);
	strv_done(&env);
	return e;
}

/* The deployment that the steps of this job may have opened is decided at the job's end, in a record of its own,
 * numbered like a post step. */
static void expect_decision(struct job *j, struct record *r)
{
	if (j->decide == NULL)
		j->decide = record_expect_post(j, r, "Decide the deployment");
}

/* This davit, on the PATH of later steps. */
static int set_up(struct job *j, struct record *r, struct err *err)
{
	_cleanup_free_ char *program = fs_helper_program("davit", err);
	if (program == NULL)
		return ERR_NOT_FOUND;
	_cleanup_free_ char *directory = xstrndup(program, (size_t)(strrchr(program, '/') - program));
	record_line(j, r, "davit %s of this agent: %s", DAVIT_VERSION, program);
	int e = record_set_output(j, r, "path", program, strlen(program), err);
	return e < 0 ? e : job_add_path(j, directory, err);
}

static int run(struct job *j, struct record *r, const json_t *inputs, enum result *ret, struct err *err)
{
	const struct uses *uses = r->memory;
	r->type = xstrdup("davit");
	r->action_name = xstrdup(uses->action);
	r->ref = xstrdup(uses->ref);
	log_action_head(j, r, uses, inputs);
	if (uses->kind == USES_SETUP) {
		int e = set_up(j, r, err);
		*ret = e < 0 ? RESULT_FAILED : RESULT_SUCCEEDED;
		return e;
	}
	if (!uses_only_looks(uses))
		expect_decision(j, r);
	enum process_end end = PROCESS_EXITED;
	int status = 0;
	int e = typed_run(j, r, uses, inputs, step_time_ms(r), false, &end, &status, err);
	if (e < 0)
		return e;
	if (end == PROCESS_EXITED && status != 0)
		record_debug(j, r, "exit code %d", status);
	*ret = step_end_of_process(j, r, end, status);
	return 0;
}

/* Of the first step that may have opened the deployment: all of them share it. */
static void post(struct job *j, struct record *r)
{
	(void)r;
	job_decide(j);
}

static bool takes(const struct job *j, const json_t *reference)
{
	const char *name = wire_string(reference, "name");
	return name != NULL && strcasecmp(name, job_setting(j, "actions_repository")) == 0;
}

static int prepare(struct job *j, const struct action_place *place, void **ret_memory, char **ret_shown,
                   struct err *err)
{
	struct uses uses = {.step = NULL};
	int e = uses_resolve(place->reference, job_setting(j, "actions_repository"), &uses, err);
	if (e < 0)
		return e;
	*ret_shown = xstrdup(uses.shown);
	*ret_memory = xmemdup(&uses, sizeof(uses));
	return 0;
}

static void release(void *memory)
{
	if (memory != NULL)
		uses_done(memory);
	free(memory);
}

const struct action_type action_typed = {
	.takes = takes, .prepare = prepare, .run = run, .post = post, .release = release, .here = true};
