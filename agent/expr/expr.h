/* The ${{ }} language of workflows: values, evaluation, and strings with expressions in them. No I/O: hashFiles and the
 * status functions are the caller's. Numbers, comparisons and messages follow the official runner
 * (docs/expressions.md).
 *
 *     struct expr_scope scope = { .contexts = contexts };
 *     json_t *value;
 *     r = expr_template("deploy ${{ github.sha }} to ${{ inputs.where }}", &scope, &value, err);
 *
 * Errors: ERR_INVALID with "Unexpected symbol: '.'. Located at position 4 within expression: …", ERR_LIMIT, or the code of a
 * callback. Strings are UTF-8 and may hold NULs where a length is given. */
#pragma once
#include "base/data/json.h"

enum expr_kind { EXPR_NULL, EXPR_BOOLEAN, EXPR_NUMBER, EXPR_TEXT, EXPR_ARRAY, EXPR_OBJECT };

/* One value, owned by the holder of the struct. It may hold secrets: expr_value_done wipes the string. */
struct expr_value {
	enum expr_kind kind;
	bool boolean;
	double number;
	char *text; /* text_len bytes and a NUL */
	size_t text_len;
	json_t *json;    /* array, object */
	bool filtered;   /* made by `*`: the next index goes to each element */
	bool exact_keys; /* object whose keys are compared with case */
};
#define EXPR_VALUE_INIT                                                                                                \
	{                                                                                                              \
		0                                                                                                      \
	}

enum expr_status { EXPR_SUCCESS, EXPR_FAILURE, EXPR_CANCELLED, EXPR_ALWAYS };

/* What is wrong with an expression, and where it came out. The message is worded as GitHub's newer engine words it, without a
 * place but for lexing (npm package @actions/expressions 0.3.61); the struct err beside it has the place, as the runner's log
 * shows it. */
enum expr_stage { EXPR_LEXING, EXPR_PARSING, EXPR_EVALUATION };
struct expr_fault {
	enum expr_stage stage;
	char *message; /* free by expr_fault_done; NULL: no fault */
};
void expr_fault_done(struct expr_fault *fault);

/* The contexts and functions of an expression. */
struct expr_scope {
	/* object: name → value. A missing name is an error, one that is null gives null. */
	const json_t *contexts;
	const char *exact_context; /* the context whose keys are compared with case ("env"), NULL: none */
	/* success(), failure(), cancelled(), always(); NULL: outside a condition: only always() is accepted, and true. */
	bool (*status)(void *user, enum expr_status which);
	/* hashFiles; NULL: refused as an unknown function. The answer goes to ret ("" when no file matches). */
	int (*hash_files)(void *user, const char *const *patterns, size_t count, struct str *ret, struct err *err);
	struct expr_fault *fault; /* set where expr_eval fails; NULL: not wanted */
	void *user;
};

/* `text` without ${{ }}. An empty expression is null. */
int expr_eval(const char *text, size_t len, const struct expr_scope *scope, struct expr_value *ret, struct err *err);
void expr_value_done(struct expr_value *v);
/* The rules of the language. */
bool expr_value_truth(const struct expr_value *v);
bool expr_value_text(const struct expr_value *v, struct str *out); /* "Array", "Object" for these; false: out is full */
/* The caller's. Whole numbers within 2^53 become integers; NaN and infinities become strings. */
json_t *expr_value_json(const struct expr_value *v);
void expr_value_from_json(const json_t *json, struct expr_value *ret);

/* The condition of a step: empty is success(); one that calls none of the four status functions gets `success() &&
 * (…)`. A string that is one whole "${{ … }}" is unwrapped. */
int expr_condition(const char *text, const struct expr_scope *scope, bool *ret, struct err *err);

/* A string that may hold ${{ }}. A single expression keeps the type of its value; else the result is a string.
 * ret: the caller's. */
int expr_template(const char *text, const struct expr_scope *scope, json_t **ret, struct err *err);
/* The same for every string inside a JSON value (not in keys), into a new value. */
int expr_template_json(const json_t *value, const struct expr_scope *scope, json_t **ret, struct err *err);
bool expr_is_template(const char *text); /* holds "${{" */
/* Turns a string with ${{ }} into one expression without them: `format('a {0}', x)`. *ret NULL: there is nothing to evaluate, and
 * the string stands for itself. free(). */
int expr_from_template(const char *text, char **ret, struct err *err);

/* Parses only. `names`: contexts that may be used, NULL-terminated; NULL: any. */
enum { EXPR_WITH_STATUS = 1, EXPR_WITH_HASH_FILES = 2 };
int expr_check(const char *text, const char *const *names, int flags, struct err *err);
/* Calls `seen` for each context named in the string, with the name of its first member when that is written out, else
 * NULL: `secrets.TOKEN` gives ("secrets", "TOKEN"). Used to find the secrets of a file. */
int expr_names(const char *text, void (*seen)(void *user, const char *context, const char *member), void *user,
               struct err *err);

/* Calls `seen` for each context with the names below it that are written out: `needs.build.outputs['x']` gives {"needs", "build",
 * "outputs", "x"}; one that an index or a wildcard cuts off ends before it. expr: without braces. seen: NULL only parses. */
enum {
	EXPR_PATHS_NEEDED = 1, /* not those for which the other side of || stands in */
	/* Those alone whose text can be in the answer: not what is only compared or asked. An index or wildcard is "*", and toJSON(x) also
	 * gives x with "**" behind it. */
	EXPR_PATHS_TEXT = 2,
};
int expr_paths(const char *expr, int flags, void (*seen)(void *user, const char *const *path, size_t count), void *user,
               struct err *err);
/* ERR_INVALID: a call fails whatever the contexts hold, as `format('{1}', x)` and `fromJSON('{')` do. expr: without braces. */
int expr_try(const char *expr, struct err *err);

/* String rules shared with others: numbers as .NET prints them with 15 digits; ordinal comparison without case, beyond
 * ASCII. */
enum { EXPR_NUMBER_SIZE = 32 };
const char *expr_number_text(double number, char buf[EXPR_NUMBER_SIZE]);
int expr_compare_text(const char *a, size_t a_len, const char *b, size_t b_len); /* <0, 0, >0 */
bool expr_same_text(const char *a, const char *b);
/* Equal for strings that are the same in this sense. */
void expr_fold(const char *text, size_t len, struct str *out);
/* Member of an object by name without case: the exact spelling first. Borrowed, NULL: none. */
json_t *expr_member(const json_t *object, const char *name, size_t len);
