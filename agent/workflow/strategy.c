/* strategy: of a job: its matrix, and how its legs hang together. */
#include "agent/workflow/workflow_priv.h"

#include "agent/expr/expr.h"

#include <string.h>

static bool is_expression(const json_t *value)
{
	return json_is_string(value) && expr_is_template(json_string_value(value));
}

static void check_list(struct reader *r, const char *key, const json_t *list, bool maps)
{
	size_t i;
	json_t *entry;
	size_t mark = reader_enter(r, key);
	if (!json_is_array(list) && !is_expression(list))
		reader_fault(r, "'%s' of a matrix must be a list", key);
	else if (json_is_array(list) && json_array_size(list) == 0 && !maps)
		reader_fault(r, "Matrix vector '%.60s' does not contain any values", key);
	json_array_foreach((json_t *)(uintptr_t)list, i,
	                   entry) if (maps && !json_is_object(entry) && !is_expression(entry))
		reader_fault(r, "an entry of '%s' must be a map", key);
	reader_leave(r, mark);
}

static void check_matrix(struct reader *r, const json_t *matrix)
{
	const char *key;
	json_t *values;
	size_t mark = reader_enter(r, "matrix");
	if (matrix != NULL && !json_is_object(matrix) && !is_expression(matrix))
		reader_fault(r, "'matrix' must be a map of lists, or an expression that gives one");
	if (json_is_object(matrix) && json_object_size(matrix) == 0)
		reader_fault(r, "'matrix' holds nothing");
	json_object_foreach((json_t *)(uintptr_t)matrix, key, values)
		check_list(r, key, values, strcmp(key, "include") == 0 || strcmp(key, "exclude") == 0);
	reader_leave(r, mark);
}

/* A member of what the expression gives. */
static json_t *member_of(const json_t *whole, const char *name)
{
	json_t *token = json_deep_copy(whole);
	json_object_set_new(token, "expr", json_stringf("(%s).%s", json_get_string(whole, "expr"), name));
	return token;
}

static void read_whole(struct reader *r, struct workflow_job *job, const json_t *object)
{
	_cleanup_json_ json_t *whole = reader_token(r, object, "strategy");
	if (json_get_string(whole, "expr") == NULL)
		return; /* it cannot be read, which is told */
	job->strategy_is_expression = true;
	job->matrix = member_of(whole, "matrix");
	job->fail_fast = member_of(whole, "fail-fast");
	job->max_parallel = member_of(whole, "max-parallel");
}

/* `${{ … }}` and nothing else. */
static bool is_one_expression(const json_t *value)
{
	const char *text = json_string_value(value);
	return text != NULL && str_starts(text, "${{") && str_ends(text, "}}") && strstr(text + 3, "${{") == NULL;
}

void reader_strategy(struct reader *r, struct workflow_job *job, const json_t *object)
{
	static const char *const in_strategy[] = {"github", "needs", "vars", "inputs", NULL};
	static const char *const keys[] = {"matrix", "fail-fast", "max-parallel"};
	json_t *strategy = json_object_get(object, "strategy");
	if (strategy == NULL || json_is_null(strategy))
		return;
	reader_allow(r, in_strategy, 0);
	if (is_one_expression(strategy)) {
		read_whole(r, job, object);
		return;
	}
	size_t mark = reader_enter(r, "strategy");
	if (!json_is_object(strategy)) {
		reader_fault(r, "'strategy' must be a map");
	} else {
		reader_known_keys(r, strategy, "a strategy", keys, ARRAY_SIZE(keys));
		check_matrix(r, json_object_get(strategy, "matrix"));
		job->matrix = reader_token(r, strategy, "matrix");
		job->fail_fast = reader_boolean(r, strategy, "fail-fast");
		job->max_parallel = reader_number(r, strategy, "max-parallel");
	}
	reader_leave(r, mark);
}
