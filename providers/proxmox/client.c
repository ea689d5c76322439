#include "providers/proxmox/client.h"

#include "base/core/mem.h"
#include "base/net/url.h"
#include "providers/proxmox/certificate.h"

#include <stdlib.h>
#include <string.h>

enum {
	/* A 401 is held back for 3 s by the server. */
	TIMEOUT_MS = 30000,
	RETRIES = 3,
	AT_ONCE = 16,
	ANSWER_MAX = 8 << 20,
	FORM_MAX = 512 << 10,
	LOGIN_MAX = 4096,
	MESSAGE_MAX = 300,
	HTTP_NO_NODE = 595, /* the node that the path names was not reached */
	HTTP_NO_TLS = 596,
};

struct proxmox {
	char *url, *host, *token_id, *ca_file, *fingerprint;
	struct str login; /* the header */
	int64_t task_timeout_ms;
	struct http *http; /* made by the first call: with a fingerprint the server is looked at before */
};

static int read_url(struct proxmox *p, const char *text, struct err *err)
{
	_cleanup_(net_url_freep) CURLU *url = curl_url();
	bool good = url != NULL && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK;
	_cleanup_free_ char *scheme = good ? net_url_part(url, CURLUPART_SCHEME, 0) : NULL;
	_cleanup_free_ char *host = good ? net_url_part(url, CURLUPART_HOST, 0) : NULL;
	_cleanup_free_ char *port = good ? net_url_part(url, CURLUPART_PORT, 0) : NULL;
	_cleanup_free_ char *path = good ? net_url_part(url, CURLUPART_PATH, 0) : NULL;
	_cleanup_free_ char *user = good ? net_url_part(url, CURLUPART_USER, 0) : NULL;
	if (scheme == NULL || strcmp(scheme, "https") != 0 || host == NULL || user != NULL ||
	    (path != NULL && strcmp(path, "/") != 0)) {
		err_set(err, ERR_INVALID, "'%s' is not the address of a Proxmox server", text);
		return err_hint(err, ERR_INVALID, "as in https://pve.example:8006");
	}
	p->host = xasprintf("%s:%s", host, port != NULL ? port : "8006");
	p->url = xasprintf("https://%s/api2/json", p->host);
	return 0;
}

int proxmox_new(const struct proxmox_config *config, struct proxmox **ret, struct err *err)
{
	struct proxmox *p _cleanup_(proxmox_freep) = xcalloc(1, sizeof(*p));
	p->login = (struct str)STR_SECRET_INIT(LOGIN_MAX);
	int r = read_url(p, config->url, err);
	if (r < 0)
		return r;
	if (config->fingerprint != NULL) {
		p->fingerprint = xcalloc(1, CERTIFICATE_FINGERPRINT);
		r = certificate_fingerprint_read(config->fingerprint, p->fingerprint, err);
		if (r < 0)
			return r;
	}
	p->token_id = xstrdup(config->token_id);
	p->ca_file = xstrdup(config->ca_file);
	p->task_timeout_ms = config->task_timeout_ms;
	str_appendf(&p->login, "Authorization: PVEAPIToken=%s=%s", config->token_id, config->token_secret);
	if (p->login.failed)
		return err_set(err, ERR_LIMIT, "the token of %s is too long", p->host);
	*ret = TAKE(p);
	return 0;
}

void proxmox_free(struct proxmox *p)
{
	if (p == NULL)
		return;
	http_free(p->http);
	str_done(&p->login);
	free(p->url);
	free(p->host);
	free(p->token_id);
	free(p->ca_file);
	free(p->fingerprint);
	free(p);
}

void proxmox_freep(struct proxmox **p)
{
	proxmox_free(*p);
}

const char *proxmox_host(const struct proxmox *p)
{
	return p->host;
}

const char *proxmox_token(const struct proxmox *p)
{
	return p->token_id;
}

int64_t proxmox_task_timeout(const struct proxmox *p)
{
	return p->task_timeout_ms;
}

/* ---- the server's identity ---- */

/* The certificate is looked at on a connection that carries nothing; all others must then show its very key. */
static int find_key(struct proxmox *p, struct wait *w, struct str *key, struct err *err)
{
	_cleanup_(http_freep) struct http *http = http_new(NULL, err);
	struct http_response response _cleanup_(http_response_done) = {0};
	const struct http_request q = {.url = p->url,
	                               .unverified = true,
	                               .handshake = true,
	                               .fresh = true,
	                               .timeout_ms = TIMEOUT_MS,
	                               .retries = RETRIES};
	char shown[CERTIFICATE_FINGERPRINT];
	int r = http == NULL ? ERR_INTERNAL : http_perform(http, &q, w, &response, err);
	if (r == 0)
		r = certificate_look(response.certificate != NULL ? response.certificate : "", shown, key, err);
	if (r < 0)
		return err_wrap(err, r, "%s", p->host);
	if (strcmp(shown, p->fingerprint) == 0)
		return 0;
	err_set(err, ERR_AUTH, "%s shows a certificate with the fingerprint %s, not the one that is pinned", p->host,
	        shown);
	return err_hint(
		err, ERR_AUTH,
		"nothing was sent to it. A certificate of Proxmox's own CA is renewed every two years: compare with `pvenode "
		"cert info` on the node, or trust its CA by `ca_file`");
}

static int make_http(struct proxmox *p, struct wait *w, struct err *err)
{
	struct str key _cleanup_(str_done) = STR_INIT(256);
	struct http_config config = {.ca_file = p->ca_file};
	if (p->http != NULL)
		return 0;
	if (p->fingerprint != NULL) {
		int r = find_key(p, w, &key, err);
		if (r < 0)
			return r;
		config.public_key = str_peek(&key);
	}
	p->http = http_new(&config, err);
	return p->http != NULL ? 0 : ERR_INTERNAL;
}

/* ---- requests ---- */

static void append_escaped(struct str *out, const char *text)
{
	char *escaped = curl_easy_escape(NULL, text, 0);
	str_append(out, escaped != NULL ? escaped : "");
	curl_free(escaped);
}

char *proxmox_segment(const char *text)
{
	struct str out = STR_INIT(FORM_MAX);
	append_escaped(&out, text);
	char *own = xstrdup(str_peek(&out));
	str_done(&out);
	return own;
}

static void append_value(struct str *out, const json_t *value)
{
	if (json_is_boolean(value))
		str_append(out, json_is_true(value) ? "1" : "0");
	else if (json_is_integer(value))
		str_appendf(out, "%lld", (long long)json_integer_value(value));
	else if (json_is_string(value))
		append_escaped(out, json_string_value(value));
}

static void append_form(struct str *out, const json_t *params)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)params, name, value)
	{
		str_append(out, out->len > 0 ? "&" : "");
		append_escaped(out, name);
		str_append_c(out, '=');
		append_value(out, value);
	}
}

/* ---- answers ---- */

static void append_errors(struct str *out, const json_t *errors)
{
	const char *name;
	json_t *text;
	json_object_foreach((json_t *)(uintptr_t)errors, name, text)
	{
		if (json_is_string(text))
			str_appendf(out, "%s%s: %s", out->len > 0 ? "; " : "", name, json_string_value(text));
	}
}

/* Older servers say it behind the status only. */
static void read_message(const struct http_response *response, const json_t *body, struct str *out)
{
	const char *message = json_get_string(body, "message");
	if (message == NULL)
		message = response->reason != NULL ? response->reason : "";
	append_errors(out, json_object_get(body, "errors"));
	if (out->len == 0)
		str_appendf(out, "%.*s", MESSAGE_MAX, message);
	while (out->len > 0 && strchr("\r\n ", out->data[out->len - 1]) != NULL)
		str_truncate(out, out->len - 1);
}

static bool is_conflict(const char *message)
{
	return strstr(message, "checksum mismatch") != NULL ||
	       strstr(message, "detected modified configuration") != NULL;
}

static int code_of(int status, bool spoke, const char *message, bool reads)
{
	if (status == 401)
		return ERR_AUTH;
	if (status == 403)
		return ERR_PERMISSION;
	if (status == 501)
		return ERR_UNSUPPORTED;
	if (status == HTTP_NO_NODE || status == HTTP_NO_TLS || status == 429)
		return ERR_NETWORK;
	/* A method that died says why in its JSON; what says nothing comes from something in front of it. */
	if (status >= 500 && (status != 500 || !spoke))
		return reads ? ERR_NETWORK : ERR_UNKNOWN;
	return is_conflict(message) ? ERR_CONFLICT : status == 400 ? ERR_INVALID : ERR_FAILED;
}

static int refused(const struct proxmox *p, const char *what, const struct http_response *response, const json_t *body,
                   bool reads, struct err *err)
{
	struct str message _cleanup_(str_done) = STR_INIT(ANSWER_MAX);
	read_message(response, body, &message);
	int code = code_of(response->status, json_is_object(body), str_peek(&message), reads);
	err_set(err, code, "%s: %s answered %d%s%.*s", what, p->host, response->status, message.len > 0 ? ": " : "",
	        MESSAGE_MAX, str_peek(&message));
	if (code == ERR_AUTH)
		return err_hint(err, code,
		                "check token_id ('user@realm!name'), its secret, and whether it has expired");
	if (code == ERR_PERMISSION)
		return err_hint(
			err, code,
			"a token with privilege separation has only what its own entries in the access list give, cut by its user's");
	return code;
}

/* Nothing of it was sent: no connection came about. */
static bool never_sent(const struct err *err)
{
	return err->foreign == CURLE_COULDNT_CONNECT || err->foreign == CURLE_COULDNT_RESOLVE_HOST ||
	       err->foreign == CURLE_COULDNT_RESOLVE_PROXY || err->foreign == CURLE_SSL_CONNECT_ERROR;
}

static int send_request(struct proxmox *p, const struct http_request *q, bool reads, struct wait *w,
                        struct http_response *ret, struct err *err)
{
	struct err own = ERR_INIT;
	int r = http_perform(p->http, q, w, ret, &own);
	if (err != NULL)
		*err = own;
	if (!reads && (r == ERR_TIMEOUT || r == ERR_NETWORK || r == ERR_PROTOCOL || r == ERR_LIMIT) &&
	    !never_sent(&own))
		return err_wrap(err, ERR_UNKNOWN, "%s: the reply was lost", p->host);
	return r;
}

/* What a server answers that is not Proxmox's is no success either. */
static int take_data(const struct proxmox *p, const char *what, const struct http_response *response, bool reads,
                     json_t **ret, struct err *err)
{
	json_t *body _cleanup_json_ = NULL;
	int read = json_parse(str_peek(&response->body), response->body.len, ANSWER_MAX, &body, NULL);
	if (response->status < 200 || response->status > 299)
		return refused(p, what, response, body, reads, err);
	if (read < 0 || !json_is_object(body) || json_object_get(body, "data") == NULL)
		return err_set(err, reads ? ERR_PROTOCOL : ERR_UNKNOWN,
		               "%s: %s answered with what is not its interface's JSON", what, p->host);
	if (ret != NULL)
		*ret = json_incref(json_object_get(body, "data"));
	return 0;
}

int proxmox_each(struct proxmox *p, size_t count, void (*one)(void *context, size_t i), void *context, struct wait *w,
                 struct err *err)
{
	int r = make_http(p, w, err);
	return r < 0 ? r : http_together(p->http, count, AT_ONCE, one, context, w, err);
}

int proxmox_call(struct proxmox *p, const char *method, const char *path, const json_t *params, struct wait *w,
                 json_t **ret, struct err *err)
{
	struct http_response response _cleanup_(http_response_done) = {0};
	struct str form _cleanup_(str_done) = STR_SECRET_INIT(FORM_MAX);
	bool reads = method == NULL, by_query = reads || strcmp(method, "DELETE") == 0;
	_cleanup_free_ char *what = xasprintf("%s %s", reads ? "GET" : method, path);
	int r = make_http(p, w, err);
	if (r < 0)
		return r;
	append_form(&form, params);
	if (form.failed)
		return err_set(err, ERR_LIMIT, "%s: the request is larger than %d KiB", what, FORM_MAX >> 10);
	_cleanup_free_ char *url = xasprintf("%s%s%s%s", p->url, path, by_query && form.len > 0 ? "?" : "",
	                                     by_query ? str_peek(&form) : "");
	const char *const headers[] = {str_peek(&p->login), "Accept: application/json",
	                               by_query ? NULL : "Content-Type: application/x-www-form-urlencoded", NULL};
	const struct http_request q = {
		.method = method,
		.url = url,
		.headers = headers,
		.body = by_query ? NULL : str_peek(&form),
		.body_len = by_query ? 0 : form.len,
		.borrow_body = true,
		.max_body = ANSWER_MAX,
		.timeout_ms = TIMEOUT_MS,
		.retries = reads ? RETRIES : 0,
		/* On a kept connection that is gone libcurl would send it again by itself. */
		.fresh = !reads,
	};
	r = send_request(p, &q, reads, w, &response, err);
	return r < 0 ? err_wrap(err, r, "%s", what) : take_data(p, what, &response, reads, ret, err);
}
