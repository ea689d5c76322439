/* Git's smart HTTP, protocol version 2, as far as a checkout needs it: resolve a name (ls-refs), fetch one commit (fetch) in one
 * request. Source: gitprotocol-v2 and gitprotocol-pack of git's documentation; observed with git 2.39's http-backend.
 *
 * Answers are pkt-lines: four hex digits of length (0000 flush, 0001 delimiter, 0002 end) and at most 65516 bytes; the pack
 * arrives in side-band packets: 1 data, 2 progress, 3 a fatal message. A server that answers in version 0 or that refuses a want by id
 * gives ERR_UNSUPPORTED: the caller falls back. */
#pragma once
#include "base/net/http.h"

struct git_ssh;
struct git_remote_access {
	struct http *http;
	const char *url;           /* "https://host/owner/name" or with .git; without a slash at the end */
	const char *authorization; /* whole header value, or NULL; a secret */
	const char *server;        /* an address on the server that authorization is for, http or https; NULL: url is */
	struct wait *wait;
	struct git_ssh *
		ssh; /* the way to it, in place of http and authorization; NULL: HTTP. url is for messages then, authorization for what else its server is asked */
};

enum { GIT_HEX = 41 };
/* The target of a name. An annotated tag is an object of its own, which is fetched with its commit. */
struct git_wanted {
	char object[GIT_HEX]; /* the tag's, or the commit itself */
	char commit[GIT_HEX];
	char *ref;          /* the name that was found; NULL: by id */
	char also[GIT_HEX]; /* another commit that is fetched with it; "": none */
};
void git_wanted_done(struct git_wanted *w);
/* By an id of 40 digits, case-insensitive. False: it is not an id. */
bool git_wanted_by_id(struct git_wanted *w, const char *id);
/* Limits for both protocols: the size of the list of references; the time for it and for a fetch, all tries together; the retries
 * for a server that is busy (429, 5xx) or out of reach, as long as nothing of its answer came. */
enum { GIT_REFS_MAX = 16 << 20, GIT_REFS_MS = 60 * 1000, GIT_FETCH_MS = 30 * 60 * 1000, GIT_RETRIES = 2 };

/* The error messages for an answer other than 200, for one of another Content-Type (0: it is `want`), for a missing name. */
int git_wire_refusal(const struct http_response *response, const char *url, struct err *err);
int git_wire_type(const struct http_response *response, const char *want, const char *url, struct err *err);
int git_wire_no_name(const struct git_remote_access *remote, const char *name, struct err *err);

/* Full names, tried in order: "refs/heads/x", "refs/tags/x", or "HEAD". */
int git_wire_resolve(const struct git_remote_access *remote, const char *const *names, struct git_wanted *ret,
                     struct err *err);

/* The branch that HEAD names there, as ref, with its commit. ERR_NOT_FOUND: there is none. */
int git_wire_default(const struct git_remote_access *remote, struct git_wanted *ret, struct err *err);

struct git_fetch {
	const char *want;           /* id of a commit or of a tag's object */
	const struct strv *more;    /* ids of further objects, or NULL */
	const char *have;           /* a commit whose objects are here or NULL */
	const struct strv *shallow; /* with have: the commits at which the history that is here ends; NULL: none */
	bool thin;                  /* with have: all its objects are here, so differences to them will do */
	int depth;                  /* 0: all history */
	const char *filter;         /* what the server leaves out; NULL: nothing. Only where it says that it can */
	/* The pack, as it arrives. */
	int (*on_pack)(void *context, const void *data, size_t len, struct err *err);
	void (*on_shallow)(void *context, const char *id, bool shallow);
	void *context;
};
int git_wire_fetch(const struct git_remote_access *remote, const struct git_fetch *fetch, struct err *err);

/* The reader of pkt-lines, for the fuzz target: fed in pieces, calls line() for each. */
struct pkt_reader {
	unsigned char header[4];
	size_t header_len, left; /* left: of the current line's content */
	bool in_line;
	struct str line;
	int (*on_line)(void *context, int kind, const char *data, size_t len,
	               struct err *err); /* kind: -1 data, 0 flush, 1 delimiter, 2 end */
	void *context;
};
int pkt_feed(struct pkt_reader *r, const void *data, size_t len, struct err *err);
