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

/* Attributes to set. Others stay (of an existing node: also ACL, extended attributes, capabilities) or get the default (of a new
 * one: 0644, the user; a directory: 0755 and its directory's defaults). A mode that is set is set exactly. */
struct node_attr {
	bool set_mode;
	mode_t mode;
	const char *owner, *group;
	bool set_mtime;
	int64_t mtime_ns;
	const char *acl; /* "u:UID:r,u:UID:rx": these users beside the mode (which then is without the ACL's mask) */
	bool fresh;      /* put: nothing is taken over from an existing file */
	bool alone; /* put, mkdir: never wider than given here: no ACL of an existing file, nothing that the directory
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
	/* A cancel, or the end of its time, is told to it by SIGINT, and then it has this long to end by itself, its output read as before;
	 * the fence waits as long before it says so, and as long again. For what must not be killed at work. 0: it has 2 s */
	int64_t grace_ms;
	size_t max_output; /* kept of each stream (the rest is dropped without an error); 0: 256 KiB */
	void (*on_line)(void *context, bool is_stderr, const char *line, size_t len); /* as it comes; may be NULL */
	/* Standard output as it comes, in place of keeping it: for more than fits in memory. Its target waits as long as this takes. < 0
	 * ends the command, with that error: ERR_FAILED, so that it is not taken for one of the target's. May be NULL */
	int (*on_data)(void *context, const char *data, size_t len, struct err *err);
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
/* True if it ended by a signal: it did not end by itself, and its children are ended too. */
bool target_was_killed(int status);

struct keeper_type;

/* Facts found by open(). */
struct target_facts {
	char *base;     /* BASE: the target's own, 0700 once a lock was made */
	char *identity; /* "SHA256:…" host key, or "local:MACHINE_ID" */
	char *user, *machine_id, *boot_id, *hostname;
	bool is_root, has_zstd, has_gzip, has_setfacl, has_sha256sum, has_tar, has_sync_f, has_reflink;
};

/* A target is an address; a host is a target with files and commands. An API has neither: it holds no lock and no copy of the changes,
 * which lie on the deployment's first host, and its changes are made by the drivers of its own kinds (engine/change). */
struct target_type {
	const char *name;                             /* "local", "ssh" */
	int (*open)(struct view *v, struct err *err); /* connects, fills facts; again: nothing */
	const struct host_type *host;                 /* NULL: an API */
	bool here; /* this process acts there itself, as its own user: what it reaches, the target's commands do */
	const struct keeper_type *
		keeper; /* it can keep the state of environments (engine/target/keeper.h, of: its view); NULL: it cannot */
	void (*free)(struct target *t); /* closes, frees what the implementation and target_done own */
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
	bool may_stay; /* of TARGET_REMOVE: whatever reason the target has to keep it (a mount point, a parent that is not ours) */
};

/* Call before any other operation. */
int target_open(struct view *v, struct err *err);
bool target_is_host(const struct target *t);

/* All of them, in order; absent is NODE_ABSENT. On an error none is set. */
/* The ..._each functions work one after the other: for implementations that cannot always do better. */
int target_stat_each(struct view *v, const char *const *paths, size_t count, struct node *ret, struct err *err);
int target_digests_each(struct view *v, const char *dir, const char *const *names, size_t count, char (*hex)[65],
                        struct err *err);
int target_stat_all(struct view *v, const char *const *paths, size_t count, struct node *ret, struct err *err);
/* SHA-256 of each file `names[i]` below `dir`; "" where there is none. bytes: their total size, as far as known:
 * for much data a program is used that starts slowly but is fast. */
int target_digests(struct view *v, const char *dir, const char *const *names, size_t count, int64_t bytes,
                   char (*hex)[65], struct err *err);
/* barrier, then read: sees the state after the barrier. */
int target_barrier_read(struct target *t, const char *const *paths, size_t count, const char *path, size_t max,
                        struct str *out, struct err *err);
/* put of content that is mostly that of another file, known to hold from_data. */
int target_put_like(struct target *t, const char *path, const struct str *data, const struct node_attr *attr,
                    const char *from, const struct str *from_data, struct err *err);
/* In order, up to the first that fails: later ones were not made, earlier ones were. Each one is guarded. */
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
/* True if `name`, without its directory, is one of those for `path`: finds leftovers of a killed process. */
bool target_is_private_name(const char *name, const char *path);

/* NODE of the current entry; with_digest reads files. */
int target_look(struct view *v, const char *path, bool with_digest, json_t **ret_node, struct err *err);
