/* reach: which contexts and members an expression names, by its tree alone. */
#include "agent/expr/expr_priv.h"
#include "base/core/mem.h"

enum { PATH_MAX_NAMES = EXPR_DEPTH_MAX };

struct visit {
	void (*seen)(void *user, const char *const *path, size_t count);
	void *user;
	int flags;
};

static int parse_any(const char *text, struct arena *arena, struct node **ret, struct err *err)
{
	struct parse_rules rules = {.status = true, .hash_files = true};
	return expr_parse(text, strlen(text), &rules, arena, ret, err);
}

static void tell_names(const struct node *n, void (*seen)(void *user, const char *context, const char *member),
                       void *user)
{
	if (n->kind == NODE_CONTEXT)
		seen(user, n->name, NULL);
	bool named = n->kind == NODE_INDEX && n->children[0]->kind == NODE_CONTEXT &&
	             n->children[1]->kind == NODE_LITERAL && n->children[1]->value.kind == EXPR_TEXT;
	if (named) {
		seen(user, n->children[0]->name, n->children[1]->value.text);
		return;
	}
	for (size_t i = 0; i < n->count; i++)
		tell_names(n->children[i], seen, user);
}

static bool is_name(const struct node *n)
{
	return n->kind == NODE_LITERAL && n->value.kind == EXPR_TEXT;
}

/* The names from the context up to n; 0: n is no path of names. stars: what is no name is "*". */
static size_t path_of(const struct node *n, const char *path[PATH_MAX_NAMES], bool stars)
{
	if (n->kind == NODE_CONTEXT) {
		path[0] = n->name;
		return 1;
	}
	if (n->kind != NODE_INDEX || (!stars && !is_name(n->children[1])))
		return 0;
	size_t count = path_of(n->children[0], path, stars);
	if (count == 0 || count == PATH_MAX_NAMES)
		return 0;
	path[count] = is_name(n->children[1]) ? n->children[1]->value.text : "*";
	return count + 1;
}

static void tell_paths(const struct visit *v, const struct node *n)
{
	const char *path[PATH_MAX_NAMES];
	size_t count = path_of(n, path, false), i = 0;
	if (count > 0) {
		v->seen(v->user, path, count);
		return;
	}
	if ((v->flags & EXPR_PATHS_NEEDED) != 0 && n->kind == NODE_OR && path_of(n->children[0], path, false) > 0)
		i = 1;
	for (; i < n->count; i++)
		tell_paths(v, n->children[i]);
}

static void tell_texts(const struct visit *v, const struct node *n);

/* What a function makes its answer of. */
static void tell_call(const struct visit *v, const struct node *n)
{
	const char *path[PATH_MAX_NAMES];
	bool made = n->function == FN_FORMAT || n->function == FN_JOIN || n->function == FN_TO_JSON ||
	            n->function == FN_FROM_JSON;
	for (size_t i = 0; i < n->count; i++)
		if (made || (n->function == FN_CASE && (i % 2 == 1 || i + 1 == n->count)))
			tell_texts(v, n->children[i]);
	size_t count = n->function == FN_TO_JSON ? path_of(n->children[0], path, true) : 0;
	if (count > 0 && count < PATH_MAX_NAMES) {
		path[count] = "**";
		v->seen(v->user, path, count + 1);
	}
}

static void tell_texts(const struct visit *v, const struct node *n)
{
	const char *path[PATH_MAX_NAMES];
	size_t count = path_of(n, path, true);
	if (count > 0)
		v->seen(v->user, path, count);
	else if (n->kind == NODE_INDEX)
		tell_texts(v, n->children[0]);
	else if (n->kind == NODE_AND || n->kind == NODE_OR)
		/* The left side of && is the answer only where it is empty or false. */
		for (size_t i = n->kind == NODE_AND ? n->count - 1 : 0; i < n->count; i++)
			tell_texts(v, n->children[i]);
	else if (n->kind == NODE_CALL)
		tell_call(v, n);
}

int expr_paths(const char *expr, int flags, void (*seen)(void *user, const char *const *path, size_t count), void *user,
               struct err *err)
{
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	const struct visit visit = {.seen = seen, .user = user, .flags = flags};
	struct node *root;
	int r = parse_any(expr, &arena, &root, err);
	if (r < 0 || root == NULL || seen == NULL)
		return r;
	if ((flags & EXPR_PATHS_TEXT) != 0)
		tell_texts(&visit, root);
	else
		tell_paths(&visit, root);
	return r;
}

int expr_names(const char *text, void (*seen)(void *user, const char *context, const char *member), void *user,
               struct err *err)
{
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	struct node *root;
	int r = parse_any(text, &arena, &root, err);
	if (r == 0 && root != NULL)
		tell_names(root, seen, user);
	return r;
}

/* ---- what fails whatever the contexts hold ---- */

/* A call of whose arguments the first alone decides whether it fails. */
static int call_with_nothing(const struct node *n, struct err *err)
{
	_cleanup_(expr_value_done) struct expr_value value = EXPR_VALUE_INIT;
	struct node nothing = {.kind = NODE_LITERAL, .value = EXPR_VALUE_INIT};
	struct node *arguments[EXPR_ARGUMENTS_MAX];
	struct node call = *n;
	const struct expr_scope scope = {0};
	for (size_t i = 0; i < n->count && i < EXPR_ARGUMENTS_MAX; i++)
		arguments[i] = i == 0 ? n->children[0] : &nothing;
	call.children = arguments;
	return functions_call(&call, &scope, &value, err);
}

static int try_calls(const struct node *n, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < n->count; i++)
		r = try_calls(n->children[i], err);
	bool sure = n->kind == NODE_CALL && (n->function == FN_FORMAT || n->function == FN_FROM_JSON) && n->count > 0 &&
	            n->count <= EXPR_ARGUMENTS_MAX && n->children[0]->kind == NODE_LITERAL;
	return r == 0 && sure ? call_with_nothing(n, err) : r;
}

int expr_try(const char *expr, struct err *err)
{
	_cleanup_(arena_done) struct arena arena = ARENA_INIT;
	struct node *root;
	int r = parse_any(expr, &arena, &root, err);
	return r == 0 && root != NULL ? try_calls(root, err) : r;
}
