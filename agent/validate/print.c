/* print: findings as lines, JSON, workflow commands or SARIF. */
#include "agent/validate/finding.h"
#include "base/core/mem.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static const char *const severities[] = {"error", "warning"};

static void print_text(const struct finding *f, bool colours, FILE *out)
{
	const char *colour = !colours ? "" : f->severity == FINDING_ERROR ? "\033[31m" : "\033[33m";
	fputs(f->file, out);
	if (f->line > 0)
		fprintf(out, ":%d:%d", f->line, f->column);
	fprintf(out, ": %s%s%s: %s [%s]\n", colour, severities[f->severity], colours ? "\033[0m" : "", f->message,
	        f->code);
	if (f->hint != NULL)
		fprintf(out, "  %s\n", f->hint);
}

static json_t *as_json(const struct finding *f)
{
	json_t *object =
		json_pack("{s:o, s:i, s:i, s:s, s:s, s:o}", "file", json_string_lossy(f->file, strlen(f->file)), "line",
	                  f->line, "column", f->column, "severity", severities[f->severity], "code", f->code, "message",
	                  json_string_lossy(f->message, strlen(f->message)));
	if (f->hint != NULL)
		json_object_set_new(object, "hint", json_string_lossy(f->hint, strlen(f->hint)));
	return object;
}

static void print_json(json_t *value, FILE *out)
{
	_cleanup_free_ char *text = json_text(value);
	fputs(text, out);
	fputc('\n', out);
	json_decref(value);
}

/* Escapes as a workflow command wants it; in a property also ':' and ','. */
static void print_escaped(const char *text, bool property, FILE *out)
{
	for (; *text != '\0'; text++) {
		if (*text == '%' || *text == '\r' || *text == '\n' || (property && (*text == ':' || *text == ',')))
			fprintf(out, "%%%02X", (unsigned char)*text);
		else
			fputc(*text, out);
	}
}

static void print_command(const struct finding *f, FILE *out)
{
	fprintf(out, "::%s file=", severities[f->severity]);
	print_escaped(f->file, true, out);
	if (f->line > 0)
		fprintf(out, ",line=%d,col=%d", f->line, f->column);
	fprintf(out, ",title=%s::", f->code);
	print_escaped(f->message, false, out);
	if (f->hint != NULL) {
		fputs("%0A", out);
		print_escaped(f->hint, false, out);
	}
	fputc('\n', out);
}

/* A URI reference: with a ':' in the first part of a path its front would be a scheme. */
static json_t *path_uri(const char *path)
{
	_cleanup_(str_done) struct str uri = STR_INIT(3 * PATH_MAX);
	for (; *path != '\0'; path++) {
		if (isalnum((unsigned char)*path) || strchr("-._~/", *path) != NULL)
			str_append_c(&uri, *path);
		else
			str_appendf(&uri, "%%%02X", (unsigned char)*path);
	}
	return json_string(str_peek(&uri));
}

static json_t *sarif_result(const struct finding *f)
{
	json_t *place = json_pack("{s:{s:o}}", "artifactLocation", "uri", path_uri(f->file));
	if (f->line > 0)
		json_object_set_new(place, "region",
		                    json_pack("{s:i, s:i}", "startLine", f->line, "startColumn", f->column));
	_cleanup_free_ char *text = f->hint != NULL ? xasprintf("%s\n%s", f->message, f->hint) : xstrdup(f->message);
	return json_pack("{s:s, s:s, s:{s:o}, s:[{s:o}]}", "ruleId", f->code, "level", severities[f->severity],
	                 "message", "text", json_string_lossy(text, strlen(text)), "locations", "physicalLocation",
	                 place);
}

/* What a page says beyond its meaning, up to its examples. New. */
static char *explanation_of(const struct finding_page *page)
{
	const char *meaning = strstr(page->text, page->meaning),
		   *text = meaning != NULL ? strstr(meaning, "\n\n") : NULL,
		   *end = text != NULL ? strstr(text + 2, "\n\n") : NULL;
	return end != NULL ? xstrndup(text + 2, (size_t)(end - text - 2)) : xstrdup(page->meaning);
}

/* GitHub's code scanning takes no rule without a full description. */
static json_t *sarif_rule(const char *code)
{
	const struct finding_page *page = finding_page_of(code);
	json_t *rule = json_pack("{s:s}", "id", code);
	if (page != NULL) {
		_cleanup_free_ char *explanation = explanation_of(page);
		json_object_set_new(rule, "shortDescription", json_pack("{s:s}", "text", page->meaning));
		json_object_set_new(rule, "fullDescription", json_pack("{s:s}", "text", explanation));
		json_object_set_new(rule, "help", json_pack("{s:s, s:s}", "text", page->text, "markdown", page->text));
	}
	return rule;
}

static json_t *sarif(const struct findings *f)
{
	json_t *results = json_array(), *rules = json_array();
	for (size_t i = 0; i < f->count; i++) {
		json_array_append_new(results, sarif_result(&f->items[i]));
		bool known = false;
		for (size_t k = 0; k < i && !known; k++)
			known = strcmp(f->items[k].code, f->items[i].code) == 0;
		if (!known)
			json_array_append_new(rules, sarif_rule(f->items[i].code));
	}
	return json_pack("{s:s, s:s, s:[{s:{s:{s:s, s:s, s:s, s:o}}, s:s, s:o}]}", "$schema",
	                 "https://json.schemastore.org/sarif-2.1.0.json", "version", "2.1.0", "runs", "tool", "driver",
	                 "name", "davit", "version", DAVIT_VERSION, "informationUri",
	                 "https://github.com/davit-deploy/davit", "rules", rules, "columnKind", "unicodeCodePoints",
	                 "results", results);
}

static void print_sum(const struct findings *f, size_t files, FILE *out)
{
	size_t errors = findings_count(f, FINDING_ERROR), warnings = findings_count(f, FINDING_WARNING);
	if (f->left_off > 0)
		fprintf(out, "%zu more were left off\n", f->left_off);
	fprintf(out, "%zu file%s, %zu error%s, %zu warning%s\n", files, files == 1 ? "" : "s", errors,
	        errors == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
}

void findings_print(const struct findings *f, enum finding_format format, size_t files, bool colours, FILE *out)
{
	json_t *list = format == FINDING_JSON ? json_array() : NULL;
	for (size_t i = 0; i < f->count; i++) {
		if (format == FINDING_TEXT)
			print_text(&f->items[i], colours, out);
		else if (format == FINDING_GITHUB)
			print_command(&f->items[i], out);
		else if (format == FINDING_JSON)
			json_array_append_new(list, as_json(&f->items[i]));
	}
	if (format == FINDING_JSON)
		print_json(list, out);
	else if (format == FINDING_SARIF)
		print_json(sarif(f), out);
	else
		print_sum(f, files, out);
}
