/* The probes of a deployment: a row for each check, with its latencies drawn along the deployment's time. */
#include "agent/report/page_priv.h"
#include "agent/report/report.h"
#include "agent/report/report_priv.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 320, HEIGHT = 44, PAD = 5, CHECKS_MAX = 100, POINTS_MAX = 400 };

struct check {
	const char *target, *name; /* the report's */
	const json_t **events;     /* its probes, in their order */
	size_t count, capacity, passed;
};

struct checks {
	struct check items[CHECKS_MAX];
	size_t count, left_out;
};

static void done(struct checks *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->items[i].events);
}

static struct check *check_of(struct checks *c, const json_t *data)
{
	const char *target = report_text_of(data, "target"), *name = report_text_of(data, "check");
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->items[i].target, target) == 0 && strcmp(c->items[i].name, name) == 0)
			return &c->items[i];
	if (c->count == CHECKS_MAX)
		return NULL;
	c->items[c->count] = (struct check){.target = target, .name = name};
	return &c->items[c->count++];
}

static void collect(struct checks *c, const json_t *report)
{
	size_t i;
	json_t *event;
	json_array_foreach(json_object_get(report, "events"), i, event)
	{
		const json_t *data = json_object_get(event, "data");
		if (report_text_of(data, "check")[0] == '\0')
			continue;
		struct check *check = check_of(c, data);
		if (check == NULL) {
			c->left_out++;
			continue;
		}
		check->events = xgrow(check->events, &check->capacity, check->count + 1, sizeof(*check->events));
		check->events[check->count++] = event;
		check->passed += json_get_bool(data, "ok", false);
	}
}

static int64_t latency(const json_t *event)
{
	return MAX(json_get_int(json_object_get(event, "data"), "ms", 0), 0);
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/* Ascending; the caller's. */
static int64_t *sorted_latencies(const struct check *check)
{
	int64_t *all = xcalloc(check->count, sizeof(*all));
	for (size_t i = 0; i < check->count; i++)
		all[i] = latency(check->events[i]);
	qsort(all, check->count, sizeof(*all), by_value);
	return all;
}

/* Nearest rank. */
static int64_t percentile(const int64_t *sorted, size_t count, unsigned int percent)
{
	size_t rank = (count * percent + 99) / 100;
	return sorted[rank > 0 ? rank - 1 : 0];
}

static void append_plot(struct str *out, const struct check *check, const struct page_span *span, int64_t slowest)
{
	double most = (double)MAX(slowest, 1);
	size_t every = check->count / POINTS_MAX + 1;
	str_appendf(out, "<svg class=\"plot\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"latencies\">", WIDTH,
	            HEIGHT);
	str_appendf(out, "<line class=\"grid\" x1=\"0\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>", HEIGHT - PAD, WIDTH,
	            HEIGHT - PAD);
	for (size_t i = 0; i < check->count; i += every) {
		const json_t *data = json_object_get(check->events[i], "data");
		bool before = strcmp(report_text_of(check->events[i], "kind"), "baseline") == 0;
		double x = PAD + page_place(span, json_get_int(check->events[i], "at_ms", 0)) * (WIDTH - 2 * PAD);
		double y = HEIGHT - PAD - (double)latency(check->events[i]) / most * (HEIGHT - 2 * PAD);
		str_appendf(out, "<circle class=\"probe %s%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"><title>",
		            json_get_bool(data, "ok", false) ? "ok" : "bad", before ? " before" : "", x, y);
		page_since(out, span, json_get_int(check->events[i], "at_ms", 0));
		str_appendf(out, ": %lld ms, ", (long long)latency(check->events[i]));
		page_short_text(out, report_text_of(data, "seen"), 120);
		str_append(out, "</title></circle>");
	}
	str_append(out, "</svg>");
}

static void append_check(struct str *out, const struct check *check, const struct page_span *span)
{
	static const unsigned int percents[] = {50, 95, 100};
	_cleanup_free_ int64_t *sorted = sorted_latencies(check);
	str_append(out, "<tr><td class=\"what\">");
	if (check->target[0] != '\0') {
		page_text(out, check->target);
		str_append(out, ": ");
	}
	page_short_text(out, check->name, 120);
	str_appendf(out, "</td><td>%zu of %zu</td><td>", check->passed, check->count);
	append_plot(out, check, span, sorted[check->count - 1]);
	str_append(out, "</td>");
	for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
		str_append(out, "<td>");
		report_append_duration(out, percentile(sorted, check->count, percents[i]));
		str_append(out, "</td>");
	}
	str_append(out, "<td class=\"what\">");
	page_short_text(out, report_text_of(json_object_get(check->events[check->count - 1], "data"), "seen"), 200);
	str_append(out, "</td></tr>\n");
}

void page_probes(struct str *out, const json_t *report, const struct page_span *span)
{
	_cleanup_(done) struct checks checks = {0};
	collect(&checks, report);
	if (checks.count == 0)
		return;
	str_append(
		out,
		"<section><h2>Checks</h2><div class=\"wide\"><table><thead><tr><th>check</th><th>passed</th>"
		"<th>latency over time</th><th>median</th><th>95 %</th><th>slowest</th><th>last seen</th></tr></thead>"
		"<tbody>\n");
	for (size_t i = 0; i < checks.count; i++)
		append_check(out, &checks.items[i], span);
	str_append(out, "</tbody></table></div>");
	if (checks.left_out > 0)
		str_appendf(out, "<p>%zu probes of further checks are not drawn.</p>", checks.left_out);
	str_append(out,
	           "<p class=\"legend\"><span class=\"dot ok\"></span> passed <span class=\"dot bad\"></span> failed "
	           "<span class=\"dot before\"></span> before the deployment</p></section>\n");
}
