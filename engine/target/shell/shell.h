/* Inside the shell target (target_shell*.c): a machine acted on through a POSIX sh. */
#pragma once
#include "engine/target/shell/session.h"
#include "engine/target/target.h"

enum { SHELL_MESSAGE_MAX = 16 * 1024, SHELL_OP_MS = 60000 };
/* For operations that may take long (copies, digests of much data, a slow disk's sync), if the view sets no time: keepalives notice a
 * peer that is gone, the caller's own deadline one that hangs. */
enum { SHELL_LONG_MS = 6 * 3600 * 1000 };

struct shell_target {
	struct target t; /* first */
	struct shell_link *link;
	bool become, opened;
	char *configured_base;
	/* `side` serves calls that come while `main` is in one: the lock's renewal during a long operation. */
	struct shell_session *main, *side;
	bool connecting;
	int depth;                       /* nesting depth of operations: inner ones belong to a tick */
	int64_t caller_deadline_mono_ms; /* around the outermost operation */
	/* Abandoned shells that may still run: ended before anything new is done. */
	struct shell_process *strays;
	size_t stray_count, stray_cap;
	uid_t uid;
	gid_t gid;
	bool has_gnu_tar, has_perl, has_find_printf, has_sum_z, has_stat_ns, has_one_fs, has_cp_parents, has_runuser,
		has_printf, has_openssl, has_dd;
	struct wait no_wait;
};

/* The output of an operation's script. */
struct shell_result {
	struct str out, err;
	int status;
};
#define SHELL_RESULT_INIT(max)                                                                                         \
	{                                                                                                              \
		.out = STR_INIT(max), .err = STR_INIT(SHELL_MESSAGE_MAX)                                               \
	}
void shell_result_done(struct shell_result *r);

/* Looks: `script` runs in a subshell. Repeated once after a lost connection. Status other than 0 is not an error here.
 */
int shell_look(struct view *v, const char *script, struct shell_result *ret, struct err *err);
int shell_look_long(struct view *v, const char *script, struct shell_result *ret, struct err *err);
/* For many paths: they are passed as the script's input, since the sh reads a script byte by byte. */
int shell_look_at(struct view *v, const char *script, const struct str *input, struct shell_result *ret,
                  struct err *err);
/* Changes, guarded; `path` is changed (without a guard only BASE, its parents and entries below it are allowed). input is
 * the script's standard input (NULL and 0: none), or produce makes it. Errors: ERR_NETWORK (surely not done),
 * ERR_UNKNOWN, ERR_FENCED, … */
struct shell_input {
	const void *data;
	size_t len;
	int (*produce)(void *context, struct shell_session *s, struct wait *w, struct err *err);
	void *context;
	int64_t timeout_ms;  /* if the view sets none; 0: SHELL_OP_MS */
	const char *prepare; /* sh in front of the subshell, reading the raw input: for produce */
};
int shell_change(struct target *t, const char *path, const char *script, const struct shell_input *input,
                 struct shell_result *ret, struct err *err);
/* The same for a whole frame, which looks at the guard itself (shell_guard_text) and ends with `d`. */
int shell_change_frame(struct target *t, const char *frame, struct shell_result *ret, struct err *err);
/* Reads "MODE UID GID SIZE TIME OWNER GROUP", as stat's '%f %u %g %s %.9Y %U %G' gives it, without a link's target. *ret_end:
 * its length, with one blank after it. */
bool shell_parse_node(const char *text, struct node *ret, int *ret_end);
/* Maps a script's message to an error: "File exists" is ERR_EXISTS … fmt describes the operation. */
int shell_fail(const struct shell_result *result, struct err *err, const char *fmt, ...) _printf_(3, 4);
int shell_code_of(const char *words);

/* An operation's stretch: the view's wait with a nearer deadline, and without a tick inside an operation that a tick
 * makes. */
struct shell_stretch {
	struct shell_target *owner;
	struct wait *wait;
	int64_t deadline_mono_ms;
	int (*tick)(void *context, struct err *err);
};
struct wait *shell_enter(struct view *v, int64_t ms, struct shell_stretch *ret);
void shell_leave(const struct shell_stretch *stretch);
/* A free session; connects if needed. */
int shell_session_get(struct shell_target *s, struct wait *w, struct shell_session **ret, struct err *err);
/* Gives a session up; its current work is ended before the next operation. */
void shell_session_drop(struct shell_target *s, struct shell_session *session);
/* Remembers a process to end; ends the remembered ones through a live session. */
void shell_stray(struct shell_target *s, struct shell_process process);
int shell_end_strays(struct shell_target *s, struct shell_session *session, struct wait *w, struct err *err);
/* Ends a command (end.c): sh that defines `z PID START GROUP MARK USER TIME ROUNDS` (`-`: not known), whose status says
 * if nothing is left; and its call for one process. */
void shell_end_function(const struct shell_target *s, struct str *out);
void shell_end_call(const struct shell_process *process, int rounds, struct str *out);
/* Appends a call of sh as another user, up to the word that is its script; an argument list may follow it. user: a sh word. */
void shell_as_user(const struct shell_target *s, const char *user, const char *script, struct str *out);
/* Checks that a change without a guard is allowed. */
int shell_may_change(const struct target *t, const char *path, struct err *err);
/* "g DIR TOKEN" or, without a guard, "n". */
void shell_guard_text(const struct target *t, struct str *out);

/* Appends sh that gives `path` (a sh word, already quoted or a variable in quotes) these attributes, each command
 * after " && ". */
void shell_attr_text(const struct shell_target *s, struct str *out, const char *word, const struct node_attr *attr);

/* NAME='quoted'; c='the content'. */
void shell_assign(struct str *out, const char *name, const char *value);
void shell_assign_content(struct str *out, const void *data, size_t len);
/* One script that changes `path`; what: "write". */
int shell_change_one(struct target *t, const char *path, const struct str *script, const struct shell_input *input,
                     const char *what, struct err *err);
/* The scripts of single changes, without the guard. */
void shell_mkdir_text(const struct shell_target *s, const char *path, const struct node_attr *attr, struct str *out);
/* Content that does not fit is read from the script's standard input. */
void shell_put_text(const struct shell_target *s, const char *path, const void *data, size_t len,
                    const struct node_attr *attr, struct str *out);
bool shell_fits_in_script(const struct shell_target *s, const void *data, size_t len);
void shell_barrier_text(const struct target *t, const char *const *paths, size_t count, struct str *out);
/* Status of a script whose barrier failed. */
enum { SHELL_NOT_SYNCED = 97 };
void shell_link_new_text(const char *from, const char *to, struct str *out);
void shell_remove_text(const char *path, struct str *out);
int shell_remove_tree_text(const struct shell_target *s, const char *path, struct str *out, struct err *err);

int shell_open(struct view *v, struct err *err);
int shell_stat(struct view *v, const char *path, struct node *ret, struct err *err);
int shell_read(struct view *v, const char *path, size_t max, struct str *out, struct err *err);
int shell_list(struct view *v, const char *path, struct strv *ret, struct err *err);
int shell_digest(struct view *v, const char *path, char hex[65], struct err *err);
int shell_tree(struct view *v, const char *path, bool digests, struct tree *ret, struct err *err);
int shell_space(struct view *v, const char *path, int64_t *ret_free_bytes, struct err *err);
int shell_query(struct view *v, const struct target_command *command, struct target_result *ret, struct err *err);
int shell_mkdir(struct target *t, const char *path, const struct node_attr *attr, struct err *err);
int shell_put(struct target *t, const char *path, const void *data, size_t len, const struct node_attr *attr,
              struct err *err);
int shell_append(struct target *t, const char *path, const void *data, size_t len, struct err *err);
int shell_symlink(struct target *t, const char *path, const char *link, struct err *err);
int shell_link_new(struct target *t, const char *from, const char *to, struct err *err);
int shell_rename(struct target *t, const char *from, const char *to, struct err *err);
int shell_remove(struct target *t, const char *path, struct err *err);
int shell_remove_tree(struct target *t, const char *path, struct err *err);
int shell_set_attr(struct target *t, const char *path, const struct node_attr *attr, struct err *err);
int shell_dress_like(struct target *t, const char *path, const char *from, struct err *err);
int shell_copy(struct target *t, const char *from, const char *to, struct err *err);
int shell_clone_files(struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links,
                      struct err *err);
int shell_unpack(struct target *t, const char *dir, enum archive_compression compression, target_produce_fn produce,
                 void *context, struct err *err);
int shell_run(struct target *t, const struct target_command *command, struct target_result *ret, struct err *err);
int shell_barrier(struct target *t, const char *const *paths, size_t count, struct err *err);
int shell_fence(struct target *t, const char *lock_dir, struct err *err);
int shell_stat_all(struct view *v, const char *const *paths, size_t count, struct node *ret, struct err *err);
int shell_digests(struct view *v, const char *dir, const char *const *names, size_t count, int64_t bytes,
                  char (*hex)[65], struct err *err);
int shell_put_like(struct target *t, const char *path, const struct str *data, const struct node_attr *attr,
                   const char *from, const struct str *from_data, struct err *err);
int shell_barrier_read(struct target *t, const char *const *paths, size_t count, const char *path, size_t max,
                       struct str *out, struct err *err);
int shell_do_all(struct target *t, const struct target_op *ops, size_t count, struct err *err);

/* For tests: this machine through `argv… -c SCRIPT`. */
int target_shell_new_local(const struct target_config *config, const char *const *argv, struct target **ret,
                           struct err *err);
