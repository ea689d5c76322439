/* tls checks: the handshake is libcurl's, which also verifies; what else is asked of the certificate is read from it. */
#include "base/core/clock.h"
#include "base/net/certificate.h"
#include "steps/health_gate/health_gate.h"

struct tls_try {
	struct gate_check *check;
	struct gate_ssl_request
		*request; /* in clear, up to where TLS begins; NULL: it begins at once, or libcurl asks */
	struct http_transfer *transfer;
};

static bool is_asked(const struct health_gate_checks *in)
{
	return in->has_tls;
}

static void label(const struct health_gate_checks *in, struct str *out)
{
	str_appendf(out, "certificate of %s", in->tls.address);
	if (in->tls.server_name != NULL)
		str_appendf(out, " for %s", in->tls.server_name);
}

static void validate(const struct health_gate_checks *in, const struct gate_place *place)
{
	struct err err = ERR_INIT;
	char line[512];
	_cleanup_free_ char *host = NULL;
	int port;
	if (gate_split_address(in->tls.address, &host, &port, &err) < 0)
		gate_fault(place, "tls/address", NULL, "%s", err_line(&err, line, sizeof(line)));
}

static char *server_of(const struct health_gate_checks *in)
{
	char *host = NULL;
	int port;
	return gate_split_address(in->tls.address, &host, &port, NULL) == 0 ? host : NULL;
}

static void stop(struct gate_check *check)
{
	struct tls_try *t = TAKE(check->own);
	if (t != NULL && t->transfer != NULL)
		http_cancel(t->transfer);
	if (t != NULL)
		gate_ssl_request_free(t->request);
	free(t);
}

/* A word more for each thing that is not as it must be. */
static void say(struct str *why, const char *fmt, ...) _printf_(2, 3);
static void say(struct str *why, const char *fmt, ...)
{
	va_list ap;
	char text[1024];
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	str_appendf(why, "%s%s", why->len > 0 ? "; " : "", text);
}

static void judge_names(const struct health_gate_checks_tls *in, const char *host, X509 *x, struct str *why)
{
	_cleanup_(str_done) struct str is = STR_INIT(CERTIFICATE_TEXT_MAX);
	certificate_names(x, &is);
	if (!certificate_is_for(x, host))
		say(why, "it is for %s, not for %s", str_peek(&is), host);
	for (size_t i = 0; i < in->names.count; i++)
		if (!certificate_is_for(x, in->names.items[i]))
			say(why, "it is for %s, not for %s", str_peek(&is), in->names.items[i]);
}

static void judge_issuer(const struct health_gate_checks_tls *in, X509 *x, struct str *why)
{
	_cleanup_(str_done) struct str plain = STR_INIT(CERTIFICATE_TEXT_MAX), spaced = STR_INIT(CERTIFICATE_TEXT_MAX);
	certificate_issuer(x, true, &plain);
	certificate_issuer(x, false, &spaced);
	if (in->issuer != NULL && strstr(str_peek(&plain), in->issuer) == NULL &&
	    strstr(str_peek(&spaced), in->issuer) == NULL)
		say(why, "it is from %s, wanted %s", str_peek(&spaced), in->issuer);
}

/* Days that are left; negative once it is over. */
static int judge_days(const struct health_gate_checks_tls *in, X509 *x, struct str *why)
{
	int days = 0, seconds = 0;
	if (!certificate_left(x, &days, &seconds)) {
		say(why, "its end cannot be read");
		return 0;
	}
	if (days < 0 || seconds < 0)
		say(why, "it ended %d day%s ago", -days, days == -1 ? "" : "s");
	else if (in->has_days && days < in->days)
		say(why, "it ends in %d day%s, wanted %lld", days, days == 1 ? "" : "s", (long long)in->days);
	return days;
}

static void judge(struct gate_check *check, const char *pem, const char *host)
{
	_cleanup_(str_done) struct str why = STR_INIT(CERTIFICATE_TEXT_MAX);
	_cleanup_(certificate_freep) X509 *x = certificate_read(pem);
	if (x == NULL) {
		gate_result(check, false, "showed no certificate that can be read");
		return;
	}
	judge_names(&check->in->tls, host, x, &why);
	judge_issuer(&check->in->tls, x, &why);
	int days = judge_days(&check->in->tls, x, &why);
	if (why.len > 0)
		gate_result(check, false, "%s", str_peek(&why));
	else
		gate_result(check, true, "is valid for %d more day%s", days, days == 1 ? "" : "s");
}

static char *host_of(const struct health_gate_checks_tls *in, int *ret_port)
{
	char *host = NULL;
	if (gate_split_address(in->address, &host, ret_port, NULL) < 0)
		return NULL;
	if (in->server_name == NULL)
		return host;
	free(host);
	return xstrdup(in->server_name);
}

static void done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct tls_try *t = context;
	struct gate_check *check = t->check;
	char line[512], took[CLOCK_TEXT_SIZE];
	int port;
	_cleanup_free_ char *host = host_of(&check->in->tls, &port);
	t->transfer = NULL;
	check->answer.address = xstrdup(response->peer);
	if (result == 0)
		judge(check, response->certificate != NULL ? response->certificate : "", host);
	else if (result == ERR_TIMEOUT)
		gate_result(check, false, "made no handshake within %s", clock_duration(check->in->timeout_ms, took));
	else
		gate_result(check, false, "%s", err_line(err, line, sizeof(line)));
	stop(check);
}

static bool is_postgres(const struct health_gate_checks_tls *in)
{
	return in->has_starttls && in->starttls == HEALTH_GATE_CHECKS_TLS_STARTTLS_POSTGRES;
}

/* What is behind the colons of "NAME:PORT:ADDRESS"; NULL: as the name resolves. free() */
static char *place_of(const struct health_gate_checks_tls *in, const char *host, int fd)
{
	if (fd >= 0)
		return gate_peer(fd, false);
	return in->server_name != NULL ? xstrdup(host) : NULL;
}

/* fd: the connection on which TLS is to begin; -1: libcurl connects. */
static void begin(struct gate_check *check, struct tls_try *t, int fd, struct err *err)
{
	const struct health_gate_checks_tls *in = &check->in->tls;
	_cleanup_free_ char *ca = NULL, *host = NULL, *name = NULL;
	int port = 0;
	if (gate_split_address(in->address, &host, &port, err) < 0 ||
	    gate_read_ca(check->gate->c, in->ca, &ca, err) < 0)
		return;
	name = host_of(in, &port);
	bool bare = strchr(name, ':') != NULL, known = in->has_starttls && !is_postgres(in);
	const char *scheme = known ? health_gate_checks_tls_starttls_name(in->starttls) : "https";
	_cleanup_free_ char *url = xasprintf("%s://%s%s%s:%d/", scheme, bare ? "[" : "", name, bare ? "]" : "", port);
	_cleanup_free_ char *place = place_of(in, host, fd);
	_cleanup_free_ char *resolve = place ? xasprintf("%s:%d:%s", name, port, place) : NULL;
	int64_t left = MAX(check->started_mono_ms + check->in->timeout_ms - clock_mono_ms(), (int64_t)1);
	const struct http_request request = {
		.url = url,
		.resolve = resolve,
		.ca_text = ca,
		.timeout_ms = left,
		.connect_timeout_ms = left,
		.fresh = true,
		.handshake = true,
		.connected_fd = fd,
		.unverified = !in->verify,
	};
	t->transfer = http_start(check->gate->http, &request, done, t, err);
}

static void cannot(struct gate_check *check, const struct err *err)
{
	char line[512];
	gate_result(check, false, "%s", err_line(err, line, sizeof(line)));
	stop(check);
}

static void start(struct gate_check *check)
{
	struct err err = ERR_INIT;
	struct tls_try *t = check->own = xcalloc(1, sizeof(*t));
	t->check = check;
	if (is_postgres(&check->in->tls))
		t->request = gate_ssl_request_start(check->in->tls.address, &err);
	else
		begin(check, t, -1, &err);
	if (t->transfer == NULL && t->request == NULL)
		cannot(check, &err);
}

static void poll_for(const struct gate_check *check, struct pollfd *ret)
{
	const struct tls_try *t = check->own;
	*ret = (struct pollfd){.fd = -1};
	if (t->request != NULL)
		gate_ssl_request_poll(t->request, ret);
}

static void turn(struct gate_check *check)
{
	struct err err = ERR_INIT;
	struct tls_try *t = check->own;
	char took[CLOCK_TEXT_SIZE];
	if (t->request == NULL)
		return;
	int r = gate_ssl_request_turn(t->request, &err);
	if (r == 0 && clock_mono_ms() - check->started_mono_ms >= check->in->timeout_ms)
		r = err_set(&err, ERR_TIMEOUT, "made no handshake within %s",
		            clock_duration(check->in->timeout_ms, took));
	if (r > 0) {
		begin(check, t, gate_ssl_request_fd(t->request), &err);
		gate_ssl_request_free(TAKE(t->request));
		r = t->transfer != NULL ? 0 : ERR_FAILED;
	}
	if (r < 0)
		cannot(check, &err);
}

const struct probe_type tls_probe = {.name = "tls",
                                     .is_asked = is_asked,
                                     .label = label,
                                     .validate = validate,
                                     .host = server_of,
                                     .start = start,
                                     .poll = poll_for,
                                     .turn = turn,
                                     .stop = stop};
