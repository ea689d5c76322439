#include "base/git/ssh.h"

#include "base/core/shown.h"
#include "base/net/url.h"

#include <ctype.h>
#include <pwd.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

enum {
	BUFFER = 64 << 10,
	WORDS_MAX = 2048,
	ANSWER_WORDS_MAX = 64 << 10,
	SHOWN_MAX = 300,
	PORT_MAX = 65535,
	SSH_PORT = 22
};

struct git_ssh {
	char *url, *user, *host, *path;
	int port;
	char *key;
	char *known;
	struct ssh *session; /* NULL: not connected */
	struct git_ssh *via; /* whose session serves; NULL: its own */
};

struct git_ssh_program {
	struct git_ssh *s;
	struct ssh_channel *channel;
	struct str words; /* of standard error */
	bool any, over;
};

/* ---- the address ---- */

static bool is_safe(const char *text, const char *more)
{
	if (text == NULL || text[0] == '\0' || text[0] == '-')
		return false;
	for (const char *c = text; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && strchr(more, *c) == NULL)
			return false;
	return true;
}

/* What stands before the first colon is user and host; a slash there makes it a path of this machine. */
static void split_short(struct git_ssh *s, const char *url)
{
	const char *open = url + strcspn(url, "[:/"), *shut = *open == '[' ? strchr(open, ']') : NULL;
	bool braced = shut != NULL && shut[1] == ':' && (open == url || open[-1] == '@');
	const char *colon = braced ? shut + 1 : url + strcspn(url, ":/"), *host = url;
	if (*colon != ':')
		return;
	for (const char *c = url; c < (braced ? open : colon); c++)
		if (*c == '@')
			host = c + 1;
	if (host > url)
		s->user = xstrndup(url, (size_t)(host - url) - 1);
	s->host = braced ? xstrndup(open + 1, (size_t)(shut - open) - 1) : xstrndup(host, (size_t)(colon - host));
	s->path = xstrdup(colon + 1);
}

static void split_long(struct git_ssh *s, const char *url)
{
	static const CURLUPart none[] = {CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT};
	const unsigned flags = CURLU_NON_SUPPORT_SCHEME | CURLU_PATH_AS_IS;
	long long port = 0;
	_cleanup_(net_url_freep) CURLU *u = curl_url();
	/* libcurl takes the first word behind three slashes for the host. */
	if (u == NULL || strstr(url, ":///") != NULL || curl_url_set(u, CURLUPART_URL, url, flags) != CURLUE_OK)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		_cleanup_free_ char *part = net_url_part(u, none[i], 0);
		if (part != NULL)
			return;
	}
	_cleanup_free_ char *given = net_url_part(u, CURLUPART_PORT, 0);
	if (given != NULL && !str_parse_i64(given, 1, PORT_MAX, &port))
		return;
	s->port = (int)port;
	s->user = net_url_part(u, CURLUPART_USER, CURLU_URLDECODE);
	s->host = net_url_part(u, CURLUPART_HOST, 0);
	s->path = net_url_part(u, CURLUPART_PATH, 0);
	/* libcurl keeps the brackets of an address of IPv6. */
	size_t len = s->host != NULL ? strlen(s->host) : 0;
	if (len > 2 && s->host[0] == '[' && s->host[len - 1] == ']') {
		memmove(s->host, s->host + 1, len - 2);
		s->host[len - 2] = '\0';
	}
}

bool git_ssh_is_url(const char *url)
{
	return str_starts(url, "ssh://") || str_starts(url, "git+ssh://") || str_starts(url, "ssh+git://");
}

static bool is_same_account(const struct git_ssh *a, const struct git_ssh *b)
{
	int one = a->port != 0 ? a->port : SSH_PORT, other = b->port != 0 ? b->port : SSH_PORT;
	return one == other && strcasecmp(a->host, b->host) == 0 && strcmp(a->user, b->user) == 0;
}

int git_ssh_new(const char *url, const struct git_ssh_login *login, struct git_ssh **ret, struct err *err)
{
	struct git_ssh *s _cleanup_(git_ssh_freep) = xcalloc(1, sizeof(*s));
	s->url = xstrdup(url);
	if (git_ssh_is_url(url))
		split_long(s, url);
	else
		split_short(s, url);
	const struct passwd *me = s->user == NULL ? getpwuid(geteuid()) : NULL;
	if (me != NULL)
		s->user = xstrdup(me->pw_name);
	if (!is_safe(s->user, "._-") || !is_safe(s->host, ".-:") || !is_safe(s->path, "/._-"))
		return err_set(err, ERR_INVALID, "'%.200s' is no address of a repository behind SSH", url);
	s->key = xstrdup(login->key);
	s->known = xstrdup(login->known_hosts);
	if (login->beside != NULL && is_same_account(s, login->beside))
		s->via = login->beside;
	*ret = TAKE(s);
	return 0;
}

void git_ssh_free(struct git_ssh *s)
{
	if (s == NULL)
		return;
	ssh_free(s->session);
	if (s->key != NULL)
		explicit_bzero(s->key, strlen(s->key));
	free(s->key);
	free(s->known);
	free(s->url);
	free(s->user);
	free(s->host);
	free(s->path);
	free(s);
}

void git_ssh_freep(struct git_ssh **s)
{
	git_ssh_free(*s);
	*s = NULL;
}

/* ---- the program ---- */

static struct ssh *session_of(const struct git_ssh *s)
{
	return s->via != NULL ? s->via->session : s->session;
}

static int open_session(struct git_ssh *s, struct wait *w, struct err *err)
{
	s = s->via != NULL ? s->via : s;
	if (s->session != NULL && ssh_is_open(s->session))
		return 0;
	ssh_free(TAKE(s->session));
	const char *users[] = {s->user, NULL};
	struct ssh_login login = {
		.host = s->host, .port = s->port, .users = users, .key = s->key, .known_hosts_text = s->known};
	return ssh_open(&login, w, &s->session, err);
}

int git_ssh_start(struct git_ssh *s, bool version2, struct wait *w, struct git_ssh_program **ret, struct err *err)
{
	struct str command _cleanup_(str_done) = STR_INIT(8192);
	struct git_ssh_program *p _cleanup_(git_ssh_endp) = xcalloc(1, sizeof(*p));
	p->s = s;
	p->words = (struct str)STR_INIT(WORDS_MAX);
	/* Servers that are no shell want the quotes, needed or not; the path has no character that they would not cover. */
	str_appendf(&command, "git-upload-pack '%s'", s->path);
	int r = open_session(s, w, err);
	if (r >= 0)
		r = ssh_exec_with(session_of(s), str_peek(&command), version2 ? "GIT_PROTOCOL" : NULL, "version=2", w,
		                  &p->channel, err);
	if (r < 0)
		return err_wrap(err, r, "ask %s", s->url);
	*ret = TAKE(p);
	return 0;
}

int git_ssh_write(struct git_ssh_program *p, const void *data, size_t len, struct wait *w, struct err *err)
{
	int r = ssh_write(p->channel, data, len, w, err);
	return r < 0 ? err_wrap(err, r, "ask %s", p->s->url) : 0;
}

/* What it wrote to its standard error is told. */
static int ended(const struct git_ssh *s, const char *program, int status, const struct str *said, struct err *err)
{
	_cleanup_free_ char *shown = shown_text(str_peek(said), said->len, SHOWN_MAX);
	struct str words _cleanup_(str_done) = STR_INIT(8 * SHOWN_MAX);
	size_t len = strlen(shown);
	while (len > 0 && isspace((unsigned char)shown[len - 1]))
		len--;
	str_append_safe(&words, shown, len);
	bool unknown = strcasestr(shown, "not found") != NULL ||
	               strstr(shown, "does not appear to be a git repository") != NULL;
	return err_set(err, unknown && status != 127 ? ERR_NOT_FOUND : ERR_PROTOCOL, "%s: %s ended with status %d: %s",
	               s->url, program, status, words.len > 0 ? str_peek(&words) : "without a word");
}

static int judge(struct git_ssh_program *p, int status, struct err *err)
{
	if (status == 0 && p->any)
		return 0;
	int r = ended(p->s, "git-upload-pack", status, &p->words, err);
	return err_hint(err, r, "check `repository:`, and that the key of `ssh-key:` may read it");
}

static int finish(struct git_ssh_program *p, struct wait *w, struct err *err)
{
	int status = 0;
	p->over = true;
	int r = ssh_finish(p->channel, w, &status, err);
	return r < 0 ? err_wrap(err, r, "read the answer of %s", p->s->url) : judge(p, status, err);
}

int git_ssh_read(struct git_ssh_program *p, char *buffer, size_t size, size_t *ret_len, struct wait *w, struct err *err)
{
	char words[512];
	size_t said = 0;
	*ret_len = 0;
	while (!p->over && *ret_len == 0) {
		int r = ssh_read(p->channel, buffer, size, ret_len, words, sizeof(words), &said, w, err);
		if (r < 0)
			return err_wrap(err, r, "read the answer of %s", p->s->url);
		str_append_n(&p->words, words, MIN(said, WORDS_MAX - 1 - p->words.len));
		p->any |= *ret_len > 0;
		if (*ret_len + said == 0)
			return finish(p, w, err);
	}
	return 0;
}

void git_ssh_end(struct git_ssh_program *p)
{
	if (p == NULL)
		return;
	ssh_channel_free(p->channel);
	str_done(&p->words);
	free(p);
}

void git_ssh_endp(struct git_ssh_program **p)
{
	git_ssh_end(*p);
	*p = NULL;
}

int git_ssh_ask(struct git_ssh *s, const char *program, const char *argument, size_t max, struct wait *w,
                struct str *out, struct err *err)
{
	struct str said _cleanup_(str_done) = STR_INIT(ANSWER_WORDS_MAX + 1);
	_cleanup_free_ char *command = xasprintf("%s %s %s", program, s->path, argument);
	int status = 0, r = open_session(s, w, err);
	if (r >= 0)
		r = ssh_run(session_of(s), command, NULL, 0, MAX(max, (size_t)ANSWER_WORDS_MAX), w, out, &said, &status,
		            err);
	if (r < 0)
		return err_wrap(err, r, "ask %s", s->url);
	return status == 0 ? 0 : ended(s, program, status, &said, err);
}

char *git_ssh_web(const struct git_ssh *s)
{
	bool wide = strchr(s->host, ':') != NULL;
	return xasprintf("https://%s%s%s%s%s", wide ? "[" : "", s->host, wide ? "]" : "", s->path[0] == '/' ? "" : "/",
	                 s->path);
}

/* ---- version 2 ---- */

/* What the server can do comes before its answer, up to a flush. */
struct advertised {
	struct pkt_reader *answer, *capabilities; /* capabilities: NULL if nobody asks for them */
	bool begun, over;
};

static int on_advertised(void *context, int kind, const char *data, size_t len, struct err *err)
{
	static const char version[] = "version 2";
	struct advertised *a = context;
	if (a->over)
		return a->answer != NULL ? a->answer->on_line(a->answer->context, kind, data, len, err) : 0;
	if (kind < 0 && !a->begun && len > 4 && memcmp(data, "ERR ", 4) == 0)
		return err_set(err, ERR_PROTOCOL, "the git server says: %.*s", (int)MIN(len - 4, (size_t)SHOWN_MAX),
		               data + 4);
	if (kind < 0 && !a->begun && (len < sizeof(version) - 1 || memcmp(data, version, sizeof(version) - 1) != 0))
		return err_set(err, ERR_UNSUPPORTED, "the git server does not speak protocol version 2");
	a->begun = true;
	a->over = kind == 0;
	if (a->capabilities == NULL || a->over)
		return 0;
	return a->capabilities->on_line(a->capabilities->context, kind, data, len, err);
}

/* body NULL: what comes before the answer is all. */
static int converse(struct git_ssh *s, const struct str *body, struct advertised *a, struct wait *w, struct err *err)
{
	struct git_ssh_program *p _cleanup_(git_ssh_endp) = NULL;
	struct pkt_reader reader = {.line = STR_INIT(GIT_WIRE_PKT_MAX), .on_line = on_advertised, .context = a};
	_cleanup_free_ char *buffer = xmalloc(BUFFER);
	size_t len = 0;
	bool sent = false;
	int r = git_ssh_start(s, true, w, &p, err);
	while (r >= 0 && !(a->over && body == NULL)) {
		r = git_ssh_read(p, buffer, BUFFER, &len, w, err);
		if (r < 0 || len == 0)
			break;
		r = pkt_feed(&reader, buffer, len, err);
		/* Not before: a server of version 0 would take it for something else. */
		if (r >= 0 && a->over && !sent && body != NULL) {
			sent = true;
			r = git_ssh_write(p, str_peek(body), body->len, w, err);
			if (r >= 0)
				r = ssh_write_eof(p->channel, w, err);
		}
	}
	if (r >= 0 && (reader.in_line || reader.header_len > 0 || !a->over))
		r = err_set(err, ERR_NETWORK, "the answer of %s ends in the middle", s->url);
	str_done(&reader.line);
	return r;
}

int git_ssh_capabilities(struct git_ssh *s, int64_t timeout_ms, struct pkt_reader *answer, struct wait *w,
                         struct err *err)
{
	struct wait within = wait_within(w, timeout_ms);
	struct advertised a = {.capabilities = answer};
	return converse(s, NULL, &a, &within, err);
}

int git_ssh_command(struct git_ssh *s, const struct str *body, int64_t timeout_ms, struct pkt_reader *answer,
                    struct wait *w, struct err *err)
{
	struct wait within = wait_within(w, timeout_ms);
	struct advertised a = {.answer = answer};
	if (body->failed)
		return err_set(err, ERR_LIMIT, "the request to the git server is too long");
	return converse(s, body, &a, &within, err);
}
