/* Git over SSH: a repository's own address, "USER@HOST:OWNER/NAME.git" or "ssh://USER@HOST:PORT/OWNER/NAME.git", and git-upload-pack there. One connection serves all requests of a
 * remote; each runs the program anew. An address without USER means who runs this program, as ssh has it. Source: gitprotocol-pack and gitprotocol-v2 of git's documentation. */
#pragma once
#include "base/git/wire_priv.h"
#include "base/ssh/session.h"

struct git_ssh_login {
	const char *key;         /* the text of a private key without passphrase; a secret */
	const char *known_hosts; /* lines of known_hosts; "": nothing is known */
	struct git_ssh *
		beside; /* its connection serves this one too where user, host and port are the same; lives longer; NULL: none */
};
struct git_ssh; /* connected when first asked */
/* True of the forms with a scheme, as git has them. */
bool git_ssh_is_url(const char *url);
/* ERR_INVALID: it is no such address. */
int git_ssh_new(const char *url, const struct git_ssh_login *login, struct git_ssh **ret, struct err *err);
void git_ssh_free(struct git_ssh *s);
void git_ssh_freep(struct git_ssh **s);

/* git-upload-pack under way: its standard output, standard error apart. */
struct git_ssh_program;
int git_ssh_start(struct git_ssh *s, bool version2, struct wait *w, struct git_ssh_program **ret, struct err *err);
int git_ssh_write(struct git_ssh_program *p, const void *data, size_t len, struct wait *w, struct err *err);
/* 1 to size bytes, 0 at the end. A program that ended without a byte, or with another status than 0, is an error with its own words. */
int git_ssh_read(struct git_ssh_program *p, char *buffer, size_t size, size_t *ret_len, struct wait *w,
                 struct err *err);
void git_ssh_end(struct git_ssh_program *p);
void git_ssh_endp(struct git_ssh_program **p);

/* Runs "PROGRAM PATH ARGUMENT" there, PATH the repository's. out: its standard output, at most max bytes. An exit status other than 0 is an error with its own words. */
int git_ssh_ask(struct git_ssh *s, const char *program, const char *argument, size_t max, struct wait *w,
                struct str *out, struct err *err);
/* "https://HOST/PATH": where the same is on the web, as a guess. free() */
char *git_ssh_web(const struct git_ssh *s);

/* What the server can, a line each, up to and without the flush. ERR_UNSUPPORTED: another version answers. */
int git_ssh_capabilities(struct git_ssh *s, int64_t timeout_ms, struct pkt_reader *answer, struct wait *w,
                         struct err *err);
/* The lines of body as one command of protocol version 2. ERR_UNSUPPORTED: another version answers. */
int git_ssh_command(struct git_ssh *s, const struct str *body, int64_t timeout_ms, struct pkt_reader *answer,
                    struct wait *w, struct err *err);
