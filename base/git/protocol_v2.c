#include "base/git/ssh.h"
#include "base/git/wire_priv.h"
#include "base/core/shown.h"

#include <stdio.h>
#include <string.h>

enum { ERROR_TEXT_MAX = 2048 };

static const char result_type[] = "application/x-git-upload-pack-result";

/* ---- pkt-lines ---- */

static int hex_digit(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int pkt_begin(struct pkt_reader *r, struct err *err)
{
	size_t length = 0;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit(r->header[i]);
		if (digit < 0)
			return err_set(err, ERR_PROTOCOL, "the git server sent something that is not a packet line");
		length = length * 16 + (size_t)digit;
	}
	r->header_len = 0;
	if (length <= 2)
		return r->on_line(r->context, (int)length, NULL, 0, err);
	if (length < 4 || length > GIT_WIRE_PKT_MAX)
		return err_set(err, ERR_PROTOCOL, "the git server sent a packet line of length %zu", length);
	r->left = length - 4;
	r->in_line = true;
	str_clear(&r->line);
	return 0;
}

int pkt_feed(struct pkt_reader *r, const void *data, size_t len, struct err *err)
{
	const unsigned char *p = data;
	int e = 0;
	while (e >= 0 && (len > 0 || (r->in_line && r->left == 0))) {
		if (!r->in_line) {
			r->header[r->header_len++] = *p++;
			len--;
			if (r->header_len == 4)
				e = pkt_begin(r, err);
			continue;
		}
		size_t take = MIN(len, r->left);
		/* A whole line within the piece needs no copy. */
		if (take == r->left && r->line.len == 0) {
			r->in_line = false;
			e = r->on_line(r->context, -1, (const char *)p, take, err);
			r->left = 0;
		} else {
			if (!str_append_n(&r->line, p, take))
				return err_set(err, ERR_LIMIT, "a packet line of the git server is too long");
			r->left -= take;
			if (r->left == 0) {
				r->in_line = false;
				e = r->on_line(r->context, -1, r->line.data, r->line.len, err);
			}
		}
		p += take;
		len -= take;
	}
	return e;
}

void git_wire_line(struct str *out, const char *text)
{
	str_appendf(out, "%04zx%s\n", strlen(text) + 5, text);
}

void git_wire_linef(struct str *out, const char *key, const char *value)
{
	str_appendf(out, "%04zx%s%s\n", strlen(key) + strlen(value) + 5, key, value);
}

/* ---- one request ---- */

static int on_body(void *context, const void *data, size_t len, struct err *err)
{
	struct git_exchange *x = context;
	if (x->result >= 0)
		x->result = pkt_feed(&x->reader, data, len, &x->err);
	if (x->result == ERR_CANCELLED || x->result == ERR_TIMEOUT || x->result == ERR_LIMIT ||
	    x->result == ERR_NO_SPACE)
		return err_set(err, x->result, "stopped");
	return 0;
}

int git_wire_refusal(const struct http_response *response, const char *url, struct err *err)
{
	const char *place = http_header(response, "Location");
	int r;
	switch (response->status) {
	case 401:
	case 403:
		r = err_set(err, ERR_AUTH, "the git server does not let us read %s (HTTP %d)", url, response->status);
		return err_hint(err, r, "give `token:` a token that may read the repository's contents");
	case 404:
		r = err_set(err, ERR_NOT_FOUND, "there is no repository at %s, or the token may not see it", url);
		return err_hint(err, r,
		                "check `repository:`; a private repository of another owner needs its own `token:`");
	case 301:
	case 302:
	case 307:
	case 308:
		r = err_set(err, ERR_NOT_FOUND, "%s has moved to %s", url, place ? place : "another place");
		return err_hint(err, r, "give its new name in `repository:` or `server:`");
	default:
		break;
	}
	struct str text _cleanup_(str_done) = STR_INIT(8 * ERROR_TEXT_MAX);
	_cleanup_free_ char *shown = shown_text(str_peek(&response->body), response->body.len, 200);
	str_append_safe(&text, shown, strlen(shown));
	return err_set(err, ERR_PROTOCOL, "%s answered HTTP %d: %s", url, response->status, str_peek(&text));
}

int git_wire_type(const struct http_response *response, const char *want, const char *url, struct err *err)
{
	const char *type = http_header(response, "Content-Type");
	if (type != NULL && str_starts(type, want))
		return 0;
	int r = err_set(err, ERR_PROTOCOL, "%s does not answer as a git server: its answer is of the type '%.100s'",
	                url, type ? type : "");
	return err_hint(err, r,
	                "check `server:` and `repository:`; a login page or a proxy may have answered in its place");
}

int git_wire_no_name(const struct git_remote_access *remote, const char *name, struct err *err)
{
	int r = err_set(err, ERR_NOT_FOUND, "%s has no '%s'", remote->url, name);
	return err_hint(err, r, "`ref:` is a branch, a tag, or a commit id of 40 digits");
}

void git_exchange_done(struct git_exchange *x)
{
	str_done(&x->reader.line);
}

int git_wire_post(const struct git_remote_access *remote, const struct str *body, int64_t timeout_ms,
                  struct git_exchange *x, struct err *err)
{
	if (remote->ssh != NULL)
		return git_ssh_command(remote->ssh, body, timeout_ms, &x->reader, remote->wait, err);
	struct str url _cleanup_(str_done) = STR_INIT(4096);
	struct str authorization _cleanup_(str_done) = STR_SECRET_INIT(16384);
	struct http_response response _cleanup_(http_response_done) = {0};
	const char *headers[5] = {
		"Content-Type: application/x-git-upload-pack-request",
		"Accept: application/x-git-upload-pack-result",
		"Git-Protocol: version=2",
	};
	str_appendf(&url, "%s/git-upload-pack", remote->url);
	if (remote->authorization != NULL) {
		str_appendf(&authorization, "Authorization: %s", remote->authorization);
		headers[3] = str_peek(&authorization);
	}
	if (url.failed || authorization.failed || body->failed)
		return err_set(err, ERR_LIMIT, "the request to the git server is too long");
	struct http_request request = {
		.method = "POST",
		.url = str_peek(&url),
		.headers = headers,
		.body = str_peek(body),
		.body_len = body->len,
		.timeout_ms = timeout_ms,
		.retries = GIT_RETRIES,
		.on_body = on_body,
		.context = x,
	};
	struct wait within = wait_within(remote->wait, timeout_ms);
	int r = http_perform(remote->http, &request, &within, &response, err);
	if (r < 0 && x->result < 0 && x->err.code != 0) {
		*err = x->err;
		return x->result;
	}
	if (r < 0)
		return err_wrap(err, r, "ask %s", remote->url);
	if (response.status != 200)
		return git_wire_refusal(&response, remote->url, err);
	if (x->result == ERR_PROTOCOL && (r = git_wire_type(&response, result_type, remote->url, err)) < 0)
		return r;
	if (x->result < 0) {
		*err = x->err;
		return err_wrap(err, x->result, "read the answer of %s", remote->url);
	}
	if (x->reader.in_line || x->reader.header_len > 0)
		return err_set(err, ERR_NETWORK, "the answer of %s ends in the middle", remote->url);
	return 0;
}

/* ---- ls-refs ---- */

struct refs {
	const char *const *names;
	int best; /* index into names of the best so far, -1: none */
	char id[GIT_HEX], commit[GIT_HEX];
	char *target; /* what the best one stands for, where that was asked; NULL: nothing */
	size_t bytes;
	bool seen_any;
};

static bool is_id(const char *text, size_t len)
{
	if (len < 40)
		return false;
	for (size_t i = 0; i < 40; i++)
		if (hex_digit((unsigned char)text[i]) < 0 || (text[i] >= 'A' && text[i] <= 'F'))
			return false;
	return true;
}

int git_wire_ref(const char *data, size_t *len, size_t *bytes, struct err *err)
{
	*bytes += *len;
	if (*bytes > GIT_REFS_MAX)
		return err_set(err, ERR_LIMIT, "the git server lists more than %d bytes of references", GIT_REFS_MAX);
	if (*len > 0 && data[*len - 1] == '\n')
		--*len;
	if (*len > 4 && memcmp(data, "ERR ", 4) == 0)
		return err_set(err, ERR_PROTOCOL, "the git server says: %.*s", (int)(*len - 4), data + 4);
	if (*len < 42 || !is_id(data, *len) || data[40] != ' ')
		return err_set(err, ERR_UNSUPPORTED, "the git server does not speak protocol version 2");
	return 0;
}

/* "ID NAME[ symref-target:NAME][ peeled:ID]" */
static int on_ref(void *context, int kind, const char *data, size_t len, struct err *err)
{
	struct refs *refs = context;
	refs->seen_any = true;
	if (kind >= 0)
		return 0;
	int r = git_wire_ref(data, &len, &refs->bytes, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *line = xstrndup(data + 41, len - 41);
	char *attributes = strchr(line, ' ');
	if (attributes != NULL)
		*attributes++ = '\0';
	for (int i = 0; refs->names[i] != NULL && (refs->best < 0 || i < refs->best); i++) {
		if (strcmp(line, refs->names[i]) != 0)
			continue;
		const char *peeled = attributes ? strstr(attributes, "peeled:") : NULL,
			   *target = attributes ? strstr(attributes, "symref-target:") : NULL;
		refs->best = i;
		if (target != NULL) {
			target += strlen("symref-target:");
			free(refs->target);
			refs->target = xstrndup(target, strcspn(target, " "));
		}
		memcpy(refs->id, data, 40);
		memcpy(refs->commit, peeled && is_id(peeled + 7, strlen(peeled + 7)) ? peeled + 7 : data, 40);
	}
	return 0;
}

void git_wanted_done(struct git_wanted *w)
{
	free(w->ref);
	w->ref = NULL;
}

bool git_wanted_by_id(struct git_wanted *w, const char *id)
{
	if (id == NULL || strlen(id) != 40 || strspn(id, "0123456789abcdefABCDEF") != 40)
		return false;
	for (size_t i = 0; i <= 40; i++)
		w->object[i] = w->commit[i] = (char)(id[i] >= 'A' && id[i] <= 'F' ? id[i] - 'A' + 'a' : id[i]);
	return true;
}

static void refs_done(struct refs *refs)
{
	free(refs->target);
}

static int list(const struct git_remote_access *remote, const char *const *names, struct refs *refs, struct err *err)
{
	*refs = (struct refs){.names = names, .best = -1};
	struct git_exchange x _cleanup_(git_exchange_done) = GIT_EXCHANGE_INIT(on_ref, refs);
	struct str body _cleanup_(str_done) = STR_INIT(GIT_WIRE_REQUEST_MAX);
	git_wire_line(&body, "command=ls-refs");
	git_wire_line(&body, "agent=davit/" DAVIT_VERSION);
	str_append(&body, "0001");
	git_wire_line(&body, "peel");
	git_wire_line(&body, "symrefs");
	for (size_t i = 0; names[i] != NULL; i++)
		git_wire_linef(&body, "ref-prefix ", names[i]);
	str_append(&body, "0000");
	int r = git_wire_post(remote, &body, GIT_REFS_MS, &x, err);
	if (r < 0)
		return err_wrap(err, r, "look for '%s'", names[0]);
	/* An empty list ends with a flush; version 0 does not understand the request and ends silently. */
	if (!refs->seen_any)
		return err_set(err, ERR_UNSUPPORTED, "the git server does not speak protocol version 2");
	return refs->best < 0 ? git_wire_no_name(remote, names[0], err) : 0;
}

int git_wire_resolve(const struct git_remote_access *remote, const char *const *names, struct git_wanted *ret,
                     struct err *err)
{
	struct refs refs _cleanup_(refs_done) = {.names = NULL};
	int r = list(remote, names, &refs, err);
	if (r < 0)
		return r;
	memcpy(ret->object, refs.id, GIT_HEX);
	memcpy(ret->commit, refs.commit, GIT_HEX);
	ret->ref = xstrdup(names[refs.best]);
	return 0;
}

int git_wire_default(const struct git_remote_access *remote, struct git_wanted *ret, struct err *err)
{
	static const char *const names[] = {"HEAD", NULL};
	struct refs refs _cleanup_(refs_done) = {.names = NULL};
	int r = list(remote, names, &refs, err);
	if (r < 0)
		return r;
	if (refs.target == NULL || !str_starts(refs.target, "refs/heads/"))
		return git_wire_no_name(remote, names[0], err);
	memcpy(ret->object, refs.commit, GIT_HEX);
	memcpy(ret->commit, refs.commit, GIT_HEX);
	ret->ref = TAKE(refs.target);
	return 0;
}

/* ---- fetch ---- */

enum section { SECTION_NONE, SECTION_ACKS, SECTION_SHALLOW, SECTION_PACK, SECTION_OTHER };

struct fetching {
	const struct git_fetch *fetch;
	enum section section;
	bool seen_any, seen_pack;
};

static bool line_is(const char *data, size_t len, const char *text)
{
	size_t n = strlen(text);
	return len >= n && memcmp(data, text, n) == 0 && (len == n || (len == n + 1 && data[n] == '\n'));
}

static int begin_section(struct fetching *f, const char *data, size_t len, struct err *err)
{
	if (line_is(data, len, "acknowledgments")) {
		f->section = SECTION_ACKS;
	} else if (line_is(data, len, "shallow-info")) {
		f->section = SECTION_SHALLOW;
	} else if (line_is(data, len, "packfile")) {
		f->section = SECTION_PACK;
		f->seen_pack = true;
	} else if (line_is(data, len, "wanted-refs") || line_is(data, len, "packfile-uris")) {
		f->section = SECTION_OTHER;
	} else if (len > 4 && memcmp(data, "ERR ", 4) == 0) {
		/* "upload-pack: not our ref ID": the server does not allow wants by id. */
		bool refused = memmem(data, len, "not our ref", 11) != NULL;
		return err_set(err, refused ? ERR_UNSUPPORTED : ERR_PROTOCOL, "the git server says: %.*s",
		               (int)(len - 4), data + 4);
	} else {
		return err_set(err, ERR_UNSUPPORTED, "the git server does not speak protocol version 2");
	}
	return 0;
}

static int on_band(struct fetching *f, const char *data, size_t len, struct err *err)
{
	if (len == 0)
		return err_set(err, ERR_PROTOCOL, "the git server sent an empty side-band packet");
	switch (data[0]) {
	case 1:
		return f->fetch->on_pack(f->fetch->context, data + 1, len - 1, err);
	case 2:
		return 0;
	case 3:
		return err_set(err, ERR_PROTOCOL, "the git server says: %.*s", (int)(len - 1), data + 1);
	default:
		return err_set(err, ERR_PROTOCOL, "the git server sent a packet of side-band %d", data[0]);
	}
}

static int on_shallow_line(struct fetching *f, const char *data, size_t len, struct err *err)
{
	bool shallow = len >= 48 && memcmp(data, "shallow ", 8) == 0;
	bool unshallow = len >= 50 && memcmp(data, "unshallow ", 10) == 0;
	const char *id = data + (shallow ? 8 : 10);
	if ((!shallow && !unshallow) || !is_id(id, len - (size_t)(id - data)))
		return err_set(err, ERR_PROTOCOL, "the git server sent invalid shallow information");
	char hex[GIT_HEX];
	memcpy(hex, id, 40);
	hex[40] = '\0';
	f->fetch->on_shallow(f->fetch->context, hex, shallow);
	return 0;
}

static int on_fetch_line(void *context, int kind, const char *data, size_t len, struct err *err)
{
	struct fetching *f = context;
	f->seen_any |= len > 0;
	if (kind >= 0) {
		f->section = SECTION_NONE;
		return 0;
	}
	switch (f->section) {
	case SECTION_NONE:
		return begin_section(f, data, len, err);
	case SECTION_SHALLOW:
		return on_shallow_line(f, data, len, err);
	case SECTION_PACK:
		return on_band(f, data, len, err);
	default:
		return 0;
	}
}

int git_wire_fetch(const struct git_remote_access *remote, const struct git_fetch *fetch, struct err *err)
{
	struct fetching f = {.fetch = fetch};
	struct git_exchange x _cleanup_(git_exchange_done) = GIT_EXCHANGE_INIT(on_fetch_line, &f);
	struct str body _cleanup_(str_done) = STR_INIT(GIT_WIRE_REQUEST_MAX);
	git_wire_line(&body, "command=fetch");
	git_wire_line(&body, "agent=davit/" DAVIT_VERSION);
	str_append(&body, "0001");
	git_wire_line(&body, "no-progress");
	git_wire_line(&body, "ofs-delta");
	if (fetch->have != NULL && fetch->thin)
		git_wire_line(&body, "thin-pack");
	git_wire_linef(&body, "want ", fetch->want);
	for (size_t i = 0; fetch->more != NULL && i < fetch->more->count; i++)
		git_wire_linef(&body, "want ", fetch->more->items[i]);
	for (size_t i = 0; fetch->have != NULL && fetch->shallow != NULL && i < fetch->shallow->count; i++)
		git_wire_linef(&body, "shallow ", fetch->shallow->items[i]);
	if (fetch->depth > 0) {
		char depth[32];
		snprintf(depth, sizeof(depth), "deepen %d", fetch->depth);
		git_wire_line(&body, depth);
	}
	if (fetch->filter != NULL)
		git_wire_linef(&body, "filter ", fetch->filter);
	if (fetch->have != NULL)
		git_wire_linef(&body, "have ", fetch->have);
	git_wire_line(&body, "done");
	str_append(&body, "0000");
	int r = git_wire_post(remote, &body, GIT_FETCH_MS, &x, err);
	if (r < 0)
		return err_wrap(err, r, "fetch %.12s", fetch->want);
	/* Version 0 does not understand the request and ends silently. */
	if (!f.seen_any)
		return err_set(err, ERR_UNSUPPORTED, "the git server does not speak protocol version 2");
	if (!f.seen_pack)
		return err_set(err, ERR_PROTOCOL, "%s sent no pack for %.12s", remote->url, fetch->want);
	return 0;
}
