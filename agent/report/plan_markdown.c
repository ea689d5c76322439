/* A plan as Markdown, for a comment or an issue: what is risky first, the rest folded, the digest at the end. Whatever comes from a
 * target, a repository or a resource stands in a code span of one line, where nothing means anything and nobody is mentioned. */
#include "agent/report/report.h"
#include "agent/report/report_priv.h"

#include <string.h>

#include "base/core/shown.h"

enum {
	PLACE_MAX = 300,
	WORDS_MAX = 600,
	VALUE_MAX = 200,
	DIGEST_SHOWN = 12,
	ATTRIBUTES_MAX = 5000,
	FINDINGS_MAX = 40,
	FOOT_MAX = 1500,
	TEXT_MAX = 1 << 20,
};

/* The room that is left for the part that may be cut. */
struct page {
	struct str *out;
	size_t limit;
	bool full;
	size_t left_out, attributes_left_out;
};

/* The piece, and what closes it later, fit. Behind one that does not, all is left out, so that nothing is missed in between. */
static bool page_takes(struct page *p, const struct str *piece, size_t closing)
{
	p->full = p->full || piece->failed || p->out->len + piece->len + closing > p->limit;
	if (!p->full)
		str_append_n(p->out, str_peek(piece), piece->len);
	return !p->full;
}

static bool page_add(struct page *p, const struct str *piece, size_t closing)
{
	bool taken = page_takes(p, piece, closing);
	p->left_out += !taken;
	return taken;
}

/* ---- one change ---- */

static const char *const actions[] = {"destroy", "replace", "create", "update", "run", "adopt"};
enum { ACTIONS_RISKY = 2 };

/* Only words of ours stand outside of code. */
static const char *known_word(const char *word, const char *const *words, size_t count, const char *other)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(word, words[i]) == 0)
			return words[i];
	return other;
}

static bool is_action(const json_t *change, const char *action)
{
	return strcmp(report_text_of(change, "action"), action) == 0;
}

static const json_t *risk_of(const json_t *change)
{
	return json_object_get(json_object_get(change, "extra"), "risk");
}

static bool is_risky(const json_t *change)
{
	return is_action(change, "destroy") || is_action(change, "replace") || json_array_size(risk_of(change)) > 0;
}

/* **destroy** `web` `/etc/x`: `what` */
static void append_change(struct str *out, const json_t *change)
{
	str_appendf(out, "**%s** ",
	            known_word(report_text_of(change, "action"), actions, ARRAY_SIZE(actions), "change"));
	shown_code(out, report_text_of(change, "target"), PLACE_MAX);
	str_append_c(out, ' ');
	shown_code(out, report_text_of(change, "path"), PLACE_MAX);
	if (*report_text_of(change, "summary") != '\0') {
		str_append(out, ": ");
		shown_code(out, report_text_of(change, "summary"), WORDS_MAX);
	}
	size_t i;
	json_t *why;
	json_array_foreach((json_t *)(uintptr_t)risk_of(change), i, why)
	{
		str_append(out, ", ");
		shown_code(out, json_string_value(why), VALUE_MAX);
	}
	str_append_c(out, '\n');
}

static void append_value(struct str *out, const json_t *value, bool digest)
{
	if (value == NULL || json_is_null(value)) {
		str_append(out, "nothing");
		return;
	}
	_cleanup_free_ char *text =
		json_is_string(value) ? xstrdup(json_string_value(value)) : json_dumps(value, JSON_ENCODE_ANY);
	if (digest && text != NULL && strlen(text) > DIGEST_SHOWN)
		text[DIGEST_SHOWN] = '\0';
	if (text != NULL && *text == '\0')
		str_append(out, "empty");
	shown_code(out, text, VALUE_MAX);
}

static void append_attribute(struct str *out, const char *name, const json_t *from, const json_t *to)
{
	bool digest = strcmp(name, "digest") == 0;
	str_append(out, "  - ");
	shown_code(out, name, VALUE_MAX);
	str_append(out, ": ");
	append_value(out, from, digest);
	str_append(out, " → ");
	append_value(out, to, digest);
	str_append_c(out, '\n');
}

static bool is_shown(const char *name, const json_t *from, const json_t *to)
{
	return strcmp(name, "mtime_ns") != 0 && (from == NULL || to == NULL || !json_equal(from, to));
}

/* What goes as a whole has no attributes any more. */
static void append_attributes(struct page *p, const json_t *change, size_t closing)
{
	const json_t *before = json_object_get(change, "before"), *after = json_object_get(change, "after");
	_cleanup_json_ json_t *all = json_object();
	size_t shown = 0;
	const char *name;
	json_t *value;
	if (is_action(change, "destroy"))
		return;
	json_object_update(all, (json_t *)(uintptr_t)before);
	json_object_update(all, (json_t *)(uintptr_t)after);
	json_object_foreach(all, name, value)
	{
		const json_t *from = json_object_get(before, name), *to = json_object_get(after, name);
		_cleanup_(str_done) struct str piece = STR_INIT(TEXT_MAX);
		if (!is_shown(name, from, to))
			continue;
		append_attribute(&piece, name, from, to);
		if (shown++ >= ATTRIBUTES_MAX || !page_takes(p, &piece, closing))
			p->attributes_left_out++;
	}
}

/* ---- first: what to look at ---- */

static void append_counts(struct str *out, const json_t *changes)
{
	size_t total = json_array_size(changes), i;
	json_t *change;
	bool first = true;
	str_appendf(out, "\n**%zu change%s**", total, total == 1 ? "" : "s");
	for (size_t k = 0; k < ARRAY_SIZE(actions); k++) {
		size_t count = 0;
		json_array_foreach((json_t *)(uintptr_t)changes, i, change) count += is_action(change, actions[k]);
		if (count == 0)
			continue;
		str_appendf(out, k < ACTIONS_RISKY ? "%s**%zu %s**" : "%s%zu %s", first ? ": " : ", ", count,
		            actions[k]);
		first = false;
	}
	str_append(out, ".\n");
}

/* At most half of the room: the folded part has each of them again. */
static void append_risky(struct page *p, const json_t *changes)
{
	size_t i, count = 0;
	json_t *change;
	struct page risky = {.out = p->out, .limit = p->out->len + (p->limit - p->out->len) / 2};
	json_array_foreach((json_t *)(uintptr_t)changes, i, change) count += is_risky(change);
	if (count == 0)
		return;
	str_appendf(p->out, "\n**Look at %s first:**\n\n", count == 1 ? "this one" : "these");
	json_array_foreach((json_t *)(uintptr_t)changes, i, change)
	{
		_cleanup_(str_done) struct str piece = STR_INIT(TEXT_MAX);
		if (!is_risky(change))
			continue;
		str_append(&piece, "- ");
		append_change(&piece, change);
		page_add(&risky, &piece, 0);
	}
	if (risky.left_out > 0)
		str_appendf(p->out, "- and %zu more of them\n", risky.left_out);
}

static void append_finding(struct str *out, const json_t *finding)
{
	static const char *const severities[] = {"error", "warning"};
	str_appendf(out, "- **%s** ",
	            known_word(report_text_of(finding, "severity"), severities, ARRAY_SIZE(severities), "finding"));
	shown_code(out, report_text_of(finding, "target"), PLACE_MAX);
	str_append_c(out, ' ');
	shown_code(out, report_text_of(finding, "at"), PLACE_MAX);
	str_append(out, ": ");
	shown_code(out, report_text_of(finding, "text"), WORDS_MAX);
	if (*report_text_of(finding, "hint") != '\0') {
		str_append(out, "; ");
		shown_code(out, report_text_of(finding, "hint"), WORDS_MAX);
	}
	str_append_c(out, '\n');
}

static void append_findings(struct page *p, const json_t *findings)
{
	size_t i, more = 0;
	json_t *finding;
	struct page found = {.out = p->out, .limit = p->out->len + (p->limit - p->out->len) / 2};
	if (json_array_size(findings) > 0)
		str_append(p->out, "\n**Found before the first change:**\n\n");
	json_array_foreach((json_t *)(uintptr_t)findings, i, finding)
	{
		_cleanup_(str_done) struct str piece = STR_INIT(TEXT_MAX);
		append_finding(&piece, finding);
		if (i >= FINDINGS_MAX || !page_add(&found, &piece, 0))
			more++;
	}
	if (more > 0)
		str_appendf(p->out, "- and %zu more\n", more);
}

/* ---- folded: all of it ---- */

/* HTML, in which Markdown is not read; code mentions nobody. */
static void append_html_code(struct str *out, const char *text)
{
	_cleanup_free_ char *cut = shown_text(text, strlen(text), PLACE_MAX);
	_cleanup_(str_done) struct str safe = STR_INIT(TEXT_MAX);
	str_append_safe(&safe, cut, strlen(cut));
	str_append(out, "<code>");
	for (const char *p = str_peek(&safe); *p != '\0'; p++) {
		if (strchr("<>&\"'", *p) != NULL)
			str_appendf(out, "&#%d;", *p);
		else
			str_append_c(out, *p);
	}
	str_append(out, "</code>");
}

static const char folded_end[] = "\n</details>\n";

static void append_warnings(struct page *p, const json_t *warnings)
{
	size_t i;
	json_t *warning;
	json_array_foreach((json_t *)(uintptr_t)warnings, i, warning)
	{
		_cleanup_(str_done) struct str piece = STR_INIT(TEXT_MAX);
		str_append(&piece, "- warning: ");
		shown_code(&piece, json_string_value(warning), WORDS_MAX);
		str_append_c(&piece, '\n');
		page_add(p, &piece, sizeof(folded_end));
	}
}

static void append_step(struct page *p, const json_t *step, size_t number)
{
	_cleanup_(str_done) struct str head = STR_INIT(TEXT_MAX);
	const json_t *changes = json_object_get(step, "changes"), *warnings = json_object_get(step, "warnings");
	size_t count = json_array_size(changes), warned = json_array_size(warnings), i;
	json_t *change;
	str_appendf(&head, "\n<details><summary>%zu. ", number);
	append_html_code(&head,
	                 *report_text_of(step, "name") ? report_text_of(step, "name") : report_text_of(step, "step"));
	str_appendf(&head, ": %zu change%s", count, count == 1 ? "" : "s");
	if (warned > 0)
		str_appendf(&head, ", %zu warning%s", warned, warned == 1 ? "" : "s");
	str_append(&head, "</summary>\n\n");
	shown_code(&head, report_text_of(step, "description"), WORDS_MAX);
	str_append(&head, "\n\n");
	if (!page_add(p, &head, sizeof(folded_end))) {
		p->left_out += count + warned - 1;
		return;
	}
	json_array_foreach((json_t *)(uintptr_t)changes, i, change)
	{
		_cleanup_(str_done) struct str piece = STR_INIT(TEXT_MAX);
		str_append(&piece, "- ");
		append_change(&piece, change);
		if (page_add(p, &piece, sizeof(folded_end)))
			append_attributes(p, change, sizeof(folded_end));
	}
	append_warnings(p, warnings);
	str_append(p->out, folded_end);
}

static bool has_anything(const json_t *step)
{
	return json_array_size(json_object_get(step, "changes")) + json_array_size(json_object_get(step, "warnings")) >
	       0;
}

static void append_steps(struct page *p, const json_t *report)
{
	size_t i;
	json_t *step;
	json_array_foreach(json_object_get(report, "plan"), i, step) if (has_anything(step))
		append_step(p, step, i + 1);
}

/* ---- the whole ---- */

static void append_head(struct str *out, const struct report_plan *plan)
{
	str_appendf(out, "### %s: ", plan->title);
	shown_code(out, plan->name, PLACE_MAX);
	str_append(out, " to ");
	shown_code(out, plan->environment, PLACE_MAX);
	str_append(out, "\n");
	if (plan->commit != NULL) {
		_cleanup_free_ char *commit = xasprintf("%.*s", DIGEST_SHOWN, plan->commit);
		str_append(out, "\nOf ");
		shown_code(out, commit, DIGEST_SHOWN);
		str_append(out, ".\n");
	}
	if (plan->reason != NULL && *plan->reason != '\0') {
		str_append(out, "\n**Refused:** ");
		shown_code(out, plan->reason, WORDS_MAX);
		str_append(out, "\n");
	}
}

static void append_left_out(struct str *out, const struct page *p)
{
	if (p->left_out == 0 && p->attributes_left_out == 0)
		return;
	str_append(out, "\n**Left out here for lack of room: ");
	if (p->left_out > 0)
		str_appendf(out, "%zu change%s or warnings", p->left_out, p->left_out == 1 ? "" : "s");
	if (p->attributes_left_out > 0)
		str_appendf(out, "%s%zu attribute%s", p->left_out > 0 ? ", " : "", p->attributes_left_out,
		            p->attributes_left_out == 1 ? "" : "s");
	str_append(out, ".** The job's log has all of them.\n");
}

static void append_foot(struct str *out, const struct report_plan *plan)
{
	if (plan->note != NULL)
		str_appendf(out, "\n%s\n", plan->note);
	if (plan->digest != NULL && *plan->digest != '\0')
		str_appendf(out, "\nPlan `%s`\n", plan->digest);
}

char *report_plan_markdown(const struct report_plan *plan, const json_t *report, size_t max)
{
	_cleanup_(str_done) struct str out = STR_INIT(max);
	_cleanup_json_ json_t *changes = report_planned_changes(report);
	struct page page = {.out = &out, .limit = max - FOOT_MAX};
	append_head(&out, plan);
	append_findings(&page, json_object_get(report, "findings"));
	if (json_array_size(changes) > 0)
		append_counts(&out, changes);
	else if (plan->reason == NULL)
		str_appendf(&out, "\n%s\n", plan->nothing);
	append_risky(&page, changes);
	append_steps(&page, report);
	append_left_out(&out, &page);
	append_foot(&out, plan);
	return str_take(&out);
}
