#include "base/git/transport_v0.h"

#include <string.h>
#if __has_include(<git2/sys/errors.h>)
#include <git2/sys/errors.h>
#endif

#include "base/git/git_priv.h"
#include "base/git/ssh.h"

enum { CHECK_EVERY = 16 };

struct exchange {
	git_smart_subtransport_stream parent;
	struct git_http *h;
	bool refs; /* info/refs, else git-upload-pack */
	struct str request;
	struct http_stream *stream; /* NULL: not sent yet */
	struct wait within;         /* of the stream */
};

/* We keep our error in full; libgit2 gets one too, since it reports the last one that was set. */
static int fail(struct git_http *h, int code, const struct err *err)
{
	char line[512];
	if (h->result == 0) {
		h->result = code;
		h->err = *err;
	}
	git_error_set_str(GIT_ERROR_NET, err_line(err, line, sizeof(line)));
	return code == ERR_CANCELLED || code == ERR_TIMEOUT ? GIT_EUSER : -1;
}

static int open_exchange(struct exchange *x, struct err *err)
{
	const struct git_remote_access *remote = x->h->remote;
	struct str url _cleanup_(str_done) = STR_INIT(4096);
	struct str authorization _cleanup_(str_done) = STR_SECRET_INIT(16384);
	const char *headers[4] = {"Accept: application/x-git-upload-pack-advertisement"};
	size_t count = 1;
	str_appendf(&url, "%s/%s", remote->url, x->refs ? "info/refs?service=git-upload-pack" : "git-upload-pack");
	if (!x->refs) {
		headers[0] = "Accept: application/x-git-upload-pack-result";
		headers[count++] = "Content-Type: application/x-git-upload-pack-request";
	}
	if (remote->authorization != NULL) {
		str_appendf(&authorization, "Authorization: %s", remote->authorization);
		headers[count++] = str_peek(&authorization);
	}
	if (url.failed || authorization.failed)
		return err_set(err, ERR_LIMIT, "the request to the git server is too long");
	struct http_request request = {
		.url = str_peek(&url),
		.headers = headers,
		.body = x->refs ? NULL : str_peek(&x->request),
		.body_len = x->request.len,
		.max_body = x->refs ? GIT_REFS_MAX : 0,
		.timeout_ms = x->refs ? GIT_REFS_MS : GIT_FETCH_MS,
		.retries = GIT_RETRIES,
	};
	x->within = wait_within(remote->wait, request.timeout_ms);
	x->stream = http_stream_open(remote->http, &request, &x->within, err);
	str_done(&x->request);
	return x->stream != NULL ? 0 : err->code;
}

/* Reports anything but a git server (a login page, a proxy's answer, a server that only knows files) before libgit2 reads it. */
static int check_head(struct exchange *x, struct err *err)
{
	const char *want =
		x->refs ? "application/x-git-upload-pack-advertisement" : "application/x-git-upload-pack-result";
	const char *url = x->h->remote->url;
	const struct http_response *head;
	int r = http_stream_head(x->stream, &head, err);
	if (r < 0)
		return r;
	if (head->status != 200)
		return git_wire_refusal(head, url, err);
	return git_wire_type(head, want, url, err);
}

static int exchange_read(git_smart_subtransport_stream *stream, char *buffer, size_t size, size_t *ret_len)
{
	struct exchange *x = (struct exchange *)stream;
	struct err err = ERR_INIT;
	int r = 0;
	if (x->stream == NULL) {
		r = open_exchange(x, &err);
		if (r >= 0)
			r = check_head(x, &err);
	}
	if (r >= 0)
		r = http_stream_read(x->stream, buffer, size, ret_len, &err);
	return r < 0 ? fail(x->h, r, &err) : 0;
}

static int exchange_write(git_smart_subtransport_stream *stream, const char *data, size_t len)
{
	struct exchange *x = (struct exchange *)stream;
	struct err err = ERR_INIT;
	if (str_append_n(&x->request, data, len))
		return 0;
	return fail(x->h,
	            err_set(&err, ERR_LIMIT, "the request to the git server is larger than %d bytes", GIT_REQUEST_MAX),
	            &err);
}

static void exchange_free(git_smart_subtransport_stream *stream)
{
	struct exchange *x = (struct exchange *)stream;
	http_stream_free(x->stream);
	str_done(&x->request);
	free(x);
}

/* ---- behind SSH ---- */

struct git_ssh_stream {
	git_smart_subtransport_stream parent;
	struct git_http *h;
	struct git_ssh_program *program;
	size_t listed; /* bytes of the list of references */
	bool asked;
	struct wait within;
};

static int stream_read(git_smart_subtransport_stream *stream, char *buffer, size_t size, size_t *ret_len)
{
	struct git_ssh_stream *x = (struct git_ssh_stream *)stream;
	struct err err = ERR_INIT;
	int r = git_ssh_read(x->program, buffer, size, ret_len, &x->within, &err);
	x->listed += x->asked ? 0 : *ret_len;
	if (r >= 0 && x->listed > GIT_REFS_MAX)
		r = err_set(&err, ERR_LIMIT, "the git server lists more than %d bytes of references", GIT_REFS_MAX);
	return r < 0 ? fail(x->h, r, &err) : 0;
}

static int stream_write(git_smart_subtransport_stream *stream, const char *data, size_t len)
{
	struct git_ssh_stream *x = (struct git_ssh_stream *)stream;
	struct err err = ERR_INIT;
	if (!x->asked)
		x->within = wait_within(x->h->remote->wait, GIT_FETCH_MS);
	x->asked = true;
	int r = git_ssh_write(x->program, data, len, &x->within, &err);
	return r < 0 ? fail(x->h, r, &err) : 0;
}

static void stream_free(git_smart_subtransport_stream *stream)
{
	struct git_ssh_stream *x = (struct git_ssh_stream *)stream;
	x->h->stream = NULL;
	git_ssh_end(x->program);
	free(x);
}

static int open_ssh_stream(struct git_http *h, git_smart_subtransport_stream **ret)
{
	struct err err = ERR_INIT;
	struct git_ssh_stream *x = xcalloc(1, sizeof(*x));
	x->parent = (git_smart_subtransport_stream){
		.subtransport = &h->parent, .read = stream_read, .write = stream_write, .free = stream_free};
	x->h = h;
	x->within = wait_within(h->remote->wait, GIT_REFS_MS);
	int r = git_ssh_start(h->remote->ssh, false, &x->within, &x->program, &err);
	if (r < 0) {
		free(x);
		return fail(h, r, &err);
	}
	h->stream = x;
	*ret = &x->parent;
	return 0;
}

static int on_action(git_smart_subtransport_stream **ret, git_smart_subtransport *transport, const char *url,
                     git_smart_service_t action)
{
	struct git_http *h = (struct git_http *)transport;
	struct err err = ERR_INIT;
	(void)url;
	if (action != GIT_SERVICE_UPLOADPACK_LS && action != GIT_SERVICE_UPLOADPACK)
		return fail(h, err_set(&err, ERR_UNSUPPORTED, "nothing is pushed here"), &err);
	if (h->remote->ssh != NULL && h->stream != NULL) {
		*ret = &h->stream->parent;
		return 0;
	}
	if (h->remote->ssh != NULL)
		return open_ssh_stream(h, ret);
	struct exchange *x = xcalloc(1, sizeof(*x));
	x->parent.subtransport = transport;
	x->parent.read = exchange_read;
	x->parent.write = exchange_write;
	x->parent.free = exchange_free;
	x->h = h;
	x->refs = action == GIT_SERVICE_UPLOADPACK_LS;
	x->request = (struct str)STR_INIT(GIT_REQUEST_MAX);
	*ret = &x->parent;
	return 0;
}

static int on_close(git_smart_subtransport *transport)
{
	(void)transport;
	return 0;
}

static void on_free(git_smart_subtransport *transport)
{
	(void)transport; /* the caller's */
}

static int subtransport_of(git_smart_subtransport **ret, git_transport *owner, void *param)
{
	struct git_http *h = param;
	(void)owner;
	*ret = &h->parent;
	return 0;
}

static int transport_of(git_transport **ret, git_remote *owner, void *payload)
{
	return git_transport_smart(ret, owner, &((struct git_http *)payload)->definition);
}

/* Called for each object. */
static int on_progress(const git_indexer_progress *stats, void *payload)
{
	struct git_http *h = payload;
	struct err err = ERR_INIT;
	(void)stats;
	if (h->progressed++ % CHECK_EVERY != 0)
		return 0;
	int r = wait_ms(h->remote->wait, 0, &err);
	return r < 0 ? fail(h, r, &err) : 0;
}

void git_http_init(struct git_http *h, const struct git_remote_access *remote, git_remote_callbacks *ret)
{
	h->parent = (git_smart_subtransport){.action = on_action, .close = on_close, .free = on_free};
	h->definition = (git_smart_subtransport_definition){
		.callback = subtransport_of, .rpc = remote->ssh == NULL, .param = h};
	h->remote = remote;
	git_remote_init_callbacks(ret, GIT_REMOTE_CALLBACKS_VERSION);
	ret->transport = transport_of;
	ret->transfer_progress = on_progress;
	ret->payload = h;
}

int git_http_error(const struct git_http *h, int code, const char *what, struct err *err)
{
	if (h->result == 0)
		return git_area_error(err, code, what);
	if (err != NULL)
		*err = h->err;
	return h->result;
}
