/* dns checks: a name has exactly the addresses that it must have. One too many is an old server that still gets a part of the requests. */
#include "base/core/clock.h"
#include "steps/health_gate/health_gate.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { TEXT_MAX = 4096 };

static bool is_asked(const struct health_gate_checks *in)
{
	return in->has_dns;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	str_appendf(out, "addresses of %s", in->dns.name);
	if (in->dns.resolver != NULL)
		str_appendf(out, " at %s", in->dns.resolver);
}

/* As inet_ntop writes it, so that 2001:DB8::0001 and 2001:db8::1 are one. NULL: it is no address. free() */
static char *plain_address(const char *text)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct in6_addr address;
	char plain[INET6_ADDRSTRLEN];
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (inet_pton(families[i], text, &address) == 1 &&
		    inet_ntop(families[i], &address, plain, sizeof(plain)) != NULL)
			return xstrdup(plain);
	return NULL;
}

static void validate(const struct health_gate_checks *in, const struct gate_place *place)
{
	for (size_t i = 0; i < in->dns.addresses.count; i++) {
		_cleanup_free_ char *address = plain_address(in->dns.addresses.items[i]);
		if (address == NULL)
			gate_fault(place, "dns/addresses", NULL, "'%s' is not an address", in->dns.addresses.items[i]);
	}
	struct err err = ERR_INIT;
	char line[512];
	const char *resolver = in->dns.resolver;
	_cleanup_free_ char *host = NULL;
	int port = 53;
	struct in_addr address;
	if (resolver == NULL)
		return;
	if (strchr(resolver, ':') == NULL)
		host = xstrdup(resolver);
	else if (gate_split_address(resolver, &host, &port, &err) < 0)
		gate_fault(place, "dns/resolver", NULL, "%s", err_line(&err, line, sizeof(line)));
	if (host != NULL && inet_pton(AF_INET, host, &address) != 1)
		gate_fault(place, "dns/resolver", NULL, "'%s' is not an IPv4 address", host);
}

static void stop(struct gate_check *check)
{
	gate_lookup_release(TAKE(check->own));
}

static void add(struct str *out, const char *text)
{
	str_appendf(out, "%s%s", out->len > 0 ? ", " : "", text);
}

static void judge(struct gate_check *check, const struct strv *is)
{
	const struct health_gate_checks_dns *in = &check->in->dns;
	_cleanup_(str_done) struct str all = STR_INIT(TEXT_MAX), missing = STR_INIT(TEXT_MAX),
				       other = STR_INIT(TEXT_MAX);
	_cleanup_(strv_done) struct strv wanted = {0};
	for (size_t i = 0; i < in->addresses.count; i++) {
		_cleanup_free_ char *address = plain_address(in->addresses.items[i]);
		strv_add(&wanted, address != NULL ? address : in->addresses.items[i]);
		if (!strv_has(is, wanted.items[i]))
			add(&missing, wanted.items[i]);
	}
	for (size_t i = 0; i < is->count; i++) {
		add(&all, is->items[i]);
		if (wanted.count > 0 && !strv_has(&wanted, is->items[i]))
			add(&other, is->items[i]);
	}
	bool ok = missing.len == 0 && other.len == 0;
	gate_result(check, ok, "%s%s%s%s%s", str_peek(&all), missing.len > 0 ? "; missing: " : "", str_peek(&missing),
	            other.len > 0 ? "; unexpected: " : "", str_peek(&other));
}

static void start(struct gate_check *check)
{
	check->own = gate_lookup_start(check->in->dns.name, 0, check->in->dns.resolver);
	if (check->own == NULL)
		gate_result(check, false, "this machine cannot start a thread for the name's lookup");
}

static void poll_for(const struct gate_check *check, struct pollfd *ret)
{
	*ret = (struct pollfd){.fd = gate_lookup_fd(check->own), .events = POLLIN};
}

static void turn(struct gate_check *check)
{
	char took[CLOCK_TEXT_SIZE];
	const struct addrinfo *list;
	const struct strv *addresses;
	const char *why;
	struct pollfd pfd;
	poll_for(check, &pfd);
	if (poll(&pfd, 1, 0) > 0) {
		if (gate_lookup_result(check->own, &list, &addresses, &why) < 0)
			gate_result(check, false, "does not resolve: %s", why);
		else
			judge(check, addresses);
	} else if (clock_mono_ms() - check->started_mono_ms >= check->in->timeout_ms) {
		gate_result(check, false, "no answer within %s", clock_duration(check->in->timeout_ms, took));
	}
	if (check->answered)
		stop(check);
}

const struct probe_type dns_probe = {.name = "dns",
                                     .is_asked = is_asked,
                                     .label = label,
                                     .validate = validate,
                                     .start = start,
                                     .poll = poll_for,
                                     .turn = turn,
                                     .stop = stop};
