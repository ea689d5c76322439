/* The certificates that the gates of a deployment ask for, as their servers show them to this machine now. Each is asked for twice: as the
 * check asks, which says whether it is trusted, and without a judgement, which shows it in any case. */
#include "base/core/clock.h"
#include "base/net/certificate.h"
#include "base/net/http.h"
#include "schemas/step_info.h"
#include "steps/status/status.h"

enum { ASKED_MAX = 100, ASK_MS = 5000 };

struct certificate_ask {
	json_t *answer; /* borrowed */
	bool judged;
	size_t *left;
	struct http_transfer *transfer;
};

/* "HOST:PORT", "[::1]:443". */
static char *host_of(const char *address, const char **ret_port)
{
	const char *colon = strrchr(address, ':');
	bool bare = *address == '[' && colon != NULL && colon > address + 1 && colon[-1] == ']';
	if (colon == NULL || colon == address)
		return NULL;
	*ret_port = colon + 1;
	return xstrndup(address + bare, (size_t)(colon - address) - 2 * bare);
}

static void take_certificate(json_t *answer, const char *pem, const char *name)
{
	_cleanup_(certificate_freep) X509 *x = certificate_read(pem);
	_cleanup_(str_done) struct str names = STR_INIT(CERTIFICATE_TEXT_MAX), issuer = STR_INIT(CERTIFICATE_TEXT_MAX);
	int days, seconds;
	if (x == NULL) {
		json_set_string(answer, "problem", "showed no certificate that can be read");
		return;
	}
	certificate_names(x, &names);
	certificate_issuer(x, false, &issuer);
	json_set_string(answer, "names", str_peek(&names));
	json_set_string(answer, "issuer", str_peek(&issuer));
	if (!certificate_is_for(x, name) && json_object_get(answer, "problem") == NULL)
		json_set_string(answer, "problem", "it is for another name");
	if (!certificate_left(x, &days, &seconds))
		return;
	json_object_set_new(answer, "days", json_integer(days));
	json_object_set_new(answer, "ends_s", json_integer(clock_wall_ms() / 1000 + (int64_t)days * 86400 + seconds));
}

static const char *name_of(const json_t *answer, char **ret_owned)
{
	const char *port, *name = json_get_string(answer, "server_name");
	*ret_owned = name == NULL ? host_of(json_get_string(answer, "address"), &port) : NULL;
	return name != NULL ? name : *ret_owned;
}

static void done(void *context, int result, struct http_response *response, const struct err *err)
{
	struct certificate_ask *a = context;
	char line[ERR_FRAME_SIZE];
	_cleanup_free_ char *owned = NULL;
	a->transfer = NULL;
	(*a->left)--;
	if (result < 0)
		json_set_string(a->answer, "problem", err_line(err, line, sizeof(line)));
	else if (!a->judged)
		take_certificate(a->answer, response->certificate != NULL ? response->certificate : "",
		                 name_of(a->answer, &owned));
}

static void begin(struct certificate_ask *a, const json_t *tls, const char *root, struct http *h)
{
	struct err err = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	const char *port = "", *server = json_get_string(tls, "server_name");
	_cleanup_free_ char *host = host_of(json_get_string(tls, "address"), &port), *ca = NULL;
	const char *name = server != NULL ? server : host;
	int r = certificate_authorities(root, a->judged ? json_get_string(tls, "ca") : NULL, &ca, &err);
	if (r == 0) {
		bool bare = strchr(name, ':') != NULL;
		_cleanup_free_ char *url =
			xasprintf("https://%s%s%s:%s/", bare ? "[" : "", name, bare ? "]" : "", port);
		_cleanup_free_ char *resolve = server != NULL ? xasprintf("%s:%s:%s", server, port, host) : NULL;
		const struct http_request request = {.url = url,
		                                     .resolve = resolve,
		                                     .ca_text = ca,
		                                     .timeout_ms = ASK_MS,
		                                     .connect_timeout_ms = ASK_MS,
		                                     .fresh = true,
		                                     .handshake = true,
		                                     .unverified = !a->judged};
		a->transfer = http_start(h, &request, done, a, &err);
	}
	if (a->transfer != NULL)
		(*a->left)++;
	else
		json_set_string(a->answer, "problem", err_line(&err, line, sizeof(line)));
}

static int wait_for_all(const struct certificate_ask *asks, size_t count, const size_t *left, struct http *h,
                        const struct wait *w, struct err *err)
{
	int r = 0;
	while (*left > 0 && r >= 0) {
		r = wait_check(w, err);
		if (r == 0)
			r = http_step(h, NULL, 0, 200, err);
	}
	for (size_t i = 0; i < count; i++)
		if (asks[i].transfer != NULL)
			http_cancel(asks[i].transfer);
	return MIN(r, 0);
}

static bool is_listed(const json_t *list, const json_t *one)
{
	size_t i;
	json_t *other;
	json_array_foreach((json_t *)list, i, other)
	{
		if (json_equal(other, one))
			return true;
	}
	return false;
}

/* Each address and name once. */
static json_t *list_asked(const json_t *places)
{
	json_t *list = json_array(), *step, *check;
	size_t i, k;
	json_array_foreach(json_object_get(places, "steps"), i, step)
	{
		const struct step_info *info = step_info(json_get_string(step, "step"));
		if (info == NULL || info->certificates == NULL)
			continue;
		json_array_foreach(json_object_get(json_object_get(step, "input"), info->certificates), k, check)
		{
			json_t *tls = json_get_object(check, "tls");
			const char *address = json_get_string(tls, "address"), *port;
			_cleanup_free_ char *host = address != NULL ? host_of(address, &port) : NULL;
			if (host != NULL && !is_listed(list, tls) && json_array_size(list) < ASKED_MAX)
				json_array_append(list, tls);
		}
	}
	return list;
}

static int ask_all(const json_t *asked, const char *root, json_t *answers, const struct engine_options *o,
                   struct err *err)
{
	size_t count = json_array_size(asked), left = 0, used = 0;
	struct http *h = o->http != NULL ? o->http(o->http_context) : NULL;
	if (h == NULL)
		return err_set(err, ERR_INTERNAL, "there is no HTTP client");
	_cleanup_free_ struct certificate_ask *asks = xcalloc(2 * count + 1, sizeof(*asks));
	for (size_t i = 0; i < count; i++) {
		const json_t *tls = json_array_get(asked, i);
		json_t *answer = json_pack("{s:O, s:O*}", "address", json_object_get(tls, "address"), "server_name",
		                           json_object_get(tls, "server_name"));
		json_array_append_new(answers, answer);
		for (int judged = 0; judged < 2; judged++) {
			if (judged && !json_get_bool(tls, "verify", true))
				continue;
			struct certificate_ask *a = &asks[used++];
			*a = (struct certificate_ask){.answer = answer, .judged = judged, .left = &left};
			begin(a, tls, root, h);
		}
	}
	return wait_for_all(asks, used, &left, h, o->wait, err);
}

int status_certificates(const json_t *places, const struct engine_options *o, json_t **ret, struct err *err)
{
	_cleanup_json_ json_t *asked = list_asked(places), *answers = json_array();
	const char *root = json_get_string(places, "source_root");
	if (json_array_size(asked) == 0)
		return 0;
	int r = ask_all(asked, root != NULL ? root : ".", answers, o, err);
	if (r == 0)
		*ret = json_incref(answers);
	return r;
}
