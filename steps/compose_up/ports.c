/* Ports of the host that the stack publishes and somebody else holds: compose would find out when the old containers have stopped. */
#include "steps/compose_up/compose_up.h"
#include "base/core/shown.h"

#include <stdio.h>
#include <stdlib.h>

enum { MOST_PORTS = 500, WORD = 200 };

static const char processes_mark[] = "--processes--\n";

/* One that is wanted. */
struct port {
	const char *service, *address, *protocol;
	long number;
};

static bool is_any(const char *address)
{
	static const char *const any[] = {"", "0.0.0.0", "*", "::", "[::]", "[::ffff:0.0.0.0]"};
	for (size_t i = 0; i < ARRAY_SIZE(any); i++)
		if (strcmp(address, any[i]) == 0)
			return true;
	return false;
}

static bool collide(const struct port *p, const char *address, long first, long last, const char *protocol)
{
	return p->number >= first && p->number <= last && strcmp(p->protocol, protocol) == 0 &&
	       (is_any(p->address) || is_any(address) || strcmp(p->address, address) == 0);
}

/* A range lets the engine choose: nothing can be said of it. */
static size_t list_ports(const struct compose_stack *s, struct port *ret)
{
	size_t count = 0, i;
	json_t *one;
	for (size_t k = 0; k < s->count; k++)
		json_array_foreach(json_get_array(compose_service_json(s, s->services[k].name), "ports"), i, one)
		{
			const char *published = json_get_string(one, "published"),
				   *address = json_get_string(one, "host_ip"),
				   *protocol = json_get_string(one, "protocol");
			char *end = NULL;
			long number = published != NULL ? strtol(published, &end, 10) : 0;
			if (number > 0 && *end == '\0' && count < MOST_PORTS)
				ret[count++] = (struct port){s->services[k].name, address != NULL ? address : "",
				                             protocol != NULL ? protocol : "tcp", number};
		}
	return count;
}

static void add_fault(const struct port *p, const char *owner, struct strv *faults)
{
	_cleanup_free_ char *shown = shown_text(owner, strlen(owner), 3 * WORD);
	_cleanup_free_ char *fault =
		xasprintf("the port %s%s%ld/%s of '%s' is in use by %s: stop that, or publish another port", p->address,
	                  *p->address != '\0' ? ":" : "", p->number, p->protocol, p->service, shown);
	if (!strv_has(faults, fault))
		strv_add(faults, fault);
}

/* "0.0.0.0:8080->80/tcp", ":::9000-9001->9000-9001/udp". true: it is one of the host. */
static bool read_mapping(const char *word, char address[WORD], long *first, long *last, char protocol[8])
{
	const char *arrow = strstr(word, "->"), *slash = strrchr(word, '/');
	if (arrow == NULL || slash == NULL || arrow - word >= WORD)
		return false;
	const char *colon = arrow;
	while (colon > word && *colon != ':')
		colon--;
	if (sscanf(colon + 1, "%ld-%ld", first, last) < 2)
		*last = *first;
	snprintf(address, WORD, "%.*s", (int)(colon - word), word);
	snprintf(protocol, 8, "%s", slash + 1);
	return *colon == ':' && *first > 0;
}

/* NAME, PROJECT and ports, with tabs between them. What a container holds is told here, or is the stack's
 * own; the process that holds it for the container is not asked about any more. */
static void look_at_container(const char *project, char *line, struct port *wanted, size_t count, struct strv *faults)
{
	char *rest = NULL, *name = strtok_r(line, "\t", &rest), *of = strtok_r(NULL, "\t", &rest);
	for (char *word = strtok_r(NULL, ", ", &rest); name != NULL && of != NULL && word != NULL;
	     word = strtok_r(NULL, ", ", &rest)) {
		char address[WORD], protocol[8];
		long first = 0, last = 0;
		if (!read_mapping(word, address, &first, &last, protocol))
			continue;
		_cleanup_free_ char *owner = strcmp(of, "-") == 0
		                                     ? xasprintf("the container '%s'", name)
		                                     : xasprintf("the container '%s' of the project '%s'", name, of);
		for (size_t i = 0; i < count; i++) {
			if (!collide(&wanted[i], address, first, last, protocol))
				continue;
			if (strcmp(of, project) != 0)
				add_fault(&wanted[i], owner, faults);
			wanted[i].number = 0;
		}
	}
}

/* As ss has it: "tcp LISTEN 0 128 127.0.0.1:8080 0.0.0.0:* users:(("nginx",pid=12,fd=6))" */
static void look_at_process(const char *line, const struct port *wanted, size_t count, struct strv *faults)
{
	char protocol[8], place[WORD], users[WORD] = "", program[64] = "";
	long pid = 0;
	if (sscanf(line, "%7s %*s %*s %*s %199s %*s %199[^\n]", protocol, place, users) < 2)
		return;
	char *colon = strrchr(place, ':'), *scope = strchr(place, '%');
	if (colon == NULL)
		return;
	long number = strtol(colon + 1, NULL, 10);
	*colon = '\0';
	if (scope != NULL)
		*scope = '\0';
	bool known = sscanf(users, "users:((\"%63[^\"]\",pid=%ld", program, &pid) == 2;
	_cleanup_free_ char *owner = known ? xasprintf("%s (process %ld)", program, pid)
	                                   : xstrdup("a process that the target's user may not see");
	for (size_t i = 0; i < count; i++)
		if (wanted[i].number != 0 && collide(&wanted[i], place, number, number, protocol))
			add_fault(&wanted[i], owner, faults);
}

int compose_check_ports(const struct compose_up_in *in, const struct docker *d, const struct compose_stack *s,
                        struct strv *faults, struct err *err)
{
	_cleanup_free_ struct port *wanted = xcalloc(MOST_PORTS, sizeof(*wanted));
	_cleanup_(target_result_done) struct target_result said = TARGET_RESULT_INIT;
	size_t count = list_ports(s, wanted);
	bool processes = false;
	/* The engine of another host has its own processes. */
	const struct docker_call call = {
		.script =
			"docker ps --format '{{.Names}}\t{{with .Label \"com.docker.compose.project\"}}{{.}}{{else}}-{{end}}\t{{.Ports}}' "
			"|| exit\necho --processes--\ncase ${DOCKER_HOST:-unix:} in unix:*) ss -Hltunp 2>/dev/null ;; esac\nexit 0\n",
		.timeout_ms = COMPOSE_LOOK_MS};
	int r = count > 0 ? docker_must(d, &call, &said, err) : 0;
	for (const char *at = str_peek(&said.out); r == 0 && count > 0 && *at != '\0';
	     at += strcspn(at, "\n"), at += *at == '\n') {
		_cleanup_free_ char *line = xstrndup(at, strcspn(at, "\n"));
		if (str_starts(at, processes_mark))
			processes = true;
		else if (processes)
			look_at_process(line, wanted, count, faults);
		else
			look_at_container(in->project, line, wanted, count, faults);
	}
	return r;
}
