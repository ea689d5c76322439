/* Any text as an expression, as a template and as a document for fromJSON. */
#include "agent/expr/expr.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool always_true(void *user, enum expr_status which)
{
	(void)user;
	return which == EXPR_ALWAYS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static json_t *contexts;
	if (contexts == NULL)
		contexts =
			json_loads("{\"github\":{\"a\":[1,{\"b\":null}],\"C\":\"x\"},\"env\":{\"A\":\"\"}}", 0, NULL);
	struct expr_scope scope = {.contexts = contexts, .exact_context = "env", .status = always_true};
	struct expr_value value = EXPR_VALUE_INIT;
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	if (expr_eval((const char *)data, size, &scope, &value, NULL) == 0) {
		_cleanup_(str_done) struct str out = STR_INIT(1 << 20);
		expr_value_text(&value, &out);
		json_decref(expr_value_json(&value));
		expr_value_done(&value);
	}
	json_t *result = NULL;
	if (expr_template(text, &scope, &result, NULL) == 0)
		json_decref(result);
	bool truth;
	expr_condition(text, &scope, &truth, NULL);
	json_t *document = json_object();
	json_object_set_new(document, "d", json_string_lossy((const char *)data, size));
	scope.contexts = document;
	if (expr_eval("toJSON(fromJSON(d))", 19, &scope, &value, NULL) == 0)
		expr_value_done(&value);
	json_decref(document);
	return 0;
}
