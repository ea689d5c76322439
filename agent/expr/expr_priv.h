/* Shared by the files of this directory only: tokens, the tree, and the helpers of values. */
#pragma once
#include "agent/expr/expr.h"

enum {
	EXPR_LENGTH_MAX = 21000, /* UTF-16 units */
	EXPR_DEPTH_MAX = 50,
	EXPR_NESTING_MAX = 1000, /* parentheses and ! signs, which make no depth of the tree */
	EXPR_MEMORY_MAX = 10 << 20,
	EXPR_ARGUMENTS_MAX = 255,
};

enum token_kind {
	TOKEN_END,
	TOKEN_LITERAL,
	TOKEN_NAME,
	TOKEN_PROPERTY,
	TOKEN_FUNCTION,
	TOKEN_STAR,
	TOKEN_DOT,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_INDEX,
	TOKEN_INDEX_END,
	TOKEN_COMMA,
	TOKEN_NOT,
	TOKEN_LESS,
	TOKEN_LESS_EQUAL,
	TOKEN_GREATER,
	TOKEN_GREATER_EQUAL,
	TOKEN_EQUAL,
	TOKEN_NOT_EQUAL,
	TOKEN_AND,
	TOKEN_OR,
	TOKEN_BAD,
};
struct lexeme {
	enum token_kind kind;
	const char *raw; /* in the text */
	size_t len;
	struct expr_value value; /* literal; the string lies in the arena */
};
struct lexer {
	const char *text;
	size_t len, at;
	enum token_kind last;
	struct arena *arena;
};
/* The next token; TOKEN_BAD: nothing legal starts here. */
struct lexeme lexer_next(struct lexer *l);

enum function {
	FN_CONTAINS,
	FN_STARTS_WITH,
	FN_ENDS_WITH,
	FN_FORMAT,
	FN_JOIN,
	FN_TO_JSON,
	FN_FROM_JSON,
	FN_HASH_FILES,
	FN_CASE,
	FN_SUCCESS,
	FN_FAILURE,
	FN_CANCELLED,
	FN_ALWAYS,
	FN_COUNT,
};
struct function_info {
	const char *name;
	int min, max;
};
extern const struct function_info function_table[FN_COUNT];

enum node_kind {
	NODE_LITERAL,
	NODE_CONTEXT,
	NODE_INDEX,
	NODE_STAR,
	NODE_CALL,
	NODE_NOT,
	NODE_AND,
	NODE_OR,
	NODE_EQUAL,
	NODE_NOT_EQUAL,
	NODE_LESS,
	NODE_LESS_EQUAL,
	NODE_GREATER,
	NODE_GREATER_EQUAL,
};
struct node {
	enum node_kind kind;
	int depth;
	struct expr_value value; /* literal; text in the arena */
	const char *name;        /* context */
	enum function function;
	struct node **children;
	size_t count, cap;
};

struct parse_rules {
	const json_t *contexts;   /* names that are known; NULL: see names */
	const char *const *names; /* NULL, and no contexts: any */
	bool status;              /* success(), failure() and cancelled() are known */
	bool hash_files;
	struct expr_fault *fault;
};
/* Notes what failed, unless something further in was noted before. message: taken over. */
void fault_note(struct expr_fault *fault, enum expr_stage stage, char *message);
/* *ret NULL: the expression is empty. */
int expr_parse(const char *text, size_t len, const struct parse_rules *rules, struct arena *arena, struct node **ret,
               struct err *err);

int node_eval(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err);
int functions_call(const struct node *n, const struct expr_scope *scope, struct expr_value *ret, struct err *err);

double text_to_number(const char *text, size_t len);
double value_to_number(const struct expr_value *v);
bool value_is_primitive(const struct expr_value *v);
bool value_equals(const struct expr_value *a, const struct expr_value *b);
bool value_less(const struct expr_value *a, const struct expr_value *b);
void value_set_text(struct expr_value *v, const char *text, size_t len);
void value_set_boolean(struct expr_value *v, bool boolean);

int json_from_string(const char *text, size_t len, struct expr_value *ret, struct err *err);
bool json_to_string(const struct expr_value *v, struct str *out);
