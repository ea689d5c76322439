/* Where values come from: a list of what steps explain (engine/run/step.h). Names and places only. */
#include "agent/report/report.h"
#include "agent/report/report_priv.h"

enum { TEXT_MAX = 16 << 20 };

static void append_value(struct str *out, const json_t *value)
{
	size_t i;
	json_t *hidden;
	str_append(out, "  ");
	report_append_column(out, report_text_of(value, "name"), 28);
	report_safe(out, report_text_of(value, "from"));
	json_array_foreach(json_object_get(value, "hides"), i, hidden)
	{
		str_append(out, i == 0 ? ", hides " : ", ");
		report_safe(out, json_string_value(hidden));
	}
	str_append_c(out, '\n');
}

void report_print_explained(const json_t *steps, FILE *out)
{
	struct str text _cleanup_(str_done) = STR_INIT(TEXT_MAX);
	size_t i, k;
	json_t *step, *one;
	json_array_foreach((json_t *)steps, i, step)
	{
		report_safe(&text, report_text_of(step, "path"));
		json_array_foreach(json_object_get(step, "targets"), k, one)
		{
			str_append(&text, k == 0 ? " on " : ", ");
			report_safe(&text, json_string_value(one));
		}
		str_append_c(&text, '\n');
		json_array_foreach(json_object_get(step, "values"), k, one) append_value(&text, one);
	}
	report_print_out(&text, out);
}
