/* The machine acted on. Two handles to the same thing: a `struct view`, which can only look, and a `struct target`, which
 * can also change. plan, check and verify get a view; a dry run is therefore a fact about types.
 *
 * Every operation
 *   - is bounded: it ends within view->wait's deadline and its own op_timeout_ms, and within 1 s of a cancel;
 *   - that changes something is guarded: on the target itself, in the same command, it notes its pid, start time and
 *     mark in LOCK_DIR/pids/, THEN checks that LOCK_DIR/lock still carries our token, THEN acts (docs/semantics.md 5). A
 *     former owner gets ERR_FENCED and has changed nothing. Without a guard set, only the operations of engine/lock/lock.c work
 *     (mkdir, put, link_new, remove below BASE);
 *   - reports ERR_UNKNOWN when the reply was lost after the request may have been carried out: look before going on.
 *     ERR_NETWORK means that it was surely not carried out. Implementations reconnect by themselves on the next call.
 * Paths are absolute and normalized (fs_normalize). Owners are names or decimal ids.
 * Implementations: engine/target/local/local.c (this process), engine/target/shell/shell.c (a POSIX sh over an SSH channel or over `sudo sh` here),
 * tests/sim (simulated).
 */
#pragma once
#include "base/archive/archive.h"
#include "base/data/fields/read.h"
#include "base/core/wait.h"
#include "engine/target/config.h"
#include "engine/target/host.h"

/* What to set; what is not set stays (an existing node: also ACL, extended attributes, capabilities) or gets the default (a new
 * one: 0644, the user; a directory: 0755 and what its directory passes on). A mode that is set is set exactly. */
struct node_attr {
	bool set_mode;
	mode_t mode;
	const char *owner, *group;
	bool set_mtime;
	int64_t mtime_ns;
	const char *
		acl; /* "u:UID:r,u:UID:rx": these users beside what the mode says (which then is without the ACL's mask) */
	bool fresh; /* put: nothing is taken over from a file that is there */
	bool alone; /* put, mkdir: never wider than said here: no ACL of a file that is there, nothing that the directory
	                                passes on (default ACL, set-group-id bit) */
};

struct target_command {
	const char *const *argv; /* either an argument list … */
	const char *script;      /* … or text for sh */
	const struct field_pair *env;
	size_t env_count; /* may hold secrets: sent on standard input, never in argv */
	const char *cwd;  /* NULL: / */
	const char *user; /* NULL: the target's; else run as this user (needs become or root) */
	const void *input;
	size_t input_len;   /* for the command's standard input */
	int64_t timeout_ms; /* 0: 60 s */
	size_t max_output;  /* kept of each stream (the rest is dropped, not an error); 0: 256 KiB */
	void (*on_line)(void *context, bool is_stderr, const char *line, size_t len); /* as it comes; may be NULL */
	void *context;
};
struct target_result {
	int status; /* exit code, 128 + signal */
	bool timed_out;
	struct str out, err;
};
#define TARGET_RESULT_INIT                                                                                             \
	{                                                                                                              \
		.out = STR_INIT(64 << 20), .err = STR_INIT(64 << 20)                                                   \
	}
void target_result_done(struct target_result *r);
/* By a signal: it did not end by itself, and what it has started is ended too. */
bool target_was_killed(int status);

/* What open() learned. */
struct target_facts {
	char *base;     /* BASE: the target's own, 0700 once a lock was made */
	char *identity; /* "SHA256:…" host key, or "local:MACHINE_ID" */
	char *user, *machine_id, *boot_id, *hostname;
	bool is_root, has_zstd, has_gzip, has_setfacl, has_sha256sum, has_tar, has_sync_f, has_reflink;
};

/* A target is an address; a host is a target with files and commands. An API has neither: it holds no lock and no copy of the changes,
 * which lie on the deployment's first host, and what is changed there is made by the drivers of its own kinds (engine/change). */
struct target_type {
	const char *name;                             /* "local", "ssh" */
	int (*open)(struct view *v, struct err *err); /* connects, fills facts; again: nothing */
	const struct host_type *host;                 /* NULL: an API */
	void (*free)(struct target *t);               /* closes, frees what the implementation and target_done own */
};

struct view {
	const struct target_type *kind;
	const struct host_type *type; /* kind->host: files and commands; NULL: an API */
	char *name;                   /* "web" */
	struct target_facts facts;    /* after open */
	struct wait *wait;            /* set by the engine before each operation's stretch; borrowed */
	int64_t op_timeout_ms;        /* 0: 60 s; run and unpack use their own */
	void (*report)(void *context, const char *line); /* progress and reconnects; may be NULL */
	void *report_context;
};

struct target {
	struct view view; /* first: &t->view */
	char *lock_dir;   /* the guard: BASE/open/NAME.ENVIRONMENT, or NULL */
	char *token;
};

/* One of several changes that are made in order. `fine` is the error that counts as done (ERR_EXISTS of a directory, ERR_NOT_FOUND of
 * what is removed, ERR_EXISTS of a directory that is removed and not empty); 0: none. */
enum target_op_kind { TARGET_MKDIR, TARGET_PUT, TARGET_LINK_NEW, TARGET_REMOVE, TARGET_REMOVE_TREE };
struct target_op {
	enum target_op_kind kind;
	const char *path, *from; /* from: of TARGET_LINK_NEW */
	const void *data;
	size_t len;                   /* of TARGET_PUT */
	const struct node_attr *attr; /* may be NULL */
	int fine, also_fine;
	bool may_stay; /* of TARGET_REMOVE: whatever reason the target has to keep it (a mount point, a directory above that is not ours) */
};

/* Before anything else is asked of it. */
int target_open(struct view *v, struct err *err);
bool target_is_host(const struct target *t);

/* All of them, in order; absent is NODE_ABSENT. On an error none is set. */
/* The ..._each functions ask for one after the other: for implementations that cannot always do better. */
int target_stat_each(struct view *v, const char *const *paths, size_t count, struct node *ret, struct err *err);
int target_digests_each(struct view *v, const char *dir, const char *const *names, size_t count, char (*hex)[65],
                        struct err *err);
int target_stat_all(struct view *v, const char *const *paths, size_t count, struct node *ret, struct err *err);
/* SHA-256 of each file `names[i]` below `dir`; "" where there is none. bytes: how much they hold together, as far as that is known:
 * for much a program is taken that begins slowly and is fast. */
int target_digests(struct view *v, const char *dir, const char *const *names, size_t count, int64_t bytes,
                   char (*hex)[65], struct err *err);
/* barrier, and then read: what is read is seen behind it. */
int target_barrier_read(struct target *t, const char *const *paths, size_t count, const char *path, size_t max,
                        struct str *out, struct err *err);
/* put of a text that is mostly that of another file, known to hold from_data. */
int target_put_like(struct target *t, const char *path, const struct str *data, const struct node_attr *attr,
                    const char *from, const struct str *from_data, struct err *err);
/* In order, up to the first that fails: whatever comes behind it was not made, what came before was. Each one is guarded. */
int target_do(struct target *t, const struct target_op *ops, size_t count, struct err *err);

void target_free(struct target *t);
void target_freep(struct target **t);
/* Makes one; steps/registry.c chooses. */
int target_local_new(const struct target_config *config, struct target **ret, struct err *err);
/* ssh, or this machine by a sh of its own */
int target_shell_new(const struct target_config *config, struct target **ret, struct err *err);
void target_done(struct target *t); /* the common members, for implementers */
/* Names beside a path under which something is made that is then renamed over it: DIR/.davit-PURPOSE-HASH, known in advance,
 * below BASE, where only we can make names; elsewhere DIR/.davit-PURPOSE-HASH-RANDOM, which nobody else can have taken before.
 * free() */
char *target_private_name(const char *path);
char *target_private_name_for(const char *path, const char *purpose);
char *target_fresh_name(const char *path, const char *purpose);
/* Whether `name`, without its directory, is one of those for `path`: what a killed process left is found by that. */
bool target_is_private_name(const char *name, const char *path);

/* NODE from what is there now; with_digest reads files. */
int target_look(struct view *v, const char *path, bool with_digest, json_t **ret_node, struct err *err);
