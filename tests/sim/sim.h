/* The simulated world in which the engine is proven (docs/simulation.md): one struct in shared memory that outlives the processes
 * that die in it. All that happens is decided by one seed: what is deployed, what fails, who dies when, and whose turn it is.
 *
 *   world.c     memory, chance, time, turns, deaths, trace
 *   tree.c      a target's files, written and durable
 *   vfs.c       the file below SQLite: sectors written and durable, locks, shared memory
 *   target.c    the target's operations with their faults
 *   steps.c     the step types that scenarios are made of
 *   scenario.c  from a seed to a world, a deployment and its faults
 *   check.c     what must hold afterwards
 *   effects.c   what operations do to a target's tree: guard, faults, late requests
 *   process.c   one process, and what it finds at the end
 *   seed.c      one seed: deaths, recoveries, the verdict, shortening
 *   upload.c    archive-upload: sources, former releases, streams and clones
 *   api.c       scenarios with an API beside the hosts
 *   alone.c     scenarios of targets that go back by themselves
 *   back.c      scenarios of rollbacks
 *   locks.c     scenarios of locks that somebody must free
 *   passed.c    scenarios with images, and the record of what passed their gate
 *   real.c      scenarios of the product's own steps: snapshot, apply, secret-write, run
 *   commands.c  what a target does with a command: a service, ACLs, users
 *   store.c     the journal in PostgreSQL: a real server that fails, sessions whose client is gone
 *   wire.c      what stands between the journal and libpq: a statement's faults, deaths and turns
 *   run.c       many seeds, figures, the command line
 */
#pragma once
#include "base/core/err.h"
#include "base/data/json.h"
#include "engine/run/engine.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	SIM_TARGETS = 3,
	SIM_NODES = 128,
	SIM_PATH = 176,
	SIM_HEAP = 24 << 20,
	SIM_LATE = 6,
	SIM_SLOTS = 2,
	SIM_DEATHS = 8,
	SIM_FILES = 8,
	SIM_CANCELS = 3,
	SIM_MACHINES = 2,
	SIM_FILE_BYTES = 4 << 20,
	SIM_SECTOR = 512,
	SIM_SHM_BYTES = 256 << 10,
	SIM_TEXT = 400,
	EXIT_KILLED = 99,
	EXIT_POWER = 98,
	EXIT_ENDLESS = 97,
	OP_LIMIT = 60000,
};

struct blob {
	uint32_t len;
	unsigned char data[];
}; /* never changed once made */

struct snode {
	uint8_t type; /* enum node_type; NODE_ABSENT: unused */
	uint16_t mode;
	uint32_t uid, gid;
	int64_t mtime_ns;
	const struct blob *content; /* of a file, or a link's goal */
	const struct blob *synced;  /* what of it survives a power cut when its name does; NULL: nothing */
	const struct blob *acl;     /* "user:7:r--\n" for each entry; NULL: none */
	char path[SIM_PATH];
};
struct stree {
	int count;
	struct snode nodes[SIM_NODES];
};

enum late_kind {
	LATE_NONE,
	LATE_PUT,
	LATE_SYMLINK,
	LATE_RENAME,
	LATE_REMOVE,
	LATE_REMOVE_TREE,
	LATE_MKDIR,
	LATE_APPEND,
	LATE_RUN,
	LATE_UNPACK
};
/* What a put, a mkdir or a set_attr sets, as numbers: it outlives the call where the request goes late. */
struct sattr {
	bool set_mode, set_mtime, fresh, alone;
	uint16_t mode;
	int64_t mtime_ns;
	int64_t uid, gid; /* -1: stays, or the user's */
	const struct blob *acl;
};

struct late { /* a request whose reply was given up, still on its way */
	enum late_kind kind;
	bool noted;  /* its process runs on the target already: the fence ends it */
	bool passed; /* it looked at the token before: nothing but the fence stops it */
	int given_up_by; /* pid, when a cancel gave it up or its stream broke: the next session of that process ends it; 0: another reason */
	const void *handle; /* of that process */
	int64_t due_op;
	char path[SIM_PATH], other[SIM_PATH], lock_dir[SIM_PATH], token[64];
	const struct blob *data;
	struct sattr attr;
};

struct rename_pair {
	char from[SIM_PATH], to[SIM_PATH];
};
enum { SIM_RENAMES = 24, SIM_SERVICE_READS = 4, SIM_KEPT = 3 };
#define SIM_SECRET "TOP-SECRET"

enum watch_state { WATCH_NONE, WATCH_LOOKS, WATCH_CHECKED, WATCH_RENAMED, WATCH_FENCED, WATCH_GOES, WATCH_AFTER };
enum { SIM_LEFTS = 12 };
/* A target's own process (alone.c). */
struct swatch {
	enum watch_state state;
	char token[40], lock_dir[SIM_PATH];
	int64_t due_op;
	int line, lefts;
	bool left_some;
	char left[SIM_LEFTS][SIM_PATH];
};

struct starget {
	bool used, remote;
	struct swatch watch;
	struct stree now, durable;
	char serving[SIM_PATH]; /* what the service runs: the link of /app/current when it was last started */
	char served[SIM_PATH];  /* before the deployment */
	const struct blob *runs_with[SIM_SERVICE_READS]; /* what it read then */
	const struct blob *kept[SIM_KEPT];               /* what users last wrote to what snapshots exclude */
	bool fresh;                                      /* nothing of an earlier deployment: no release, no service */
	bool no_acl;                                     /* setfacl fails */
	bool base_stays;                                 /* its base is an administrator's: it cannot be removed */
	int restarts, boots;
	bool no_links;   /* the file system takes no hard links */
	int clone_fails; /* at the nth file, each time; 0: never */
	int breaks_at;   /* the connection, once, while the nth thing of a stream or of a clone is made; 0: never */
	bool breaks_with_power; /* and the target starts anew */
	int64_t full_until_op, denied_until_op;
	struct late late[SIM_LATE];
	struct rename_pair renames[SIM_RENAMES]; /* since the last barrier: each is kept or lost as one */
	int rename_count;
};

struct sfile { /* of SQLite */
	bool exists, entry_durable;
	uint32_t size, durable_size;
	unsigned char dirty[SIM_FILE_BYTES / SIM_SECTOR];
	unsigned char data[SIM_FILE_BYTES], durable[SIM_FILE_BYTES];
	/* xLock: by slot of the process. */
	int lock_level[SIM_SLOTS];
};

/* power: of the agent; target >= 0: that target's instead. in_state: once, so many operations after a change was recorded so, whoever did it. */
struct death {
	int generation;
	int64_t at_op;
	bool power;
	int target;
	bool by_state, struck;
	enum change_state in_state;
};

struct cancel {
	int generation;
	int64_t at_op;
	int signal;
	bool at_mark;
}; /* at_mark: so many operations after a mark was first written */

struct rates {
	uint32_t before, after, late, full, denied, journal_full, journal_io, jump, target_power;
}; /* per million operations */

enum person_moment { PERSON_NEVER, PERSON_AFTER_PLAN, PERSON_AT_GATE };
enum gate_result { GATE_PASSES, GATE_FAILS, GATE_HANGS };
enum contender_kind { CONTENDER_NONE, CONTENDER_DEPLOYS, CONTENDER_RECOVERS, CONTENDER_TAKES_OVER };

enum { SIM_SOURCE = 16 };
struct source_tree {
	int count;
	struct snode nodes[SIM_SOURCE];
}; /* paths are relative, sorted */

struct scenario {
	uint64_t seed;
	int target_count, step_count;
	bool hold, has_release, has_restart, has_gate, has_secret, baseline_sick;
	enum gate_result gate;
	struct rates rates;
	struct death deaths[SIM_DEATHS];
	int death_count;
	struct cancel cancels[SIM_CANCELS]; /* in this order */
	int cancel_count;
	enum person_moment person;
	char person_path[SIM_PATH];
	int person_target;
	enum contender_kind contender;
	int64_t contender_at_op;
	int64_t contender_wait_ms;
	bool has_upload;     /* the release is archive-upload's: `source` is sent, the old version was `former` */
	bool former_unknown; /* it has no manifest */
	struct source_tree source, former;
	bool real;              /* of the product's own steps (real.c) */
	bool goes_on;           /* a job's step that dies does not end its job, nor its success (continue-on-error) */
	uint32_t missed_steps;  /* of such a job */
	char *moved;            /* the deployment file as another machine has it, which moved on; NULL: as it was */
	bool goes_back;         /* what is run is the rollback of what the prelude deployed (back.c) */
	const char *back_to;    /* by the release's name; NULL: by the deployment's id */
	bool rehoused;          /* after the first death the journal lies on a machine of another id */
	bool unsealed;          /* nothing is sealed: recovery is given the file */
	int64_t second_dies_at; /* the machine that takes over is gone for good after so many operations; 0: it lives */
	bool has_api;           /* tests/provider is one of the targets (api.c) */
	bool api_faults, api_refuses, api_hangs; /* any; tasks that fail or never end; those that nobody can cancel */
	const char *api_script;                  /* its faults */
	bool expects;                            /* what runs must be what was planned before */
	bool in_command;                         /* it dies while its first command is at work */
	bool no_room; /* from the gate on a target has no room while what room_path names is there */
	char room_path[SIM_PATH];
	bool alone, alone_races; /* targets go back by themselves; in the worst moments too */
	int64_t alone_after[SIM_TARGETS];
	bool tells;             /* a command and its after_undo name what the snapshot gives */
	bool undone_by_command; /* the data: a command brings back no time */
	bool job;               /* each step is a process of its own, as in a workflow; `finish` decides */
	int late_ops;           /* by how much at most a request is late; 0: 80 operations */
	int refused_from_gate;  /* so many operations long no target takes a change, from the gate on; 0: never */
	bool machine_lost;      /* after the first death the state folder is gone; another machine recovers */
	char *deployment;       /* JSON; in the heap */
	char *contender_deployment;
	char *prelude; /* a deployment that is committed before, without a fault; NULL: none */
};

/* The journal's server, where it is a PostgreSQL. Rates are of a million statements. */
enum { SIM_SESSIONS = 32 };
struct sstore {
	uint32_t cut, lost, refused, slow, ended; /* lost: of commits */
	uint32_t unsent;                          /* commits before which the connection breaks */
	uint64_t rng;
	int64_t crash_at; /* operation; 0: never */
	bool by_journal;  /* the other machine knows the deployment by the journal alone, and nobody gives a word */
	bool stalled_is_cut;
	bool two_machines; /* the contender is another one */
	int64_t away_until_ms[SIM_MACHINES];
	int backends[SIM_SLOTS]; /* of the server; 0: not connected */
	int64_t transaction_since_ms[SIM_SLOTS];
	bool waits[SIM_SLOTS]; /* for a lock that another session has */
	bool dead_waits;       /* one died in that */
	/* Sessions whose client is gone, which the server does not know yet. keeper: the process that keeps their socket. */
	struct {
		int backend, keeper;
		int64_t until_ms;
	} dead[SIM_SESSIONS];
	int dead_count, epoch;
	int64_t faults, refusals, cuts, losts, slows, crashes, lingered, lock_waits;
};

enum role { ROLE_DEPLOY, ROLE_CONTENDER, ROLE_RECOVER, ROLE_INSPECT, ROLE_ROLLBACK, ROLE_JOB_STEP, ROLE_FINISH };
enum { RUNNER_PID = 50 };

struct slot {
	int pid;
	bool alive;
	bool stalled;
	int machine;
}; /* pid: virtual */

struct outcome {
	bool ended; /* the process came to its own end */
	int status;
	enum deployment_state state;
	char id[40];
	char reason[SIM_TEXT];
};

/* What the inspector finds in a journal at the end. */
struct seen {
	char named[8192];    /* lines "target:path" that the report names */
	char changed[16384]; /* lines "target:path" of all changes of the deployment */
	bool found, cleaned, undo_began;
	enum deployment_state final_state;
	int final_status;
	enum deployment_state contender_state;
	bool contender_found;
};

struct world {
	uint64_t rng, more_rng, alone_rng, engine_rng;
	int64_t watches_fired;
	int64_t mono_ms, wall_offset_ms;
	int64_t ops, generation_ops;
	int generation; /* 0: the deployment; one more with each process after it */
	bool faults_on, tracing, shortening, in_prelude;
	char *rows; /* apply's, after the prelude; in the heap */
	int turn;   /* slot */
	struct slot slots[SIM_SLOTS];
	int next_pid;
	int boots[SIM_MACHINES];
	struct scenario sc;
	struct starget targets[SIM_TARGETS];
	struct sfile files[SIM_FILES];
	int shm_regions[SIM_MACHINES];
	int shm_lock_shared[SIM_MACHINES][SIM_SLOTS][8];
	bool shm_lock_exclusive[SIM_MACHINES][SIM_SLOTS][8];
	bool runner_alive; /* the process whose end means that no further step will come */
	int job_step;
	const char *job_status;
	int64_t proofs;                   /* begun: that the other machine, which owns a deployment, is gone */
	bool journal_failed;              /* an undo goes on without its records then */
	bool said_alive;                  /* an owner, by this process */
	bool unrecorded;                  /* it was said that what passed the gate is not recorded */
	bool person_came, person_between; /* between a plan and its deployment */
	bool contender_started;
	bool gate_came;                /* the new version was asked */
	bool rehoused, second_is_gone; /* it came so */
	int64_t contender_ops;
	char before_id[40]; /* of the deployment before */
	int contender_pipe[2];
	char person_content[32];
	struct outcome first, contender, last; /* of the deployment, the contender, the newest recovery */
	struct seen seen;
	struct sstore store;
	bool person_named; /* the report said that what a person wrote was replaced */
	char violation[1024];
	/* Figures. */
	int64_t held, deaths_kill, deaths_power, target_powers, nets, lates, fulls, jumps, writes;
	uint32_t struck[8][3]; /* change state × kill, power, target's power */
	int newest_state;      /* of the change that was last recorded, -1 none */
	int64_t newest_state_op;
	int64_t mark_op;  /* of this process: when it wrote a mark; 0: not yet */
	int cancels_done; /* sent, or too late to be sent */
	int64_t cancels,
		stops; /* signals that were sent; those that may stop an undo: a second SIGINT, any in a recovery */
	int64_t cancelled_ms, ended_ms; /* mono: the first of them, and the end of the deployment's process */
	size_t heap_used;
	unsigned char shm[SIM_MACHINES][SIM_SHM_BYTES] __attribute__((aligned(65536)));
	unsigned char heap[SIM_HEAP];
};
extern struct world *world;
extern int sim_slot;    /* of this process */
extern int sim_machine; /* on which it runs: 0, or 1 where another machine takes over */
extern enum role sim_role;
extern bool sim_takeover; /* this process acts on a person's word */

/* ---- world.c ---- */
void world_make(void);
void world_reset(uint64_t seed);
uint64_t sim_next(void);
uint64_t sim_below(uint64_t bound);
bool sim_chance(uint32_t per_million);
/* What was added to the worlds later draws from a stream of its own, so that older seeds mean what they meant. */
uint64_t sim_more_below(uint64_t bound);
void *sim_alloc(size_t size);
const struct blob *sim_blob(const void *data, size_t len);
char *sim_strdup(const char *text);
void sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sim_violation(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* One step of this process's life: a turn, a moment of time, perhaps its death. */
void sim_step(const char *what);
void sim_install(void); /* clock, chance and host of this process */
void sim_die(bool power);
void sim_await_turn(void);
void sim_slot_ended(int slot);
void sim_power_cut_agent(int machine);

/* ---- tree.c ---- */
struct snode *stree_find(struct stree *t, const char *path);
struct snode *stree_set(struct stree *t, const char *path, enum node_type type, uint16_t mode,
                        const struct blob *content);
void stree_drop(struct stree *t, struct snode *n);
bool stree_has_children(struct stree *t, const char *path);
void stree_copy(struct stree *to, const struct stree *from);
void stree_power_cut(struct starget *t);
void stree_make_durable(struct starget *t, const struct snode *n);
void stree_parents_durable(struct starget *t, const char *path);
bool is_within(const char *dir, const char *path);
/* Deployment ids as the word ID. */
void sim_without_ids(const char *text, size_t len, char *out, size_t size);

/* ---- vfs.c ---- */
extern const char sim_vfs_name[];
void sim_vfs_register(void);
void sim_vfs_process_ended(int slot);
void sim_vfs_power_cut(int machine);
bool sim_vfs_is_synced(void);

/* ---- store.c ---- */
extern bool sim_in_postgres;
void sim_store_open(const char *url); /* for the seeds of this process */
void sim_store_close(void);
void sim_store_choose(struct scenario *sc);
/* What a run is made of: as the seeds say, or one kind of trouble in each of them. */
enum store_only { STORE_AS_DRAWN, STORE_BREAKS, STORE_CONTENDED };
extern enum store_only sim_store_only;
bool sim_store_leaves_out(const struct scenario *sc);
void sim_store_fresh(void);              /* a journal without a deployment */
void sim_store_lay(const char *dir);     /* a state directory that works with it */
bool sim_store_is_blocked(int backend);  /* another session has a lock that it waits for */
bool sim_store_is_cut_off(int slot);     /* it stands still, and its session is gone: another machine may prove it so */
void sim_store_end_session(int backend); /* as its administrator would */
void sim_store_await_end(int backend);   /* it is gone, or waits for a lock */
void sim_store_settle(void);             /* whoever could go on has done so */
void sim_store_time_passes(void);        /* the server notices who is gone */
void sim_store_keep_open(int backend, int fd); /* nobody tells the server that its client is gone */
void sim_store_crash(void);
void sim_store_process_ended(int slot);
void sim_store_calm(void); /* it is there again, and knows who is gone */
bool sim_store_has_sealed(char *id, size_t size);
uint64_t sim_store_below(uint64_t bound);
int sim_contender_machine(void);

/* ---- wire.c ---- */
void sim_wire_power_lost(void); /* of this process's machine */
void sim_wire_stalled(void);
bool sim_wire_is_synced(void);
bool sim_journal_is_synced(void);

/* ---- target.c ---- */
extern const struct field_choice *const sim_target_kinds[];
int sim_target_new(const struct target_config *config, struct target **ret, struct err *err);
void sim_target_reboot(struct starget *t);
void sim_target_is_remote(void); /* none lies on the machine that deploys */
void sim_late_arrivals(bool all);
int sim_target_index(const char *name);

/* ---- steps.c ---- */
extern const char sim_old_release[];
const struct step_type *sim_find_step(const char *name);
void sim_person_comes(void);

/* ---- scenario.c ---- */
void scenario_make(uint64_t seed);
/* The old and the new world of each target, as they would be without a fault. */
void scenario_models(struct stree *ret_old, struct stree *ret_new);
bool scenario_names_target(const json_t *step, int index);
/* The new world, without the steps of this mask. */
void scenario_new(const struct stree *old, uint32_t without, struct stree *ret_new);

/* ---- process.c ---- */
extern char sim_work_dir[128];
extern bool sim_waits;            /* deployments wait for people before their first change, where they can */
char *sim_state_dir(int machine); /* free() */
pid_t sim_start(enum role role, int slot, int machine, bool then_inspect);
/* What its end means for the world: *ret_died unless it came to its own. */
void sim_ended(int slot, int machine, int status, bool *ret_died);
/* One process alone, to its end; false: it died. */
bool sim_run_alone(enum role role, int machine, bool then_inspect);

/* ---- passed.c ---- */
int sim_images(const struct step_context *c, struct view *v, json_t *ret, struct err *err);
bool sim_passed_keep(const char *path); /* it belongs to the record */
void sim_passed_check(enum deployment_state state);

/* ---- seed.c ---- */
bool sim_run_seed(uint64_t seed, uint32_t drop); /* true: all holds */
void sim_drop_parts(uint32_t drop);
uint32_t sim_shorten(uint64_t seed); /* what can be left out with the same violation */
bool sim_other_machine_acts(void);

/* ---- upload.c ---- */
extern const char sim_any_content[]; /* in a model: what the content is does not matter */
void sim_upload_choose(struct scenario *sc, json_t *step);
void sim_upload_old_world(struct scenario *sc, struct starget *st);
void sim_upload_write_source(void);
void sim_upload_model(struct stree *t, const json_t *input);
bool sim_upload_retention(const char *path); /* may be removed once a deployment is committed */
void check_manifests(void);

/* ---- commands.c ---- */
extern const char *const sim_service_reads[SIM_SERVICE_READS];
const char *sim_service_differs(const struct starget *t); /* a path; NULL: it runs with what lies there */
void sim_watch_secrets(const struct starget *t);

/* ---- api.c ---- */
void sim_api_choose(struct scenario *sc);
bool sim_api_is_step(const char *step);
void sim_api_world(void);
void sim_api_calm(void); /* its faults are over; what hangs goes on hanging */
void sim_api_check(enum deployment_state state);

/* ---- alone.c ---- */
void sim_alone_choose(struct scenario *sc);
/* The command that starts a watch; false: it is another. */
bool sim_alone_starts(struct starget *t, const char *watch);
void sim_alone_moves(void);
void sim_alone_races(const char *path);
void sim_alone_time_passes(bool all);
void sim_alone_fenced(struct starget *t, const char *lock_dir);

/* ---- back.c ---- */
void sim_back_choose(struct scenario *sc);
void sim_back_prelude(struct scenario *sc); /* anew, where steps were dropped */
void sim_back_model(struct stree *t, int target);
int sim_back_lead(const struct step_context *c, struct view *v, const struct change *former, bool force,
                  struct plan *plan, struct err *err); /* the step "change", step_type.back */

/* ---- locks.c ---- */
void sim_locks_choose(struct scenario *sc);
/* A file is what recovery knows the deployment by on this machine. */
bool sim_locks_need_file(int machine);
bool sim_locks_take_over(int machine); /* on a person's word */
/* A process that dies while it seals leaves a private file beside the sealed ones. */
void sim_locks_leave_private(void);
bool sim_locks_is_private(const char *name);
bool sim_locks_keep(int target, const char *path); /* an administrator's, who made it before */

/* ---- real.c ---- */
void sim_real_choose(struct scenario *sc);
void sim_real_model(struct stree *t, const json_t *step);
int sim_real_resolve(void *context, int step_index, const json_t *contexts, json_t **ret_input, struct err *err);
bool sim_real_restarts(const json_t *step);
bool sim_real_is_wrong(const struct snode *n); /* what only the moved file's commands write */
void sim_users_write(void);                    /* to what snapshots exclude */
bool sim_real_kept(const char *path);          /* is such: check_real judges it */
void check_real(bool decided);

/* ---- check.c ---- */
void check_world(const struct stree *old_trees, const struct stree *new_trees);
bool sim_is_persons(int target, const char *path); /* a person has changed it */
bool check_same_worlds(const struct stree *a);     /* the targets against SIM_TARGETS trees */
