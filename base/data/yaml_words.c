#include "base/data/yaml_words.h"

#include <stdio.h>
#include <string.h>

struct line {
	const char *text;
	size_t len;
};

/* Line `number`, from 0; empty after the end. */
static struct line line_at(const char *data, size_t len, size_t number)
{
	const char *end = data + len, *p = data;
	for (; number > 0 && p != NULL && p < end; number--) {
		p = memchr(p, '\n', (size_t)(end - p));
		p = p ? p + 1 : NULL;
	}
	if (p == NULL || p >= end)
		return (struct line){"", 0};
	const char *stop = memchr(p, '\n', (size_t)(end - p));
	return (struct line){p, (size_t)((stop ? stop : end) - p)};
}

static bool says(const char *said, const char *words)
{
	return said != NULL && strstr(said, words) != NULL;
}

static void place(struct yaml_words *w, size_t line, size_t column)
{
	w->line = line;
	w->column = column;
}

static void hint(struct yaml_words *w, const char *text)
{
	snprintf(w->hint, sizeof(w->hint), "%s", text);
}

static bool tab_indents(struct line l, size_t number, struct yaml_words *ret)
{
	size_t blanks = 0;
	while (blanks < l.len && l.text[blanks] == ' ')
		blanks++;
	if (blanks == l.len || l.text[blanks] != '\t')
		return false;
	snprintf(ret->text, sizeof(ret->text), "a tab indents line %zu", number + 1);
	hint(ret, "YAML is indented with blanks only");
	place(ret, number, blanks);
	return true;
}

/* `{ host: ${{ vars.H }} }`: the first expression that is not in quotes and comes after a bracket of its line or of one above. */
static bool bare_expression(const char *data, size_t len, size_t first, size_t last, struct yaml_words *ret)
{
	bool inside = false;
	for (size_t number = first; number <= last; number++) {
		struct line l = line_at(data, len, number);
		char quote = 0;
		for (size_t i = 0; i < l.len; i++) {
			char c = l.text[i];
			if (quote != 0) {
				if (c == '\\' && quote == '"')
					i++;
				else if (c == quote)
					quote = 0;
			} else if (c == '"' || c == '\'') {
				quote = c;
			} else if (c == '$' && inside && i + 2 < l.len && l.text[i + 1] == '{' &&
			           l.text[i + 2] == '{') {
				snprintf(ret->text, sizeof(ret->text), "`${{ }}` inside `{ }` or `[ ]` must be quoted");
				hint(ret, "write it as \"${{ … }}\"");
				place(ret, number, i);
				return true;
			} else if (c == '{' || c == '[') {
				inside = true;
			} else if (c == '#' && i > 0 && (l.text[i - 1] == ' ' || l.text[i - 1] == '\t')) {
				break;
			}
		}
	}
	return false;
}

static bool bad_begin(const yaml_parser_t *p, struct line l, struct yaml_words *ret)
{
	char c = p->problem_mark.column < l.len ? l.text[p->problem_mark.column] : '\0';
	if (says(p->context, "alias"))
		c = '*';
	else if (says(p->context, "anchor"))
		c = '&';
	else if (says(p->context, "tag"))
		c = '!';
	if (c == '\0' || strchr("@`%*&!", c) == NULL)
		return false;
	snprintf(ret->text, sizeof(ret->text), "a text cannot begin with '%c'", c);
	hint(ret, "put it in quotes");
	return true;
}

static bool not_closed(const yaml_parser_t *p, const char *what, struct yaml_words *ret)
{
	snprintf(ret->text, sizeof(ret->text), "%s of line %zu is not closed", what, p->context_mark.line + 1);
	place(ret, p->context_mark.line, p->context_mark.column);
	return true;
}

static bool flow(const yaml_parser_t *p, struct yaml_words *ret)
{
	bool list = says(p->problem, "']'");
	snprintf(ret->text, sizeof(ret->text), "the '%c' of line %zu is not closed, or a ',' is missing before this",
	         list ? '[' : '{', p->context_mark.line + 1);
	hint(ret, "a text that holds one of , : { } [ ] has to be in quotes there");
	return true;
}

/* Explains the library's message, if one cause is by far the likeliest. */
static bool by_problem(const yaml_parser_t *p, struct line l, struct yaml_words *ret)
{
	if (says(p->problem, "cannot start any token") || says(p->context, "an alias") ||
	    says(p->context, "an anchor") || says(p->context, "a tag"))
		return bad_begin(p, l, ret);
	if (says(p->problem, "expected ',' or"))
		return flow(p, ret);
	if (says(p->problem, "mapping values are not allowed")) {
		snprintf(ret->text, sizeof(ret->text),
		         "a second ': ' on a line, or a line that is indented deeper than it may be");
		hint(ret,
		     "put the text in quotes if the ':' belongs to it; else indent the line as the ones beside it");
		return true;
	}
	if (says(p->problem, "block sequence entries are not allowed")) {
		snprintf(ret->text, sizeof(ret->text), "a list cannot begin here");
		hint(ret, "begin it on a line of its own, or write [ a, b ]");
		return true;
	}
	if (says(p->problem, "unexpected end of stream") && says(p->context, "quoted"))
		return not_closed(p, "the quote", ret);
	if (says(p->problem, "unexpected document indicator") && says(p->context, "quoted"))
		return not_closed(p, "the quote", ret);
	if (says(p->problem, "unknown escape character")) {
		snprintf(ret->text, sizeof(ret->text), "'\\' does not go with the character after it");
		hint(ret, "in double quotes write \\\\ for a backslash, or use single quotes");
		return true;
	}
	if (says(p->problem, "could not find expected ':'")) {
		size_t line = p->context_mark.line;
		snprintf(ret->text, sizeof(ret->text), "line %zu is not a `key: value`", line + 1);
		hint(ret, "a ':' is missing, or the text above goes on here and has to begin with `|`");
		place(ret, line, p->context_mark.column);
		return true;
	}
	if (says(p->problem, "did not find expected key") || says(p->problem, "expected '-' indicator") ||
	    says(p->problem, "expected <block end>")) {
		snprintf(ret->text, sizeof(ret->text), "this does not fit what began on line %zu",
		         p->context_mark.line + 1);
		hint(ret, "indent it as the lines beside it; nothing may follow a closing quote or bracket");
		return true;
	}
	return false;
}

bool yaml_words(const char *data, size_t len, const yaml_parser_t *parser, struct yaml_words *ret)
{
	size_t at = parser->problem_mark.line, from = parser->context ? parser->context_mark.line : at;
	*ret = (struct yaml_words){0};
	place(ret, at, parser->problem_mark.column);
	struct line l = line_at(data, len, at);
	/* Looked for in the line of the fault only: elsewhere a tab may be part of a block of text. */
	if (tab_indents(l, at, ret))
		return true;
	bool in_brackets = says(parser->context, "flow") || says(parser->problem, "expected ',' or");
	if (in_brackets && from <= at && at - from < 1000 && bare_expression(data, len, from, at, ret))
		return true;
	return by_problem(parser, l, ret);
}
