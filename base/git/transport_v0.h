/* The way of libgit2's protocol version 0 to a server: a smart subtransport over base/net/http.h, so that proxy, CA file, client
 * certificate, token, deadline, cancel and messages are those of our own fetch (base/git/protocol_v2.h). libgit2's own HTTP is never used.
 *
 * Stateless: GET info/refs (at most GIT_REFS_MAX bytes, GIT_REFS_MS), then one POST of git-upload-pack for each round of the
 * negotiation (GIT_FETCH_MS). libgit2's output is collected, at most GIT_REQUEST_MAX, and sent whole at the first read; the answer
 * is read as libgit2 asks for it. A pack of any size takes no more memory than http_stream's buffer, and no second place on disk
 * as a temporary file would (which would also need a limit, and would delay the indexer until everything arrived).
 *
 * Behind SSH (base/git/ssh.h) it is one stream to one git-upload-pack for both.
 *
 * Nothing is registered: the transport is set in the callbacks of one remote. Whatever libgit2 makes of the address
 * (`url.*.insteadOf` in the area's configuration), only remote->url is used, and libgit2 never sees the authorization. */
#pragma once
#include "base/git/protocol_v2.h"
#include <git2.h>
#include <git2/sys/transport.h>

enum { GIT_REQUEST_MAX = 16 << 20 }; /* 50 bytes for each wanted reference */

/* One for one git_remote, which it must outlive; zeroed, then git_http_init. */
struct git_http {
	git_smart_subtransport parent;
	git_smart_subtransport_definition definition;
	const struct git_remote_access *remote;
	unsigned progressed;
	struct git_ssh_stream *stream; /* of a remote behind SSH: one for all that is asked */
	int result;                    /* the first failure on our side; 0: none */
	struct err err;
};

/* Sets transport, transfer_progress (deadline, cancel and tick while the pack is indexed) and payload. */
void git_http_init(struct git_http *h, const struct git_remote_access *remote, git_remote_callbacks *ret);
/* Explains the `code` of a libgit2 call: our failure if there was one, else libgit2's. Returns the code to return. */
int git_http_error(const struct git_http *h, int code, const char *what, struct err *err);
