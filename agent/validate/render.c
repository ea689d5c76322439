/* render: each script as the shell gets it: expressions are filled in before any shell reads a line, quoted or not. */
#include "agent/validate/validate.h"
#include "agent/expr/expr.h"
#include "base/core/mem.h"

#include <string.h>

/* What an expression gives; itself, marked, where a context is not given. */
static void append_expression(const struct validate_options *options, const char *expr, size_t len, struct str *out)
{
	struct expr_scope scope = {.contexts = options->contexts, .exact_context = "env"};
	struct expr_value value _cleanup_(expr_value_done) = EXPR_VALUE_INIT;
	if (expr_eval(expr, len, &scope, &value, NULL) >= 0)
		expr_value_text(&value, out);
	else
		str_appendf(out, "<<${{%.*s}}>>", (int)len, expr);
}

/* The end of an expression: the first }} outside of a string. */
static const char *expression_end(const char *p)
{
	for (bool text = false; *p != '\0'; p++) {
		if (*p == '\'')
			text = !text;
		else if (!text && p[0] == '}' && p[1] == '}')
			return p;
	}
	return NULL;
}

static void append_script(const struct validate_options *options, const char *script, struct str *out)
{
	const char *open, *close;
	while ((open = strstr(script, "${{")) != NULL && (close = expression_end(open + 3)) != NULL) {
		str_append_n(out, script, (size_t)(open - script));
		append_expression(options, open + 3, (size_t)(close - open - 3), out);
		script = close + 2;
	}
	str_append(out, script);
}

static void render_steps(const struct validate_file *file, const char *where, const json_t *steps)
{
	size_t i;
	json_t *step;
	json_array_foreach(steps, i, step)
	{
		const char *run = json_get_string(step, "run"), *id = json_get_string(step, "id");
		if (run == NULL)
			continue;
		_cleanup_(str_done) struct str out = STR_INIT(1 << 20), safe = STR_INIT(8 << 20);
		append_script(file->options, run, &out);
		const char *p = str_peek(&out);
		for (const char *line = p, *end; line < p + out.len;
		     line = end + 1) { /* line feeds stay, what steers a terminal is shown */
			end = memchr(line, '\n', (size_t)(p + out.len - line));
			if (end == NULL)
				end = p + out.len;
			str_append_safe(&safe, line, (size_t)(end - line));
			str_append_c(&safe, '\n');
		}
		fprintf(file->options->rendered, "# %s: %s, step %zu%s%s\n%s\n", file->name, where, i + 1,
		        id != NULL ? ", " : "", id != NULL ? id : "", str_peek(&safe));
	}
}

void validate_render(const struct validate_file *file, const struct yaml_doc *doc)
{
	const json_t *root = yaml_root(doc);
	const char *name;
	json_t *job;
	json_object_foreach(json_object_get(root, "jobs"), name, job)
		render_steps(file, name, json_object_get(job, "steps"));
	render_steps(file, "action", json_object_get(json_object_get(root, "runs"), "steps"));
}
