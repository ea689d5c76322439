/* Of HCL as much as it takes to find one block: comments, strings, heredocs, and how deep the braces are. */
#include "providers/terraform/backend.h"

#include <ctype.h>

enum { WORD_MAX = 300, TEXT_MAX = 1 << 20 };

void terraform_backend_done(struct terraform_backend *b)
{
	free(b->type);
	json_decref(b->settings);
	*b = (struct terraform_backend){0};
}

const char *terraform_backend_get(const struct terraform_backend *b, const char *key)
{
	return json_get_string(b->settings, key);
}

static void begin(struct terraform_backend *b, const char *type)
{
	if (b->type != NULL)
		return;
	b->type = xstrdup(type);
	b->settings = json_object();
}

/* ---- words ---- */

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_TEXT, TOKEN_SIGN, TOKEN_LINE };
struct token {
	enum token_kind kind;
	char text[WORD_MAX]; /* of a string: its content; cut */
	bool plain;          /* a string without expressions, and whole */
	char sign;
};
struct reader {
	const char *at, *end;
};

static bool left(const struct reader *r, size_t n)
{
	return (size_t)(r->end - r->at) >= n;
}

static void to_line_end(struct reader *r)
{
	while (r->at < r->end && *r->at != '\n')
		r->at++;
}

static bool skip_comment(struct reader *r)
{
	if (*r->at == '#' || (left(r, 2) && r->at[0] == '/' && r->at[1] == '/')) {
		to_line_end(r);
		return true;
	}
	if (!left(r, 2) || r->at[0] != '/' || r->at[1] != '*')
		return false;
	for (r->at += 2; left(r, 2) && !(r->at[0] == '*' && r->at[1] == '/');)
		r->at++;
	r->at = left(r, 2) ? r->at + 2 : r->end;
	return true;
}

static void put(struct token *t, size_t *len, char c)
{
	if (*len + 1 < sizeof(t->text))
		t->text[(*len)++] = c;
	else
		t->plain = false;
	t->text[*len] = '\0';
}

/* Strings may stand within the expressions of a string. */
static void read_string(struct reader *r, struct token *t)
{
	size_t len = 0, depth = 0;
	t->kind = TOKEN_TEXT;
	t->plain = true;
	t->text[0] = '\0';
	bool inner = false;
	for (r->at++; r->at < r->end; r->at++) {
		char c = *r->at;
		if (c == '\\' && left(r, 2)) {
			put(t, &len, *++r->at);
			continue;
		}
		if ((c == '$' || c == '%') && left(r, 2) && r->at[1] == '{' && !inner) {
			t->plain = false;
			depth++;
			r->at++;
			continue;
		}
		if (depth > 0 && c == '"')
			inner = !inner;
		else if (depth > 0 && !inner && c == '{')
			depth++;
		else if (depth > 0 && !inner && c == '}')
			depth--;
		else if (depth == 0 && c == '"') {
			r->at++;
			return;
		}
		put(t, &len, c);
	}
}

/* Its text is of no interest. */
static bool skip_heredoc(struct reader *r)
{
	char mark[WORD_MAX];
	size_t len = 0;
	if (!left(r, 3) || r->at[0] != '<' || r->at[1] != '<')
		return false;
	const char *p = r->at + 2 + (r->at[2] == '-');
	while (p < r->end && (isalnum((unsigned char)*p) || *p == '_') && len + 1 < sizeof(mark))
		mark[len++] = *p++;
	if (len == 0)
		return false;
	r->at = p;
	for (to_line_end(r); r->at < r->end; to_line_end(r)) {
		for (r->at++; r->at < r->end && (*r->at == ' ' || *r->at == '\t');)
			r->at++;
		if (left(r, len) && memcmp(r->at, mark, len) == 0 &&
		    (!left(r, len + 1) || r->at[len] == '\n' || r->at[len] == '\r')) {
			r->at += len;
			return true;
		}
	}
	return true;
}

static void next(struct reader *r, struct token *t)
{
	*t = (struct token){.kind = TOKEN_END};
	for (; r->at < r->end; r->at++) {
		while (r->at < r->end && skip_comment(r))
			;
		if (r->at >= r->end)
			return;
		if (*r->at == '\n') {
			r->at++;
			t->kind = TOKEN_LINE;
			return;
		}
		if (!isspace((unsigned char)*r->at))
			break;
	}
	if (r->at >= r->end)
		return;
	if (*r->at == '"') {
		read_string(r, t);
	} else if (skip_heredoc(r)) {
		t->kind = TOKEN_TEXT;
	} else if (isalnum((unsigned char)*r->at) || *r->at == '_') {
		size_t len = 0;
		t->kind = TOKEN_WORD;
		t->plain = true;
		while (r->at < r->end && (isalnum((unsigned char)*r->at) || strchr("_-.", *r->at) != NULL) &&
		       *r->at != '\0')
			put(t, &len, *r->at++);
	} else {
		t->kind = TOKEN_SIGN;
		t->sign = *r->at++;
	}
}

/* ---- blocks ---- */

static bool is_sign(const struct token *t, char sign)
{
	return t->kind == TOKEN_SIGN && t->sign == sign;
}

/* Behind the `{` of a block or map that is of no interest. */
static void skip_block(struct reader *r)
{
	struct token t;
	for (size_t depth = 1; depth > 0;) {
		next(r, &t);
		if (t.kind == TOKEN_END)
			return;
		depth += is_sign(&t, '{');
		depth -= is_sign(&t, '}');
	}
}

static void set(struct terraform_backend *b, const char *prefix, const char *key, const struct token *value, bool alone)
{
	_cleanup_free_ char *name = *prefix != '\0' ? xasprintf("%s.%s", prefix, key) : xstrdup(key);
	bool literal = alone && value->plain && (value->kind == TOKEN_TEXT || value->kind == TOKEN_WORD);
	if (literal && value->kind == TOKEN_WORD && strcmp(value->text, "null") == 0)
		return;
	if (literal && value->kind == TOKEN_WORD && strcmp(value->text, "true") == 0)
		json_object_set_new(b->settings, name, json_true());
	else if (literal && value->kind == TOKEN_WORD && strcmp(value->text, "false") == 0)
		json_object_set_new(b->settings, name, json_false());
	else if (literal)
		json_object_set_new(b->settings, name, json_string_lossy(value->text, strlen(value->text)));
	else
		json_object_set_new(b->settings, name, json_null());
}

/* Behind the `{`, up to its `}`: settings, and one level of maps or blocks in it. */
static void read_settings(struct reader *r, struct terraform_backend *b, const char *prefix)
{
	struct token key, t;
	for (;;) {
		do
			next(r, &key);
		while (key.kind == TOKEN_LINE || is_sign(&key, ','));
		if (key.kind == TOKEN_END || is_sign(&key, '}'))
			return;
		if (key.kind != TOKEN_WORD && key.kind != TOKEN_TEXT)
			continue;
		next(r, &t);
		bool assigned = is_sign(&t, '=') || is_sign(&t, ':');
		if (assigned)
			next(r, &t);
		if (is_sign(&t, '{')) {
			if (*prefix != '\0')
				skip_block(r);
			else
				read_settings(r, b, key.text);
			continue;
		}
		if (!assigned)
			continue;
		struct token value = t;
		const char *before = r->at;
		size_t more = 0;
		/* The rest of an expression, up to the end of its line. */
		for (next(r, &t); t.kind != TOKEN_END && t.kind != TOKEN_LINE && !is_sign(&t, ',') && !is_sign(&t, '}');
		     next(r, &t)) {
			more++;
			if (is_sign(&t, '{'))
				skip_block(r);
			before = r->at;
		}
		if (is_sign(&t, '}'))
			r->at = before;
		set(b, prefix, key.text, &value, more == 0);
	}
}

static void in_terraform(struct reader *r, struct terraform_backend *b)
{
	struct token t, label, brace;
	for (;;) {
		next(r, &t);
		if (t.kind == TOKEN_END || is_sign(&t, '}'))
			return;
		if (is_sign(&t, '{')) {
			skip_block(r);
			continue;
		}
		if (t.kind != TOKEN_WORD)
			continue;
		const struct reader here = *r;
		next(r, &label);
		if (strcmp(t.text, "cloud") == 0 && is_sign(&label, '{')) {
			begin(b, "cloud");
			read_settings(r, b, "");
			continue;
		}
		if (strcmp(t.text, "backend") == 0 && label.kind == TOKEN_TEXT && label.plain) {
			next(r, &brace);
			if (!is_sign(&brace, '{'))
				continue;
			begin(b, label.text);
			read_settings(r, b, "");
			continue;
		}
		*r = here;
	}
}

static void find_in_hcl(const char *text, size_t len, struct terraform_backend *ret)
{
	struct reader r = {text, text + len};
	struct token t, brace;
	for (next(&r, &t); t.kind != TOKEN_END; next(&r, &t)) {
		if (is_sign(&t, '{')) {
			skip_block(&r);
			continue;
		}
		if (t.kind != TOKEN_WORD || strcmp(t.text, "terraform") != 0)
			continue;
		const struct reader here = r;
		next(&r, &brace);
		if (is_sign(&brace, '{'))
			in_terraform(&r, ret);
		else
			r = here;
	}
}

/* ---- JSON ---- */

/* A block is an object, or a list with one. */
static const json_t *block(const json_t *of, const char *key)
{
	const json_t *value = json_object_get(of, key);
	return json_is_array(value) ? json_array_get(value, 0) : value;
}

static void find_in_json(const char *text, size_t len, struct terraform_backend *ret)
{
	_cleanup_json_ json_t *doc = NULL;
	const char *type, *key, *inner;
	json_t *one, *value, *deeper;
	if (json_parse(text, len, TEXT_MAX, &doc, NULL) < 0)
		return;
	const json_t *terraform = block(doc, "terraform");
	if (json_is_object(block(terraform, "cloud")))
		begin(ret, "cloud");
	json_object_foreach((json_t *)(uintptr_t)block(terraform, "backend"), type, one)
	{
		begin(ret, type);
		json_object_foreach(json_is_array(one) ? json_array_get(one, 0) : one, key, value)
		{
			json_object_foreach(value, inner, deeper)
			{
				_cleanup_free_ char *name = xasprintf("%s.%s", key, inner);
				json_object_set(ret->settings, name, deeper);
			}
			if (!json_is_object(value) && !json_is_null(value))
				json_object_set(ret->settings, key, value);
		}
	}
}

void terraform_backend_find(const char *text, size_t len, bool json, struct terraform_backend *ret)
{
	if (json)
		find_in_json(text, len, ret);
	else
		find_in_hcl(text, len, ret);
}
