#include "agent/expr/expr_priv.h"
#include "base/core/shown.h"

const struct function_info function_table[FN_COUNT] = {
	[FN_CONTAINS] = {"contains", 2, 2},
	[FN_STARTS_WITH] = {"startsWith", 2, 2},
	[FN_ENDS_WITH] = {"endsWith", 2, 2},
	[FN_FORMAT] = {"format", 1, EXPR_ARGUMENTS_MAX},
	[FN_JOIN] = {"join", 1, 2},
	[FN_TO_JSON] = {"toJSON", 1, 1},
	[FN_FROM_JSON] = {"fromJSON", 1, 1},
	[FN_HASH_FILES] = {"hashFiles", 1, EXPR_ARGUMENTS_MAX},
	[FN_CASE] = {"case", 3, EXPR_ARGUMENTS_MAX},
	[FN_SUCCESS] = {"success", 0, 0},
	[FN_FAILURE] = {"failure", 0, 0},
	[FN_CANCELLED] = {"cancelled", 0, 0},
	[FN_ALWAYS] = {"always", 0, 0},
};

struct parser {
	struct lexer lexer;
	struct lexeme token, last; /* last: the one before it */
	const struct parse_rules *rules;
	struct arena *arena;
	int nesting;
	struct err *err;
};

static int parse_expression(struct parser *p, int precedence, struct node **ret);

static size_t utf16_length(const char *text, size_t len)
{
	size_t units = 0;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		units += (c & 0xc0) != 0x80;
		units += c >= 0xf0;
	}
	return units;
}

/* Positions count from 1, in units of UTF-16. */
static int fault_at(struct parser *p, const char *what, const struct lexeme *t)
{
	const char *text = p->lexer.text;
	size_t position = utf16_length(text, (size_t)(t->raw - text)) + 1;
	_cleanup_free_ char *whole = shown_text(text, p->lexer.len, 200), *shown = shown_text(t->raw, t->len, 100);
	if (t->kind == TOKEN_BAD && p->rules->fault != NULL)
		fault_note(p->rules->fault, EXPR_LEXING,
		           xasprintf("%s: '%.*s'. Located at position %zu within expression: %.*s", what, (int)t->len,
		                     t->raw, position, (int)p->lexer.len, text));
	return err_set(p->err, ERR_INVALID, "%s: '%s'. Located at position %zu within expression: %s", what, shown,
	               position, whole);
}

/* A string is named by what it says. */
static void note(struct parser *p, const char *what, const struct lexeme *t)
{
	bool text = t->kind == TOKEN_LITERAL && t->value.kind == EXPR_TEXT;
	const char *shown = text ? t->value.text : t->raw;
	int len = (int)(text ? t->value.text_len : t->len);
	if (p->rules->fault != NULL)
		fault_note(p->rules->fault, EXPR_PARSING, xasprintf("%s: '%.*s'", what, len, shown));
}

static int fault(struct parser *p, const char *what, const struct lexeme *t)
{
	note(p, what, t);
	return fault_at(p, what, t);
}

/* Another token should stand here. The runner calls the end of the expression by its name wherever it comes. */
static int fault_symbol(struct parser *p)
{
	static const char what[] = "Unexpected symbol";
	if (p->token.kind != TOKEN_END)
		return fault(p, what, &p->token);
	note(p, what, &(struct lexeme){.kind = TOKEN_NAME, .raw = "EOF", .len = 3});
	return fault_at(p, "Unexpected end of expression", &p->last);
}

/* Here a value should begin, or a group end. */
static int fault_value(struct parser *p)
{
	return p->token.kind == TOKEN_END ? fault(p, "Unexpected end of expression", &p->last) : fault_symbol(p);
}

static int fault_depth(struct parser *p)
{
	if (p->rules->fault != NULL)
		fault_note(p->rules->fault, EXPR_PARSING,
		           xasprintf("Exceeded max expression depth %d", EXPR_DEPTH_MAX));
	return err_set(p->err, ERR_LIMIT, "Exceeded max expression depth %d", EXPR_DEPTH_MAX);
}

static void advance(struct parser *p)
{
	p->last = p->token;
	p->token = lexer_next(&p->lexer);
}

static struct node *node_new(struct parser *p, enum node_kind kind)
{
	struct node *n = arena_alloc(p->arena, sizeof(*n));
	n->kind = kind;
	n->depth = 1;
	return n;
}

static int add_child(struct parser *p, struct node *n, struct node *child)
{
	if (n->count == n->cap) {
		size_t cap = n->cap > 0 ? n->cap * 2 : 2;
		struct node **more = arena_alloc(p->arena, cap * sizeof(struct node *));
		if (n->count > 0)
			memcpy(more, n->children, n->count * sizeof(struct node *));
		n->children = more;
		n->cap = cap;
	}
	n->children[n->count++] = child;
	n->depth = MAX(n->depth, child->depth + 1);
	if (n->depth > EXPR_DEPTH_MAX)
		return fault_depth(p);
	return 0;
}

static bool is_known_name(const struct parse_rules *rules, const char *name)
{
	if (rules->contexts != NULL)
		return expr_member(rules->contexts, name, strlen(name)) != NULL;
	if (rules->names == NULL)
		return true;
	for (const char *const *known = rules->names; *known != NULL; known++)
		if (expr_same_text(*known, name))
			return true;
	return false;
}

/* Adds the nearest name that is known. */
static int hint_nearest(struct parser *p, int code, const struct lexeme *t, const char *const *names, size_t count)
{
	_cleanup_free_ char *word = xstrndup(t->raw, t->len);
	const char *nearest = str_nearest(word, names, count);
	return nearest != NULL ? err_hint(p->err, code, "did you mean '%s'?", nearest) : code;
}

static int fault_context(struct parser *p)
{
	enum { NAMES_MAX = 64 };
	const char *names[NAMES_MAX], *key;
	json_t *value;
	size_t count = 0;
	int r = fault(p, "Unrecognized named-value", &p->token);
	for (const char *const *known = p->rules->names; known != NULL && *known != NULL && count < NAMES_MAX; known++)
		names[count++] = *known;
	json_object_foreach((json_t *)(uintptr_t)p->rules->contexts, key, value) if (count < NAMES_MAX) names[count++] =
		key;
	return hint_nearest(p, r, &p->token, names, count);
}

static int parse_context(struct parser *p, struct node **ret)
{
	struct node *n = node_new(p, NODE_CONTEXT);
	n->name = arena_strndup(p->arena, p->token.raw, p->token.len);
	if (!is_known_name(p->rules, n->name))
		return fault_context(p);
	advance(p);
	*ret = n;
	return 0;
}

static int find_function(struct parser *p, const struct lexeme *t, enum function *ret)
{
	for (int i = 0; i < FN_COUNT; i++) {
		const char *name = function_table[i].name;
		if (expr_compare_text(name, strlen(name), t->raw, t->len) != 0)
			continue;
		if (i == FN_HASH_FILES && !p->rules->hash_files)
			return err_hint(p->err, fault(p, "Unrecognized function", t),
			                "hashFiles() is known in steps alone");
		if (i >= FN_SUCCESS && i < FN_ALWAYS && !p->rules->status)
			return err_hint(p->err, fault(p, "Unrecognized function", t),
			                "%s() is known in conditions alone", name);
		*ret = (enum function)i;
		return 0;
	}
	const char *names[FN_COUNT];
	for (size_t i = 0; i < FN_COUNT; i++)
		names[i] = function_table[i].name;
	int r = fault(p, "Unrecognized function", t);
	return hint_nearest(p, r, t, names, FN_COUNT);
}

static int check_count(struct parser *p, const struct node *call, const struct lexeme *name)
{
	const struct function_info *f = &function_table[call->function];
	if (call->count < (size_t)f->min)
		return fault(p, "Too few parameters supplied", name);
	if (call->count > (size_t)f->max)
		return fault(p, "Too many parameters supplied", name);
	if (call->function == FN_CASE && call->count % 2 == 0)
		return fault(p, "Even number of parameters supplied, requires an odd number of parameters", name);
	return 0;
}

static int parse_call(struct parser *p, struct node **ret)
{
	struct lexeme name = p->token;
	struct node *n = node_new(p, NODE_CALL);
	int r;
	advance(p);
	advance(p); /* a function is only one when "(" follows */
	while (p->token.kind != TOKEN_CLOSE || n->count > 0) {
		struct node *argument;
		r = parse_expression(p, 0, &argument);
		if (r == 0)
			r = add_child(p, n, argument);
		if (r < 0)
			return r;
		if (p->token.kind == TOKEN_CLOSE)
			break;
		if (p->token.kind != TOKEN_COMMA)
			return fault_symbol(p);
		advance(p);
	}
	advance(p);
	r = find_function(p, &name, &n->function);
	if (r == 0)
		r = check_count(p, n, &name);
	*ret = n;
	return r;
}

static int parse_group(struct parser *p, struct node **ret)
{
	advance(p);
	int r = parse_expression(p, 0, ret);
	if (r < 0)
		return r;
	if (p->token.kind != TOKEN_CLOSE)
		return fault_value(p);
	advance(p);
	return 0;
}

static int parse_not(struct parser *p, struct node **ret)
{
	struct node *n = node_new(p, NODE_NOT), *operand;
	advance(p);
	int r = parse_expression(p, 100, &operand);
	if (r == 0)
		r = add_child(p, n, operand);
	*ret = n;
	return r;
}

static int parse_primary(struct parser *p, struct node **ret)
{
	switch (p->token.kind) {
	case TOKEN_LITERAL:
		*ret = node_new(p, NODE_LITERAL);
		(*ret)->value = p->token.value;
		advance(p);
		return 0;
	case TOKEN_NAME:
		return parse_context(p, ret);
	case TOKEN_FUNCTION:
		return parse_call(p, ret);
	case TOKEN_OPEN:
		return parse_group(p, ret);
	case TOKEN_NOT:
		return parse_not(p, ret);
	default:
		return fault_value(p);
	}
}

/* .name  .*  [expression]  [*] */
static int parse_index(struct parser *p, struct node *left, struct node **ret)
{
	struct node *n = node_new(p, NODE_INDEX), *index = NULL;
	int r = add_child(p, n, left);
	if (r < 0)
		return r;
	bool dot = p->token.kind == TOKEN_DOT;
	advance(p);
	if (p->token.kind == TOKEN_STAR) {
		index = node_new(p, NODE_STAR);
		advance(p);
	} else if (dot && p->token.kind == TOKEN_PROPERTY) {
		index = node_new(p, NODE_LITERAL);
		index->value = (struct expr_value){.kind = EXPR_TEXT,
		                                   .text_len = p->token.len,
		                                   .text = arena_strndup(p->arena, p->token.raw, p->token.len)};
		advance(p);
	} else if (dot) {
		return fault_symbol(p);
	} else {
		r = parse_expression(p, 0, &index);
		if (r < 0)
			return r;
	}
	if (!dot) {
		if (p->token.kind != TOKEN_INDEX_END)
			return fault_symbol(p);
		advance(p);
	}
	*ret = n;
	return add_child(p, n, index);
}

static int parse_postfix(struct parser *p, struct node **ret)
{
	bool literal = p->token.kind == TOKEN_LITERAL || p->token.kind == TOKEN_NOT;
	int r = parse_primary(p, ret);
	while (r == 0 && !literal && (p->token.kind == TOKEN_DOT || p->token.kind == TOKEN_INDEX))
		r = parse_index(p, *ret, ret);
	return r;
}

static int precedence_of(enum token_kind kind, enum node_kind *ret)
{
	switch (kind) {
	case TOKEN_GREATER:
		*ret = NODE_GREATER;
		return 11;
	case TOKEN_GREATER_EQUAL:
		*ret = NODE_GREATER_EQUAL;
		return 11;
	case TOKEN_LESS:
		*ret = NODE_LESS;
		return 11;
	case TOKEN_LESS_EQUAL:
		*ret = NODE_LESS_EQUAL;
		return 11;
	case TOKEN_EQUAL:
		*ret = NODE_EQUAL;
		return 10;
	case TOKEN_NOT_EQUAL:
		*ret = NODE_NOT_EQUAL;
		return 10;
	case TOKEN_AND:
		*ret = NODE_AND;
		return 6;
	case TOKEN_OR:
		*ret = NODE_OR;
		return 5;
	default:
		return 0;
	}
}

/* Everything that binds stronger than `precedence`. Chains of && and of || are one node each. */
static int parse_expression(struct parser *p, int precedence, struct node **ret)
{
	if (++p->nesting > EXPR_NESTING_MAX)
		return fault_depth(p);
	struct node *left;
	int r = parse_postfix(p, &left);
	while (r == 0) {
		enum node_kind kind;
		int own = precedence_of(p->token.kind, &kind);
		if (own == 0 || own <= precedence)
			break;
		advance(p);
		struct node *right;
		r = parse_expression(p, own, &right);
		if (r < 0)
			break;
		bool chain = kind == NODE_AND || kind == NODE_OR;
		if (!chain || left->kind != kind) {
			struct node *n = node_new(p, kind);
			r = add_child(p, n, left);
			left = n;
		}
		if (r == 0)
			r = add_child(p, left, right);
	}
	p->nesting--;
	if (r == 0)
		*ret = left;
	return r;
}

static int check_length(const char *text, size_t len, const struct parse_rules *rules, struct err *err)
{
	if (utf16_length(text, len) <= EXPR_LENGTH_MAX)
		return 0;
	if (rules->fault != NULL)
		fault_note(rules->fault, EXPR_LEXING, xasprintf("Exceeded max expression length %d", EXPR_LENGTH_MAX));
	return err_set(err, ERR_LIMIT, "Exceeded max expression length %d", EXPR_LENGTH_MAX);
}

/* What is no token is found before what is no sentence. */
static int check_tokens(struct parser p)
{
	do {
		advance(&p);
		if (p.token.kind == TOKEN_BAD)
			return fault_at(&p, "Unexpected symbol", &p.token);
	} while (p.token.kind != TOKEN_END);
	return 0;
}

int expr_parse(const char *text, size_t len, const struct parse_rules *rules, struct arena *arena, struct node **ret,
               struct err *err)
{
	int r = check_length(text, len, rules, err);
	if (r < 0)
		return r;
	struct parser p = {
		.lexer = {.text = text, .len = len, .arena = arena}, .rules = rules, .arena = arena, .err = err};
	r = check_tokens(p);
	if (r < 0)
		return r;
	advance(&p);
	*ret = NULL;
	if (p.token.kind == TOKEN_END)
		return 0;
	struct node *root;
	r = parse_expression(&p, 0, &root);
	if (r < 0)
		return r;
	if (p.token.kind != TOKEN_END)
		return fault_symbol(&p);
	*ret = root;
	return 0;
}
