/* codes: what each code of a finding means; docs/findings.md has the same rows, and a test compares. */
#include "agent/validate/finding.h"
#include "base/core/mem.h"

#include <string.h>

static const struct {
	const char *code, *meaning;
} codes[] = {
	{"call-input-type", "a literal value that is given to a called workflow has another type than its input"},
	{"condition-is-text",
         "`if:` mixes text and `${{ }}`: that is a string, and a string that is not empty is true"},
	{"cron", "a schedule is not five fields of minute, hour, day, month and weekday"},
	{"cycle", "jobs wait for each other"},
	{"expression",
         "an expression that is not closed or not understood, or a function or context that is not known there"},
	{"migration-not-committed",
         "a file below a directory of migrations (`migrations`, `migrate`, `migration`, `alembic/versions`, or each `--migrations DIR`) is new or changed"},
	{"migration-not-pushed",
         "its commit is on no remote, as far as this clone knows. A clone without remotes is not asked"},
	{"missing-action-input", "an input that the action requires is not given"},
	{"missing-call-input", "an input or a secret that a called workflow requires is not given"},
	{"missing-shell", "a `run` step of a composite action has no `shell`"},
	{"no-finish", "a job has single steps of davit and nothing that decides their deployment under another runner"},
	{"no-runner",
         "no runner that is known has the labels of `runs-on`: those of this machine's agent, and each `--runner LABELS`. Where none is known nothing is said"},
	{"not-done-here", "GitHub takes it, davit's agent does not do it yet"},
	{"private-key", "a tracked file holds a private key, in lines or in one. The key is not shown"},
	{"schema", "a deployment file does not fit its schema; an expression fits everywhere"},
	{"script-injection",
         "a script holds what a stranger chooses: a title, a body, a branch, a message. It becomes part of the script before the shell reads it"},
	{"syntax", "the shape is wrong: a list where a map belongs, a key that is missing"},
	{"token", "a tracked file holds a token in the form that its service documents. The token is not shown"},
	{"unknown-action", "`uses: ./PATH` holds no `action.yml` in this work tree"},
	{"unknown-action-input", "the action does not have that input. Known are davit's own actions and local ones"},
	{"unknown-call-input", "a called workflow does not declare that input or secret"},
	{"unknown-event", "no such event starts a workflow"},
	{"unknown-file", "a file that was named is no workflow, no action and no deployment file"},
	{"unknown-input", "`inputs.NAME` is not declared"},
	{"unknown-job", "`needs` names no job of the file"},
	{"unknown-key", "a key that is not known there"},
	{"unknown-matrix-key", "`matrix.NAME` is no key of the job's matrix, where that is written out"},
	{"unknown-need", "`needs.JOB` of a job that is not needed is empty"},
	{"unknown-output", "the job that is needed, or the workflow that it calls, does not declare that output"},
	{"unknown-shell", "a shell that no runner knows, and no command with `{0}`"},
	{"unknown-step", "`steps.ID` names no step of the job, or one that runs later"},
	{"unknown-target", "a deployment file names a target that it does not have"},
	{"unknown-workflow", "a workflow that is called is not there, or has no `workflow_call`"},
	{"yaml", "the file is no YAML, or has what GitHub does not read"},
};

const char *finding_meaning(const char *code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (strcmp(codes[i].code, code) == 0)
			return codes[i].meaning;
	return NULL;
}
