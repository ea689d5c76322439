/* Runs a POSIX sh: on another machine by SSH, or here (`sudo -n sh`). A link starts commands; a
 * stream is one running command with its three streams. */
#pragma once
#include "base/ssh/session.h"
#include "base/core/wait.h"
#include "schemas/targets/ssh.h"

struct shell_link;
struct shell_stream;

/* Reads and checks the settings; connects only at link_connect. */
int link_new_ssh(const struct target_ssh *config, struct shell_link **ret, struct err *err);
/* This machine: argv in front of the shell's own arguments; NULL: /bin/sh. */
struct shell_link *link_new_local(const char *const *argv);
void link_free(struct shell_link *l);
/* Does nothing if already connected. */
int link_connect(struct shell_link *l, struct wait *w, struct err *err);
bool link_is_open(const struct shell_link *l);
void link_close(struct shell_link *l);
bool link_is_ssh(const struct shell_link *l);
const char *link_user(const struct shell_link *l);     /* the user that logged in; NULL before and for a local one */
const char *link_host_key(const struct shell_link *l); /* NULL for a local one */

/* True if the account gives SFTP but runs no command: tested on the open connection when no shell came up. */
bool link_is_sftp_only(struct shell_link *l, struct wait *w);

/* Starts `sh -c boot`, as root by sudo if become is set and we are not root. */
int link_start(struct shell_link *l, bool become, const char *boot, struct wait *w, struct shell_stream **ret,
               struct err *err);
/* Like ssh_turn: 1 progress, 0 both outputs ended. ERR_NETWORK: the connection is lost. */
struct shell_turn {
	const char *in;
	size_t in_len, sent;
	char *out, *err;
	size_t out_size, err_size, out_len, err_len;
};
int stream_turn(struct shell_stream *s, struct shell_turn *t, bool may_wait, struct wait *w, struct err *err);
int stream_close_input(struct shell_stream *s, struct wait *w, struct err *err);
/* Never kills: processes left by the command continue, as under any shell. */
void stream_free(struct shell_stream *s);
void stream_freep(struct shell_stream **s);
