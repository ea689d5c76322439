#include "agent/expr/expr_priv.h"

#include <math.h>

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Ends a number. */
static bool is_boundary(char c)
{
	return is_space(c) || (c != '\0' && strchr("()[],!><=&|", c) != NULL);
}

/* True behind what may have members; a dot anywhere else begins a number. */
static bool has_members(enum token_kind last)
{
	return last == TOKEN_NAME || last == TOKEN_PROPERTY || last == TOKEN_CLOSE || last == TOKEN_INDEX_END ||
	       last == TOKEN_STAR;
}

static struct lexeme make(struct lexer *l, enum token_kind kind, size_t len)
{
	struct lexeme t = {.kind = kind, .raw = l->text + l->at, .len = len};
	l->at += len;
	l->last = kind;
	return t;
}

static char peek(const struct lexer *l, size_t ahead)
{
	return l->at + ahead < l->len ? l->text[l->at + ahead] : '\0';
}

static struct lexeme bad(struct lexer *l)
{
	size_t n = 1;
	while (l->at + n < l->len && l->text[l->at + n] != '.' && !is_boundary(l->text[l->at + n]))
		n++;
	return make(l, TOKEN_BAD, n);
}

static struct lexeme read_text(struct lexer *l)
{
	size_t end = l->at + 1;
	bool closed = false;
	while (end < l->len) {
		if (l->text[end] != '\'') {
			end++;
		} else if (end + 1 < l->len && l->text[end + 1] == '\'') {
			end += 2;
		} else {
			closed = true;
			break;
		}
	}
	if (!closed)
		return make(l, TOKEN_BAD, l->len - l->at);
	char *text = arena_alloc(l->arena, end - l->at);
	size_t n = 0;
	for (size_t i = l->at + 1; i < end; i++) {
		text[n++] = l->text[i];
		if (l->text[i] == '\'')
			i++;
	}
	struct lexeme t = make(l, TOKEN_LITERAL, end + 1 - l->at);
	t.value = (struct expr_value){.kind = EXPR_TEXT, .text = text, .text_len = n};
	return t;
}

static struct lexeme read_number(struct lexer *l)
{
	size_t n = 1;
	while (l->at + n < l->len && !is_boundary(l->text[l->at + n]))
		n++;
	double number = text_to_number(l->text + l->at, n);
	if (isnan(number))
		return make(l, TOKEN_BAD, n);
	struct lexeme t = make(l, TOKEN_LITERAL, n);
	t.value = (struct expr_value){.kind = EXPR_NUMBER, .number = number};
	return t;
}

static bool is_word(const char *p, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(p, word, len) == 0;
}

static struct lexeme read_keyword(struct lexer *l)
{
	const char *p = l->text + l->at;
	size_t n = 0;
	while (l->at + n < l->len && (is_letter(p[n]) || is_digit(p[n]) || p[n] == '-'))
		n++;
	if (l->at + n < l->len && p[n] != '.' && !is_boundary(p[n])) {
		while (l->at + n < l->len && p[n] != '.' && !is_boundary(p[n]))
			n++;
		return make(l, TOKEN_BAD, n);
	}
	if (l->last == TOKEN_DOT)
		return make(l, TOKEN_PROPERTY, n);
	struct expr_value value = EXPR_VALUE_INIT;
	bool literal = true;
	if (is_word(p, n, "true") || is_word(p, n, "false"))
		value_set_boolean(&value, p[0] == 't');
	else if (is_word(p, n, "NaN") || is_word(p, n, "Infinity"))
		value = (struct expr_value){.kind = EXPR_NUMBER,
		                            .number = p[0] == 'N' ? (double)NAN : (double)INFINITY};
	else
		literal = is_word(p, n, "null");
	if (literal) {
		struct lexeme t = make(l, TOKEN_LITERAL, n);
		t.value = value;
		return t;
	}
	size_t after = n;
	while (l->at + after < l->len && is_space(p[after]))
		after++;
	return make(l, l->at + after < l->len && p[after] == '(' ? TOKEN_FUNCTION : TOKEN_NAME, n);
}

static struct lexeme read_operator(struct lexer *l)
{
	char c = peek(l, 0), next = peek(l, 1);
	switch (c) {
	case '!':
		return next == '=' ? make(l, TOKEN_NOT_EQUAL, 2) : make(l, TOKEN_NOT, 1);
	case '<':
		return next == '=' ? make(l, TOKEN_LESS_EQUAL, 2) : make(l, TOKEN_LESS, 1);
	case '>':
		return next == '=' ? make(l, TOKEN_GREATER_EQUAL, 2) : make(l, TOKEN_GREATER, 1);
	case '=':
		return next == '=' ? make(l, TOKEN_EQUAL, 2) : bad(l);
	case '&':
		return next == '&' ? make(l, TOKEN_AND, 2) : bad(l);
	case '|':
		return next == '|' ? make(l, TOKEN_OR, 2) : bad(l);
	default:
		return bad(l);
	}
}

struct lexeme lexer_next(struct lexer *l)
{
	while (l->at < l->len && is_space(l->text[l->at]))
		l->at++;
	if (l->at >= l->len)
		return (struct lexeme){.kind = TOKEN_END, .raw = l->text + l->len};
	char c = l->text[l->at];
	switch (c) {
	case '(':
		return make(l, TOKEN_OPEN, 1);
	case ')':
		return make(l, TOKEN_CLOSE, 1);
	case '[':
		return make(l, TOKEN_INDEX, 1);
	case ']':
		return make(l, TOKEN_INDEX_END, 1);
	case ',':
		return make(l, TOKEN_COMMA, 1);
	case '*':
		return make(l, TOKEN_STAR, 1);
	case '\'':
		return read_text(l);
	case '.':
		return has_members(l->last) ? make(l, TOKEN_DOT, 1) : read_number(l);
	default:
		break;
	}
	if (is_digit(c) || c == '+' || c == '-')
		return read_number(l);
	return is_letter(c) ? read_keyword(l) : read_operator(l);
}
