/* Workflow files as somebody may push them: read, or refused with a fault; a job of what was read makes a message. */
#include "agent/workflow/workflow.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct faults faults = {0};
	struct err err = ERR_INIT;
	struct yaml_doc *doc = NULL;
	_cleanup_(workflow_freep) struct workflow *w = NULL;
	int r = workflow_read("w.yml", (const char *)data, size, &faults, &w, &doc, &err);
	if ((r < 0) != (w == NULL) || (r >= 0 && faults.count))
		abort();
	_cleanup_(str_done) struct str text = STR_INIT(1 << 20);
	if (faults.count)
		faults_print(&faults, doc, &text);
	_cleanup_json_ json_t *empty = json_object();
	for (size_t i = 0; w && i < w->job_count; i++) {
		_cleanup_json_ json_t *permissions = workflow_permissions(w, &w->jobs[i]);
		struct workflow_message m = {.workflow = w,
		                             .job = &w->jobs[i],
		                             .plan_id = "p",
		                             .job_id = "j",
		                             .display_name = "n",
		                             .run_service_url = "u",
		                             .results_url = "r",
		                             .actions_url = "r",
		                             .launch_url = "l",
		                             .access_token = "a",
		                             .github_token = "g",
		                             .billing_owner_id = "b",
		                             .runner_group = "d",
		                             .github = empty,
		                             .secrets = empty,
		                             .permissions = permissions};
		json_t *message = workflow_job_message(&m);
		if (!message)
			abort();
		json_decref(message);
	}
	if (w) {
		json_t *inputs = NULL;
		workflow_wants_push(w, "refs/heads/feature/x");
		if (workflow_dispatch_inputs(w, empty, &inputs, NULL) >= 0)
			json_decref(inputs);
	}
	faults_done(&faults);
	yaml_freep(&doc);
	return 0;
}
