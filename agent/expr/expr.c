/* expr: evaluation of the tree; functions are in functions.c. */
#include "agent/expr/expr_priv.h"

#include <math.h>

void expr_fault_done(struct expr_fault *fault)
{
	free(fault->message);
	fault->message = NULL;
}

void fault_note(struct expr_fault *fault, enum expr_stage stage, char *message)
{
	if (fault == NULL || fault->message != NULL) {
		free(message);
		return;
	}
	fault->stage = stage;
	fault->message = message;
}

static void note_evaluation(struct expr_fault *fault, const struct err *err)
{
	fault_note(fault, EXPR_EVALUATION, xstrdup(err->frame_count > 0 ? err->frames[0].text : ""));
}

static void copy_value(const struct expr_value *from, struct expr_value *to)
{
	if (from->kind == EXPR_TEXT) {
		value_set_text(to, from->text, from->text_len);
	} else {
		*to = *from;
		json_incref(to->json);
	}
}

static void eval_context(const struct node *n, const struct expr_scope *scope, struct expr_value *ret)
{
	expr_value_from_json(expr_member(scope->contexts, n->name, strlen(n->name)), ret);
	ret->exact_keys = ret->kind == EXPR_OBJECT && scope->exact_context != NULL &&
	                  expr_same_text(n->name, scope->exact_context);
}

/* The item of an array at a floored index; NULL when there is none. */
static json_t *array_item(const json_t *array, const struct expr_value *index)
{
	double at = floor(value_to_number(index));
	if (!(at >= 0) || at >= (double)json_array_size(array))
		return NULL;
	return json_array_get(array, (size_t)at);
}

static json_t *object_item(const json_t *object, const struct expr_value *index, bool exact)
{
	_cleanup_(str_done) struct str key = STR_INIT(EXPR_MEMORY_MAX);
	if (!value_is_primitive(index) || !expr_value_text(index, &key))
		return NULL;
	const char *name = str_peek(&key);
	if (exact)
		return strlen(name) == key.len ? json_object_get(object, name) : NULL;
	return expr_member(object, name, key.len);
}

static json_t *item(const json_t *from, const struct expr_value *index, bool exact)
{
	if (json_is_array(from))
		return array_item(from, index);
	return json_is_object(from) ? object_item(from, index, exact) : NULL;
}

static void append_all(json_t *to, const json_t *from)
{
	const char *key;
	json_t *value;
	size_t i;
	if (json_is_array(from))
		json_array_foreach(from, i, value) json_array_append(to, value);
	else if (json_is_object(from))
		json_object_foreach((json_t *)from, key, value) json_array_append(to, value);
}

static void set_filtered(struct expr_value *v, json_t *array)
{
	*v = (struct expr_value){.kind = EXPR_ARRAY, .json = array, .filtered = true};
}

static void eval_star(const struct expr_value *left, struct expr_value *ret)
{
	json_t *all = json_array();
	if (left->filtered) {
		size_t i;
		json_t *element;
		json_array_foreach(left->json, i, element) append_all(all, element);
	} else if (left->json != NULL) {
		append_all(all, left->json);
	}
	set_filtered(ret, all);
}

static void eval_lookup(const struct expr_value *left, const struct expr_value *index, struct expr_value *ret)
{
	*ret = (struct expr_value)EXPR_VALUE_INIT;
	if (left->json == NULL)
		return;
	if (!left->filtered) {
		expr_value_from_json(item(left->json, index, left->exact_keys), ret);
		return;
	}
	json_t *found = json_array(), *element;
	size_t i;
	json_array_foreach(left->json, i, element)
	{
		json_t *member = item(element, index, false);
		if (member != NULL)
			json_array_append(found, member);
	}
	set_filtered(ret, found);
}

/* The index of a look is told apart from what it looks into. */
static int wrong_index(const struct expr_scope *scope, int code, const struct err *err)
{
	struct expr_fault *fault = scope->fault;
	if (fault == NULL)
		return code;
	note_evaluation(fault, err);
	_cleanup_free_ char *message = fault->message;
	fault->message = xasprintf("could not evaluate index for index access: %s", message);
	return code;
}

static int eval_index(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	_cleanup_(expr_value_done) struct expr_value left = EXPR_VALUE_INIT, index = EXPR_VALUE_INIT;
	bool star = n->children[1]->kind == NODE_STAR;
	int r = star ? 0 : node_eval(n->children[1], scope, &index, err);
	if (r < 0)
		return wrong_index(scope, r, err);
	r = node_eval(n->children[0], scope, &left, err);
	if (r < 0)
		return r;
	if (star)
		eval_star(&left, ret);
	else
		eval_lookup(&left, &index, ret);
	return 0;
}

/* The first operand that decides, else the last: the value itself, not its truth. */
static int eval_chain(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	for (size_t i = 0;; i++) {
		int r = node_eval(n->children[i], scope, ret, err);
		if (r < 0 || i + 1 == n->count || expr_value_truth(ret) == (n->kind == NODE_OR))
			return r;
		expr_value_done(ret);
	}
}

static bool compare(enum node_kind kind, const struct expr_value *a, const struct expr_value *b)
{
	switch (kind) {
	case NODE_EQUAL:
		return value_equals(a, b);
	case NODE_NOT_EQUAL:
		return !value_equals(a, b);
	case NODE_LESS:
		return value_less(a, b);
	case NODE_LESS_EQUAL:
		return value_less(a, b) || value_equals(a, b);
	case NODE_GREATER:
		return value_less(b, a);
	default:
		return value_less(b, a) || value_equals(a, b);
	}
}

static int eval_comparison(const struct node *n, const struct expr_scope *scope, struct expr_value *ret,
                           struct err *err)
{
	_cleanup_(expr_value_done) struct expr_value a = EXPR_VALUE_INIT, b = EXPR_VALUE_INIT;
	int r = node_eval(n->children[0], scope, &a, err);
	if (r == 0)
		r = node_eval(n->children[1], scope, &b, err);
	if (r == 0)
		value_set_boolean(ret, compare(n->kind, &a, &b));
	return r;
}

static int eval_not(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	_cleanup_(expr_value_done) struct expr_value v = EXPR_VALUE_INIT;
	int r = node_eval(n->children[0], scope, &v, err);
	if (r == 0)
		value_set_boolean(ret, !expr_value_truth(&v));
	return r;
}

int node_eval(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	switch (n->kind) {
	case NODE_LITERAL:
		copy_value(&n->value, ret);
		return 0;
	case NODE_CONTEXT:
		eval_context(n, scope, ret);
		return 0;
	case NODE_INDEX:
		return eval_index(n, scope, ret, err);
	case NODE_CALL:
		return functions_call(n, scope, ret, err);
	case NODE_NOT:
		return eval_not(n, scope, ret, err);
	case NODE_AND:
	case NODE_OR:
		return eval_chain(n, scope, ret, err);
	case NODE_STAR:
		return err_set(err, ERR_INTERNAL, "a wildcard has no value of its own");
	default:
		return eval_comparison(n, scope, ret, err);
	}
}

static int eval_tree(const struct node *root, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	struct expr_value value = EXPR_VALUE_INIT;
	int r = root != NULL ? node_eval(root, scope, &value, err) : 0;
	if (r < 0) {
		expr_value_done(&value);
		return r;
	}
	*ret = value;
	return 0;
}

static struct parse_rules rules_of(const struct expr_scope *scope)
{
	return (struct parse_rules){.contexts = scope->contexts,
	                            .status = scope->status != NULL,
	                            .hash_files = scope->hash_files != NULL,
	                            .fault = scope->fault};
}

int expr_eval(const char *text, size_t len, const struct expr_scope *scope, struct expr_value *ret, struct err *err)
{
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	struct parse_rules rules = rules_of(scope);
	struct err own = ERR_INIT;
	struct node *root;
	if (err == NULL)
		err = &own;
	int r = expr_parse(text, len, &rules, &arena, &root, err);
	if (r < 0)
		return r;
	r = eval_tree(root, scope, ret, err);
	if (r < 0 && scope->fault != NULL)
		note_evaluation(scope->fault, err);
	return r;
}

static bool calls_status(const struct node *n)
{
	if (n->kind == NODE_CALL && n->function >= FN_SUCCESS)
		return true;
	for (size_t i = 0; i < n->count; i++)
		if (calls_status(n->children[i]))
			return true;
	return false;
}

/* Unwraps a string that is one whole "${{ x }}". */
static void unwrap(const char **text, size_t *len)
{
	const char *p = *text;
	size_t n = *len;
	while (n > 0 && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) {
		p++;
		n--;
	}
	while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\n' || p[n - 1] == '\t' || p[n - 1] == '\r'))
		n--;
	if (n >= 5 && memcmp(p, "${{", 3) == 0 && memcmp(p + n - 2, "}}", 2) == 0 &&
	    memmem(p + 3, n - 3, "${{", 3) == NULL) {
		*text = p + 3;
		*len = n - 5;
	}
}

int expr_condition(const char *text, const struct expr_scope *scope, bool *ret, struct err *err)
{
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	struct parse_rules rules = rules_of(scope);
	struct node *root = NULL;
	size_t len = text != NULL ? strlen(text) : 0;
	unwrap(&text, &len);
	int r = len > 0 ? expr_parse(text, len, &rules, &arena, &root, err) : 0;
	if (r < 0)
		return r;
	bool implied = root == NULL || !calls_status(root);
	if (implied && scope->status != NULL && !scope->status(scope->user, EXPR_SUCCESS)) {
		*ret = false;
		return 0;
	}
	if (root == NULL) {
		*ret = true;
		return 0;
	}
	_cleanup_(expr_value_done) struct expr_value value = EXPR_VALUE_INIT;
	r = eval_tree(root, scope, &value, err);
	if (r == 0)
		*ret = expr_value_truth(&value);
	return r;
}

int expr_check(const char *text, const char *const *names, int flags, struct err *err)
{
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	struct parse_rules rules = {.names = names,
	                            .status = (flags & EXPR_WITH_STATUS) != 0,
	                            .hash_files = (flags & EXPR_WITH_HASH_FILES) != 0};
	struct node *root;
	return expr_parse(text, strlen(text), &rules, &arena, &root, err);
}
