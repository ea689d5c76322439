/* Webhooks: one POST each, signed with the receiver's secret, and the same delivery for as long as it is tried.
 *
 * Who writes the workflow says where it goes, and could as well run a command: an address inside the network is no boundary here. What is
 * held: TLS is verified, plain HTTP goes to loopback only, no redirect is followed, so that nobody but the host that was named gets the
 * body and its signature; addresses that only a cloud's metadata service has are refused; and of an answer nothing but its status is told. */
#include "steps/notify/notify_priv.h"
#include "base/core/clock.h"
#include "base/net/net.h"
#include "base/net/url.h"
#include "base/secret/digest.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { TRY_MS = 10000, RETRIES = 4, ANSWER_MAX = 64 << 10, HEADERS_MAX = 16, OWN_HEADERS = 6, URL_DIGITS = 32 };

static bool is_asked(const struct notify_in *in)
{
	return in->webhooks_count > 0;
}

/* ---- the address ---- */

/* 169.254.0.0/16 and fe80::/10, and the one address of its own that a metadata service has. */
static bool is_link_local(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6, metadata;
	size_t len = strlen(host);
	_cleanup_free_ char *bare = len > 2 && *host == '[' ? xstrndup(host + 1, len - 2) : xstrdup(host);
	if (inet_pton(AF_INET, bare, &v4) == 1)
		return ntohl(v4.s_addr) >> 16 == 0xA9FE;
	if (inet_pton(AF_INET6, bare, &v6) != 1)
		return false;
	inet_pton(AF_INET6, "fd00:ec2::254", &metadata);
	return IN6_IS_ADDR_LINKLOCAL(&v6) || memcmp(&v6, &metadata, sizeof(v6)) == 0;
}

/* Why it is not taken; NULL: it is. *ret_host: for messages, since the rest of the URL may be secret. */
static const char *fault_of(const char *text, char **ret_host)
{
	_cleanup_(net_url_freep) CURLU *url = curl_url();
	if (url == NULL || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
		return "is not a URL";
	_cleanup_free_ char *scheme = net_url_part(url, CURLUPART_SCHEME, 0),
			    *user = net_url_part(url, CURLUPART_USER, 0);
	_cleanup_free_ char *host = net_url_part(url, CURLUPART_HOST, 0);
	const char *fault = NULL;
	if (scheme == NULL || host == NULL)
		return "is not a URL";
	if (user != NULL)
		fault = "holds a login: give it by `headers`";
	else if (is_link_local(host))
		fault = "is of an address that only this machine's own network has";
	else if (strcmp(scheme, "https") != 0 && (strcmp(scheme, "http") != 0 || !net_is_loopback(host)))
		fault = "is not https: plain http is taken for this machine only (localhost, 127.0.0.0/8, ::1)";
	if (ret_host != NULL)
		*ret_host = TAKE(host);
	return fault;
}

void notify_webhook_faults(const struct notify_in *in, struct faults *faults)
{
	for (size_t i = 0; i < in->webhooks_count; i++) {
		const struct notify_webhooks *hook = &in->webhooks[i];
		_cleanup_free_ char *at = xasprintf("/webhooks/%zu", i), *at_url = xasprintf("%s/url", at);
		const char *fault = fault_of(hook->url, NULL);
		if (fault != NULL)
			faults_add(faults, NULL, at_url, "the URL %s", fault);
		if (hook->headers.count > HEADERS_MAX)
			faults_add(faults, NULL, at, "more than %d headers", HEADERS_MAX);
		if (hook->timeout_ms <= 0)
			faults_add(faults, NULL, at, "the time must be longer than nothing");
	}
}

/* ---- the message ---- */

static void url_digest(const char *url, char out[DIGEST_HEX])
{
	digest_of(url, strlen(url), out);
	out[URL_DIGITS] = '\0';
}

/* The same for the same outcome of the same deployment, whoever sends it: a receiver tells a repetition by it. */
static char *delivery_of(const struct step_context *c, const struct step_outcome *outcome, const char *url)
{
	char hex[DIGEST_HEX];
	const struct step_deployment *d = c->deployment;
	_cleanup_free_ char *whole = xasprintf("%s %s.%s %s %d", url, d->name, d->environment,
	                                       d->id != NULL ? d->id : "", (int)outcome->state);
	digest_of(whole, strlen(whole), hex);
	return xasprintf("%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static void compose(const struct step_context *c, const struct step_outcome *outcome, json_t *messages)
{
	const struct notify_in *in = c->input;
	for (size_t i = 0; i < in->webhooks_count; i++) {
		char to[DIGEST_HEX];
		const char *url = in->webhooks[i].url;
		url_digest(url, to);
		_cleanup_free_ char *delivery = delivery_of(c, outcome, url), *key = xasprintf("%s %s", to, delivery);
		_cleanup_json_ json_t *body = notify_webhook_body(c, outcome, delivery);
		_cleanup_free_ char *text = json_text(body);
		json_t *message = notify_message(c, messages, notify_webhook.name, key);
		json_set_string(message, "to", to);
		json_set_string(message, "delivery", delivery);
		json_set_string(message, "body", text);
	}
}

/* ---- sending ---- */

/* Over the body alone as GitHub signs its own, and over time, delivery and body, so that neither can be changed. */
static void sign(struct strv *headers, const char *secret, const char *delivery, const char *body)
{
	char own[DIGEST_HEX], whole[DIGEST_HEX];
	long long now = (long long)(clock_wall_ms() / 1000);
	_cleanup_(str_done) struct str plain = STR_INIT(1 << 20), dated = STR_INIT(1 << 20);
	str_append(&plain, body);
	str_appendf(&dated, "%lld.%s.%s", now, delivery, body);
	digest_hmac_hex(secret, strlen(secret), str_peek(&plain), plain.len, own);
	digest_hmac_hex(secret, strlen(secret), str_peek(&dated), dated.len, whole);
	strv_addf(headers, "X-Davit-Timestamp: %lld", now);
	strv_addf(headers, "X-Hub-Signature-256: sha256=%s", own);
	strv_addf(headers, "X-Davit-Signature-256: sha256=%s", whole);
}

static enum notify_sent judge(const char *host, const struct http_response *response, struct err *err)
{
	int status = response->status;
	if (status >= 200 && status <= 299)
		return NOTIFY_SENT;
	if (status >= 300 && status <= 399)
		err_set(err, ERR_FAILED, "the webhook at %s: it answered %d, and redirects are not followed", host,
		        status);
	else
		err_set(err, ERR_FAILED, "the webhook at %s: it answered %d", host, status);
	return status == 408 || status == 429 || status >= 500 ? NOTIFY_LATER : NOTIFY_NEVER;
}

static enum notify_sent post(const struct step_context *c, const struct notify_webhooks *hook, const char *delivery,
                             const char *body, struct err *err)
{
	_cleanup_free_ char *host = NULL;
	_cleanup_(strv_done) struct strv headers = {0};
	_cleanup_(http_response_done) struct http_response response = {0};
	struct http *http = c->http(c->engine);
	if (http == NULL || fault_of(hook->url, &host) != NULL) {
		err_set(err, ERR_INTERNAL, "the webhook cannot be sent by this process");
		return NOTIFY_NEVER;
	}
	strv_addf(&headers, "Content-Type: application/json");
	strv_addf(&headers, "X-Davit-Event: deployment");
	strv_addf(&headers, "X-Davit-Delivery: %s", delivery);
	sign(&headers, hook->secret, delivery, body);
	for (size_t i = 0; i < MIN(hook->headers.count, (size_t)HEADERS_MAX); i++)
		strv_addf(&headers, "%s: %s", hook->headers.items[i].key, hook->headers.items[i].value);
	const char *list[HEADERS_MAX + OWN_HEADERS + 1] = {0};
	for (size_t i = 0; i < headers.count; i++)
		list[i] = headers.items[i];
	const struct http_request request = {
		.method = "POST",
		.url = hook->url,
		.headers = list,
		.body = body,
		.body_len = strlen(body),
		.max_body = ANSWER_MAX,
		.timeout_ms = MIN(hook->timeout_ms, (int64_t)TRY_MS),
		.retries = RETRIES,
	};
	struct wait within = wait_within(c->wait, hook->timeout_ms);
	struct err why = ERR_INIT;
	int r = http_perform(http, &request, &within, &response, &why);
	if (r < 0) {
		/* Without the URL, which may be secret. */
		err_set(err, r, "the webhook at %s: %s", host,
		        r == ERR_TIMEOUT ? "it did not answer in time"
		        : r == ERR_AUTH  ? "its certificate is not trusted"
		        : r == ERR_LIMIT ? "its answer is too large"
		                         : "it cannot be reached");
		return r == ERR_LIMIT || r == ERR_INVALID ? NOTIFY_NEVER : NOTIFY_LATER;
	}
	return judge(host, &response, err);
}

static enum notify_sent send_webhook(const struct step_context *c, const json_t *message, struct err *err)
{
	const struct notify_in *in = c->input;
	const char *to = json_get_string(message, "to"), *delivery = json_get_string(message, "delivery"),
		   *body = json_get_string(message, "body");
	if (to == NULL || delivery == NULL || body == NULL) {
		err_set(err, ERR_INVALID, "the webhook: the kept message is not whole");
		return NOTIFY_NEVER;
	}
	for (size_t i = 0; i < in->webhooks_count; i++) {
		char own[DIGEST_HEX];
		url_digest(in->webhooks[i].url, own);
		if (strcmp(own, to) == 0)
			return post(c, &in->webhooks[i], delivery, body, err);
	}
	return NOTIFY_NOT_OURS;
}

const struct notify_channel notify_webhook = {
	.name = "webhook",
	.said = "webhooks",
	.is_asked = is_asked,
	.compose = compose,
	.send = send_webhook,
};
