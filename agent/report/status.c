/* How targets are, for a person: steps/status/status.h. Every string of it comes from a target. */
#include "agent/report/report.h"
#include "agent/report/report_priv.h"

#include <inttypes.h>
#include <string.h>

enum { TEXT_MAX = 64 << 20, CELL_MAX = 400, SNAPSHOTS_SHOWN = 10 };

static const char bold[] = "\x1b[1m", red[] = "\x1b[31m", plain[] = "\x1b[0m";

struct page {
	struct str text;
	bool colours;
	int64_t now_s; /* the target's own clock */
};

/* ---- quantities ---- */

static void append_size(struct str *out, int64_t bytes)
{
	static const char *const units[] = {"kB", "MB", "GB", "TB", "PB"};
	double size = (double)bytes / 1000;
	size_t unit = 0;
	for (; size >= 1000 && unit + 1 < ARRAY_SIZE(units); unit++)
		size /= 1000;
	str_appendf(out, "%.1f %s", size, units[unit]);
}

static void append_age(struct str *out, int64_t seconds)
{
	if (seconds < 0)
		seconds = 0;
	if (seconds < 120)
		str_appendf(out, "%" PRId64 " s", seconds);
	else if (seconds < 120 * 60)
		str_appendf(out, "%" PRId64 " min", seconds / 60);
	else if (seconds < 48 * 3600)
		str_appendf(out, "%" PRId64 " h", seconds / 3600);
	else
		str_appendf(out, "%" PRId64 " days", seconds / 86400);
}

static void append_percent(struct str *out, int64_t part, int64_t whole)
{
	if (whole > 0)
		str_appendf(out, "%.0f %%", 100.0 * (double)part / (double)whole);
	else
		str_append(out, "-");
}

/* ---- the host ---- */

static void append_free(struct page *p, const char *what, const json_t *memory, const char *free, const char *total)
{
	int64_t size = json_get_int(memory, total, 0);
	if (size == 0)
		return;
	str_appendf(&p->text, ", %s ", what);
	append_size(&p->text, json_get_int(memory, free, 0));
	str_append(&p->text, " of ");
	append_size(&p->text, size);
	str_append(&p->text, " free");
}

static void append_host(struct page *p, const json_t *target)
{
	const json_t *load = json_object_get(target, "load"), *memory = json_object_get(target, "memory");
	int64_t off = json_get_int(target, "clock_off_s", 0), up = json_get_int(target, "uptime_s", -1);
	if (up < 0 && load == NULL && memory == NULL)
		return;
	str_append(&p->text, "  ");
	if (up >= 0) {
		str_append(&p->text, "up ");
		append_age(&p->text, up);
	}
	if (json_array_size(load) == 3)
		str_appendf(&p->text, ", load %.2f %.2f %.2f", json_real_value(json_array_get(load, 0)),
		            json_real_value(json_array_get(load, 1)), json_real_value(json_array_get(load, 2)));
	if (json_get_int(target, "cpus", 0) > 0)
		str_appendf(&p->text, " on %" PRId64 " processors", json_get_int(target, "cpus", 0));
	append_free(p, "memory", memory, "available", "total");
	append_free(p, "swap", memory, "swap_free", "swap_total");
	str_append_c(&p->text, '\n');
	if (off == 0)
		return;
	str_appendf(&p->text, "  %swarning:%s its clock is ", report_colour(p->colours, red),
	            report_colour(p->colours, plain));
	append_age(&p->text, off < 0 ? -off : off);
	str_append(&p->text, off < 0 ? " behind\n" : " ahead\n");
}

static void append_cell(struct page *p, struct str *cell, size_t width)
{
	report_append_column(&p->text, str_peek(cell), width);
	str_append_c(&p->text, ' ');
	str_clear(cell);
}

static void append_disks(struct page *p, const json_t *disks)
{
	struct str cell _cleanup_(str_done) = STR_INIT(CELL_MAX);
	size_t i;
	json_t *disk;
	json_array_foreach((json_t *)disks, i, disk)
	{
		int64_t total = json_get_int(disk, "total", 0), left = json_get_int(disk, "free", 0);
		str_append(&p->text, i == 0 ? "  disks " : "        ");
		report_append_column(&p->text, report_text_of(disk, "mount"), 24);
		str_append_c(&p->text, ' ');
		append_size(&cell, left);
		str_append(&cell, " of ");
		append_size(&cell, total);
		str_append(&cell, " free");
		append_cell(p, &cell, 26);
		append_percent(&cell, total - left, total);
		str_append(&cell, " used");
		append_cell(p, &cell, 10);
		append_percent(&p->text, json_get_int(disk, "inodes", 0) - json_get_int(disk, "inodes_free", 0),
		               json_get_int(disk, "inodes", 0));
		str_append(&p->text, " of inodes\n");
	}
}

/* ---- containers ---- */

static void append_state(struct str *out, const json_t *c)
{
	const char *state = report_text_of(c, "state"), *health = report_text_of(c, "health");
	str_append(out, state);
	if (strcmp(state, "exited") == 0 || strcmp(state, "restarting") == 0 || strcmp(state, "dead") == 0)
		str_appendf(out, " (%" PRId64 ")", json_get_int(c, "exit", 0));
	if (*health != '\0' && strcmp(health, "none") != 0)
		str_appendf(out, ", %s", health);
	if (json_get_bool(c, "out_of_memory", false))
		str_append(out, ", out of memory");
}

/* "shop/web:1 sha256:0123456789ab": by which name, and which one that is. */
static void append_image(struct page *p, const json_t *c)
{
	const char *digest = report_text_of(c, "digest");
	_cleanup_free_ char *which = xasprintf("%.19s", *digest != '\0' ? digest : report_text_of(c, "image"));
	report_safe(&p->text, report_text_of(c, "image_name"));
	str_append(&p->text, *digest != '\0' ? " " : " image ");
	report_safe(&p->text, which);
}

static void append_trouble(struct page *p, const json_t *c)
{
	size_t i;
	json_t *line;
	if (*report_text_of(c, "probe") != '\0') {
		str_append(&p->text, "      its health check says: ");
		report_safe(&p->text, report_text_of(c, "probe"));
		str_append_c(&p->text, '\n');
	}
	json_array_foreach(json_object_get(c, "log"), i, line)
	{
		str_append(&p->text, "      | ");
		report_safe(&p->text, json_string_value(line));
		str_append_c(&p->text, '\n');
	}
}

static void append_container(struct page *p, const json_t *c)
{
	struct str cell _cleanup_(str_done) = STR_INIT(CELL_MAX);
	bool well = json_get_bool(c, "well", false), runs = strcmp(report_text_of(c, "state"), "running") == 0;
	const char *service = report_text_of(c, "service");
	str_appendf(&p->text, "    %s%c ", report_colour(p->colours, well ? "" : red), well ? ' ' : '!');
	report_append_column(&p->text, *service != '\0' ? service : report_text_of(c, "name"), 20);
	append_state(&cell, c);
	append_cell(p, &cell, 22);
	int64_t since = json_get_int(c, runs ? "started_s" : "finished_s", 0);
	if (since > 0)
		append_age(&cell, p->now_s - since);
	append_cell(p, &cell, 9);
	int64_t restarts = json_get_int(c, "restarts", 0);
	str_appendf(&cell, "%" PRId64 " restart%s", restarts, restarts == 1 ? "" : "s");
	append_cell(p, &cell, 12);
	append_image(p, c);
	str_appendf(&p->text, "%s\n", report_colour(p->colours, well ? "" : plain));
	if (!well)
		append_trouble(p, c);
}

static const char *deployed_by(const json_t *target, const char *project)
{
	size_t i;
	json_t *one;
	json_array_foreach(json_object_get(target, "deployed"), i, one)
	{
		if (strcmp(report_text_of(one, "project"), project) == 0)
			return report_text_of(one, "deployment");
	}
	return "";
}

static void append_project(struct page *p, const json_t *target, const char *project)
{
	size_t i;
	json_t *c;
	const char *by = deployed_by(target, project);
	str_append(&p->text, *project != '\0' ? "  project " : "  other containers");
	report_safe(&p->text, project);
	if (*by != '\0')
		str_appendf(&p->text, ", of deployment %s", by);
	str_append_c(&p->text, '\n');
	json_array_foreach(json_object_get(target, "containers"), i, c)
	{
		if (strcmp(report_text_of(c, "project"), project) == 0)
			append_container(p, c);
	}
}

static void append_containers(struct page *p, const json_t *target)
{
	struct strv projects _cleanup_(strv_done) = {0};
	const json_t *containers = json_object_get(target, "containers");
	size_t i;
	json_t *c;
	json_array_foreach((json_t *)containers, i, c)
	{
		if (!strv_has(&projects, report_text_of(c, "project")))
			strv_add(&projects, report_text_of(c, "project"));
	}
	strv_sort(&projects);
	for (size_t k = 0; k < projects.count; k++)
		append_project(p, target, projects.items[k]);
}

static void append_docker(struct page *p, const json_t *target)
{
	const json_t *docker = json_object_get(target, "docker");
	const char *state = report_text_of(docker, "state");
	if (strcmp(state, "none") == 0)
		str_append(&p->text, "  containers: there is no docker command\n");
	if (strcmp(state, "failed") == 0) {
		str_appendf(&p->text, "  %scontainers: the engine does not answer:%s ", report_colour(p->colours, red),
		            report_colour(p->colours, plain));
		report_safe(&p->text, report_text_of(docker, "error"));
		str_append_c(&p->text, '\n');
	}
	if (strcmp(state, "ok") == 0 && json_array_size(json_object_get(target, "containers")) == 0)
		str_append(&p->text, "  containers: none\n");
	append_containers(p, target);
}

/* ---- what davit keeps ---- */

static void append_open(struct page *p, const json_t *target)
{
	size_t i;
	json_t *one;
	json_array_foreach(json_object_get(target, "open"), i, one)
	{
		int64_t renewed = json_get_int(one, "renewed_s", 0);
		str_append(&p->text, i == 0 ? "  open\n    " : "    ");
		report_append_column(&p->text, report_text_of(one, "scope"), 24);
		str_append(&p->text, " deployment ");
		report_safe(&p->text, report_text_of(one, "deployment"));
		str_append(&p->text, " on ");
		report_safe(&p->text, report_text_of(one, "host"));
		str_append(&p->text, " as ");
		report_safe(&p->text, report_text_of(one, "user"));
		if (renewed > 0) {
			str_append(&p->text, ", last heard of ");
			append_age(&p->text, p->now_s - renewed);
			str_append(&p->text, " ago");
		}
		if (*report_text_of(one, "mark") != '\0') {
			str_append(&p->text, ", ");
			report_safe(&p->text, report_text_of(one, "mark"));
		}
		str_append_c(&p->text, '\n');
	}
}

/* Newest first. */
static void append_snapshots(struct page *p, const json_t *target)
{
	const json_t *all = json_object_get(target, "snapshots");
	size_t count = json_array_size(all), shown = MIN(count, (size_t)SNAPSHOTS_SHOWN);
	for (size_t i = 0; i < shown; i++) {
		const json_t *one = json_array_get(all, count - 1 - i);
		str_append(&p->text, i == 0 ? "  snapshots\n    " : "    ");
		report_append_column(&p->text, report_text_of(one, "scope"), 24);
		report_append_column(&p->text, report_text_of(one, "deployment"), 23);
		report_append_column(&p->text, report_text_of(one, "place"), 18);
		append_age(&p->text, p->now_s - json_get_int(one, "made_s", 0));
		str_append(&p->text, " old\n");
	}
	if (count > shown)
		str_appendf(&p->text, "    and %zu older ones\n", count - shown);
}

static void append_target(struct page *p, const json_t *target, const char *scope)
{
	p->now_s = json_get_int(target, "now_s", 0);
	str_append(&p->text, report_colour(p->colours, bold));
	report_safe(&p->text, report_text_of(target, "name"));
	str_append(&p->text, report_colour(p->colours, plain));
	str_append(&p->text, " of ");
	report_safe(&p->text, scope);
	if (*report_text_of(target, "host") != '\0') {
		str_append(&p->text, ": ");
		report_safe(&p->text, report_text_of(target, "user"));
		str_append_c(&p->text, '@');
		report_safe(&p->text, report_text_of(target, "host"));
	}
	if (*report_text_of(target, "kind") != '\0')
		str_appendf(&p->text, ": no host, but a %s", report_text_of(target, "kind"));
	str_append_c(&p->text, '\n');
	report_append_error(&p->text, target, "  ", p->colours);
	append_host(p, target);
	append_disks(p, json_object_get(target, "disks"));
	append_docker(p, target);
	if (json_array_size(json_object_get(target, "paths")) > 0)
		str_append(&p->text, "  releases\n");
	report_append_release_paths(&p->text, target, scope, p->colours);
	append_open(p, target);
	append_snapshots(p, target);
	if (json_get_bool(target, "incomplete", false))
		str_appendf(
			&p->text,
			"  %swarning:%s its answer is not complete: something there took too long, or is too much\n",
			report_colour(p->colours, red), report_colour(p->colours, plain));
	if (json_get_int(target, "unexpected", 0) > 0)
		str_appendf(&p->text, "  %swarning:%s %" PRId64 " lines of its answer are none that were asked for\n",
		            report_colour(p->colours, red), report_colour(p->colours, plain),
		            json_get_int(target, "unexpected", 0));
}

static void append_certificates(struct page *p, const json_t *certificates)
{
	struct str cell _cleanup_(str_done) = STR_INIT(CELL_MAX);
	size_t i;
	json_t *one;
	if (json_array_size(certificates) > 0)
		str_appendf(&p->text, "\n%scertificates%s\n", report_colour(p->colours, bold),
		            report_colour(p->colours, plain));
	json_array_foreach((json_t *)certificates, i, one)
	{
		const char *problem = report_text_of(one, "problem"), *name = report_text_of(one, "server_name");
		str_appendf(&p->text, "  %c ", *problem != '\0' ? '!' : ' ');
		str_appendf(&cell, "%s%s%s", report_text_of(one, "address"), *name != '\0' ? " for " : "", name);
		append_cell(p, &cell, 40);
		if (json_object_get(one, "days") != NULL) {
			str_appendf(&p->text, "%" PRId64 " days left, ", json_get_int(one, "days", 0));
			report_safe(&p->text, report_text_of(one, "names"));
			str_append(&p->text, ", from ");
			report_safe(&p->text, report_text_of(one, "issuer"));
		}
		str_append(&p->text, *problem != '\0' && json_object_get(one, "days") != NULL ? ": " : "");
		report_safe(&p->text, problem);
		str_append_c(&p->text, '\n');
	}
}

void report_print_status(const json_t *deployments, bool colours, FILE *out)
{
	struct page p = {.text = STR_INIT(TEXT_MAX), .colours = colours};
	size_t i, k, shown = 0;
	json_t *d, *target;
	json_array_foreach((json_t *)deployments, i, d)
	{
		_cleanup_free_ char *scope =
			xasprintf("%s.%s", report_text_of(d, "name"), report_text_of(d, "environment"));
		json_array_foreach(json_object_get(d, "targets"), k, target)
		{
			if (shown++ > 0)
				str_append_c(&p.text, '\n');
			append_target(&p, target, scope);
		}
		append_certificates(&p, json_object_get(d, "certificates"));
	}
	report_print_out(&p.text, out);
	str_done(&p.text);
}
