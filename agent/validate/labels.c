/* labels: whether a runner has what `runs-on` asks for (H4): a known one, or one of GitHub's, by its right name. */
#include "agent/validate/validate_priv.h"
#include "base/core/mem.h"

#include <fnmatch.h>
#include <string.h>
#include <strings.h>

/* ---- GitHub's own labels ---- */

/* Versions come and go: what has the shape of one is taken for one, whether this program knows it or not. */
static const char *const shapes[] = {
	"ubuntu-[0-9][0-9].[0-9][0-9]*",
	"windows-[0-9][0-9][0-9][0-9]*",
	"windows-[0-9][0-9]-*",
	"macos-[0-9][0-9]*",
	"ubuntu-latest*",
	"windows-latest*",
	"macos-latest*",
	"self-hosted*",
	"ubuntu-slim*",
};
/* What a slip of the keyboard was to be. */
static const char *const hosted[] = {"ubuntu-latest",  "ubuntu-26.04", "ubuntu-24.04", "ubuntu-22.04",
                                     "windows-latest", "windows-2025", "windows-2022", "macos-latest",
                                     "macos-15",       "macos-14",     "self-hosted"};
enum { SLIPS = 2 };

static bool is_hosted(const char *label)
{
	return str_starts(label, "ubuntu-") || str_starts(label, "windows-") || str_starts(label, "macos-");
}

/* The label that was meant; NULL: it is one, or nothing like it. */
static const char *meant(const char *label)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
		if (fnmatch(shapes[i], label, FNM_CASEFOLD) == 0)
			return NULL;
	return strlen(label) > 4 * SLIPS ? str_near(label, SLIPS, hosted, ARRAY_SIZE(hosted)) : NULL;
}

/* ---- runners that are known here ---- */

static bool runner_has(const char *runner, const json_t *labels)
{
	_cleanup_free_ char *all = xasprintf(",%s,", runner);
	size_t i;
	json_t *label;
	json_array_foreach(labels, i, label)
	{
		_cleanup_free_ char *one =
			xasprintf(",%s,", json_string_value(label) != NULL ? json_string_value(label) : "");
		if (strcasestr(all, one) == NULL)
			return false;
	}
	return true;
}

static bool any_has(const struct look *l, const json_t *labels)
{
	const struct strv *runners = &l->file->options->runners;
	for (size_t r = 0; r < runners->count; r++)
		if (runner_has(runners->items[r], labels))
			return true;
	return false;
}

/* At l->at, the place of the labels. */
static void check_known(struct look *l, const json_t *labels)
{
	_cleanup_(str_done) struct str wanted = STR_INIT(4096);
	size_t i;
	json_t *label;
	if (l->file->options->runners.count == 0 || any_has(l, labels))
		return;
	json_array_foreach(labels, i, label)
	{
		const char *text = json_string_value(label);
		if (text == NULL || strstr(text, "${{") != NULL || is_hosted(text))
			return;
		str_appendf(&wanted, "%s%s", i > 0 ? ", " : "", text);
	}
	validate_report(l, FINDING_WARNING, "no-runner",
	                "`davit agent configure --labels` gives a runner labels; `davit agent status` shows them",
	                "no runner that is known here has the label%s %s", json_array_size(labels) == 1 ? "" : "s",
	                str_peek(&wanted));
}

/* At l->at; true: it was found. One that a runner here has is no mistake. */
static bool check_spelling(struct look *l, const char *label)
{
	_cleanup_json_ json_t *alone = json_pack("[s]", label);
	const char *right = meant(label);
	if (right == NULL || any_has(l, alone))
		return false;
	validate_report(l, FINDING_WARNING, "no-runner",
	                "correct it, or name the runner that has it: `--runner LABELS`",
	                "the label '%s' is not one of GitHub's; did you mean '%s'?", label, right);
	return true;
}

/* ---- where they stand ---- */

static bool check_each(struct look *l, const json_t *labels)
{
	bool found = false;
	size_t i, base = l->at.len;
	json_t *label;
	json_array_foreach(labels, i, label)
	{
		faults_pointer_push_index(&l->at, i);
		if (json_is_string(label))
			found |= check_spelling(l, json_string_value(label));
		str_truncate(&l->at, base);
	}
	return found;
}

/* NAME of "${{ matrix.NAME }}"; NULL: another text. free() */
static char *matrix_key(const char *text)
{
	char name[101], end[3] = "";
	int whole = 0;
	if (sscanf(text, " ${{ matrix.%100[A-Za-z0-9_-] }%2[}]%n", name, end, &whole) != 2 || text[whole] != '\0')
		return NULL;
	return xstrdup(name);
}

/* At the job. */
static void check_matrix_labels(struct look *l, const json_t *job, const char *key)
{
	const json_t *matrix = json_object_get(json_object_get(job, "strategy"), "matrix");
	const json_t *include = json_object_get(matrix, "include");
	size_t i, base = l->at.len;
	json_t *leg;
	faults_pointer_push(&l->at, "strategy");
	faults_pointer_push(&l->at, "matrix");
	size_t inner = l->at.len;
	faults_pointer_push(&l->at, key);
	check_each(l, json_object_get(matrix, key));
	str_truncate(&l->at, inner);
	faults_pointer_push(&l->at, "include");
	json_array_foreach(include, i, leg)
	{
		const char *label = json_string_value(json_object_get(leg, key));
		size_t at = l->at.len;
		faults_pointer_push_index(&l->at, i);
		faults_pointer_push(&l->at, key);
		if (label != NULL)
			check_spelling(l, label);
		str_truncate(&l->at, at);
	}
	str_truncate(&l->at, base);
}

void validate_labels(struct look *l, const json_t *job)
{
	const json_t *value = json_object_get(job, "runs-on");
	const char *text = json_string_value(value);
	_cleanup_free_ char *key = text != NULL ? matrix_key(text) : NULL;
	size_t base = l->at.len;
	if (key != NULL) {
		check_matrix_labels(l, job, key);
		return;
	}
	faults_pointer_push(&l->at, "runs-on");
	if (text != NULL) {
		_cleanup_json_ json_t *alone = json_pack("[s]", text);
		if (!check_spelling(l, text))
			check_known(l, alone);
	} else if (json_is_array(value) && !check_each(l, value)) {
		check_known(l, value);
	}
	str_truncate(&l->at, base);
}
