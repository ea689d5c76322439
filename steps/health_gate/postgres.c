/* A query by psql, on the target or in a container, in a transaction that was made read only before the query could say otherwise. */
#include "base/core/shown.h"
#include <strings.h>
#include "steps/health_gate/health_gate.h"

enum { SHOWN = 120 };

static bool is_asked(const struct health_gate_checks *in)
{
	return in->has_postgres;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	const char *database = in->postgres.database;
	str_appendf(out, "query of %s: %s", database != NULL ? database : "PostgreSQL", in->postgres.query);
}

static void validate(const struct health_gate_checks *in, const struct gate_place *place)
{
	static const char *const words[] = {"commit", "rollback", "end", "abort", "begin", "start", "copy"};
	const char *query = in->postgres.query;
	size_t len = strlen(query);
	while (len > 0 && strchr("; \t\r\n", query[len - 1]) != NULL)
		len--;
	if (memchr(query, ';', len) != NULL)
		gate_fault(place, "postgres/query", NULL, "it is more than one query");
	if (query[strspn(query, " \t\r\n")] == '\\')
		gate_fault(place, "postgres/query", NULL, "it is an order to psql, not a query");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		const char *begin = query + strspn(query, " \t\r\n");
		if (strncasecmp(begin, words[i], strlen(words[i])) == 0 &&
		    strchr("; \t\r\n", begin[strlen(words[i])]) != NULL)
			gate_fault(place, "postgres/query", NULL, "`%s` is not a query that only reads", words[i]);
	}
}

static void add(struct strv *argv, const char *option, const char *value)
{
	if (value == NULL)
		return;
	strv_add(argv, option);
	strv_add(argv, value);
}

static void make_argv(const struct gate_check *check, struct strv *argv)
{
	const struct health_gate_checks_postgres *in = &check->in->postgres;
	static const char *const psql[] = {
		"psql", "-X", "-A", "-t", "-q", "-w", "-1", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"};
	if (in->container != NULL) {
		strv_add(argv, "docker");
		strv_add(argv, "exec");
		/* The names only: docker takes the values from its own environment. */
		for (size_t i = 0; i < check->in->env.count; i++)
			if (strncmp(check->in->env.items[i].key, "DOCKER_", 7) != 0)
				add(argv, "-e", check->in->env.items[i].key);
		strv_add(argv, in->container);
	}
	for (size_t i = 0; i < ARRAY_SIZE(psql); i++)
		strv_add(argv, psql[i]);
	add(argv, "-h", in->host);
	add(argv, "-U", in->user);
	add(argv, "-d", in->database);
	if (in->has_port) {
		strv_add(argv, "-p");
		strv_addf(argv, "%lld", (long long)in->port);
	}
	add(argv, "-c", "SET TRANSACTION READ ONLY");
	strv_add(argv, "-c");
	strv_addf(argv, "SET LOCAL statement_timeout = %lld", (long long)gate_left_ms(check));
	/* From the first rows on, even from none, nothing makes the transaction one that writes. */
	add(argv, "-c", "SELECT 1 WHERE false");
	add(argv, "-c", in->query);
}

static void judge(struct gate_check *check, struct str *rows)
{
	const struct health_gate_checks *in = check->in;
	_cleanup_(str_done) struct str why = STR_INIT(4096);
	while (rows->len > 0 && rows->data[rows->len - 1] == '\n')
		str_truncate(rows, rows->len - 1);
	gate_begins(check, rows);
	_cleanup_free_ char *shown = shown_text(str_peek(rows), rows->len, SHOWN);
	if (in->postgres.equals != NULL && strcmp(str_peek(rows), in->postgres.equals) != 0) {
		_cleanup_free_ char *wanted = shown_text(in->postgres.equals, strlen(in->postgres.equals), SHOWN);
		gate_result(check, false, "gave '%s', wanted '%s'", shown, wanted);
	} else if (!gate_text_holds(in, rows, "result", &why)) {
		gate_result(check, false, "%s", str_peek(&why));
	} else if (in->postgres.equals == NULL && in->contains == NULL && in->matches == NULL && rows->len == 0) {
		gate_result(check, false, "gave no row");
	} else {
		gate_result(check, true, "answered");
	}
}

static void ask(struct gate_check *check)
{
	_cleanup_(strv_done) struct strv argv = {0};
	make_argv(check, &argv);
	const struct target_command call = {
		.argv = (const char *const *)strv_null_terminated(&argv),
		.env = check->in->env.items,
		.env_count = check->in->env.count,
		.timeout_ms = gate_left_ms(check),
		.max_output = GATE_BODY_MAX,
	};
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	if (!gate_query(check, &call, "gave no answer", &result))
		return;
	if (result.status == 0) {
		judge(check, &result.out);
		return;
	}
	_cleanup_(str_done) struct str line = STR_INIT(4096);
	step_last_line(&result.err, &line);
	gate_result(check, false, "%s", line.len > 0 ? str_peek(&line) : "psql gave no answer");
}

static int can_ask(const struct health_gate_checks *in, struct view *v, const struct gate_place *place, struct err *err)
{
	if (in->postgres.container != NULL)
		return gate_docker_can_ask(in, v, place, err);
	return gate_needs_program(v, "psql", "install PostgreSQL's client there, or name the `container` of the server",
	                          place, err);
}

const struct probe_type postgres_probe = {
	.name = "postgres", .is_asked = is_asked, .label = label, .validate = validate, .ask = ask, .can_ask = can_ask};
