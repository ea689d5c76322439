/* The simulated world: everything that outlives a process under test, in memory shared with its parent. One world a run,
 * made from one seed: random numbers, clock, machines, disks, faults, and whose turn it is.
 *
 * Two machines hold agents (0 and 1), up to SIM_TARGETS are acted on; target 0 may be the agent's own machine (local). A
 * process of the run is an `actor`: a deployment, a contender, a recovery. Each simulated operation calls sim_step(), which lets the
 * scheduler pick the next actor, moves the clock, and may kill the actor (_exit) or cut the power of a machine. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { SIM_TARGETS = 3, SIM_ACTORS = 4, SIM_MACHINES = SIM_TARGETS + 2, SIM_ARENA = 24 << 20, SIM_EXIT_CRASH = 99,
       SIM_NODES = 320, SIM_OPS = 400, SIM_PATH = 160, SIM_DISK_FILES = 6, SIM_DISK_BYTES = 1 << 20, SIM_SECTOR = 512,
       SIM_SHM_REGION = 32768, SIM_SHM_REGIONS = 4, SIM_LOCKS = 16, SIM_TRACE = 512 << 10 };

/* A piece of content in the world's arena. */
struct sim_blob { uint32_t at, len; };

enum sim_node_type { SIM_ABSENT, SIM_FILE, SIM_DIR, SIM_LINK };
struct sim_node {
	char path[SIM_PATH];
	enum sim_node_type type;
	uint32_t mode, owner, group, inode;
	int64_t mtime_ns;
	struct sim_blob content;      /* of a file, or where a link points */
};
/* A file system as a table of paths, sorted; parents are there before their children. */
struct simfs {
	uint32_t count;
	struct sim_node nodes[SIM_NODES];
};

enum sim_op_kind { OP_MKDIR, OP_WRITE, OP_APPEND, OP_LINK, OP_HARD_LINK, OP_RENAME, OP_REMOVE, OP_REMOVE_TREE, OP_ATTR, OP_COPY };
/* A change that the disk has been told of but not made durable yet. */
struct sim_op {
	enum sim_op_kind kind;
	char path[SIM_PATH], other[SIM_PATH];
	struct sim_blob content;
	uint32_t mode, owner, group;
	int64_t mtime_ns;
	bool synced;                  /* content was synced: it may be missing, but is never torn */
};

struct sim_machine {
	char name[16];
	char boot_id[40], machine_id[40];
	bool down;                    /* cut off: its connections fail until the faults are switched off */
	int64_t full_until_ops;       /* disk full while ops < this */
	struct simfs now, durable;
	uint32_t op_count;
	struct sim_op ops[SIM_OPS];
	/* The service: what its `current` named when it was last started. */
	bool service_runs;
	char service_version[32];
	char service_release[SIM_PATH];      /* PATH/current it serves from */
};

/* A file below SQLite: what was written, and what is durable. */
struct sim_disk_file {
	bool used, durable_exists;
	char name[96];
	uint32_t size, durable_size;
	uint8_t dirty[SIM_DISK_BYTES / SIM_SECTOR];
	uint8_t data[SIM_DISK_BYTES], durable[SIM_DISK_BYTES];
	/* POSIX-like locks, by pid; freed when the process ends. */
	pid_t reserved, pending, exclusive;
	struct { pid_t pid; int count; } shared[8];
};
struct sim_shm {
	bool used;
	char name[96];
	int regions;
	uint8_t data[SIM_SHM_REGIONS][SIM_SHM_REGION];
	pid_t exclusive[SIM_LOCKS];
	pid_t shared[SIM_LOCKS][8];
};
struct sim_disk {
	struct sim_disk_file files[SIM_DISK_FILES];
	struct sim_shm shm;
	uint64_t syncs, writes;
	bool unavailable;             /* the journal cannot be opened for a while */
	int64_t full_until_ops;
};

/* Probabilities per operation, in 1/65536; zero in some runs. */
struct sim_faults {
	uint32_t kill, power_cut, lose_before, lose_after, delay, target_full, journal_full, clock_jump, journal_gone, person;
	int budget;                   /* so many in all, then none */
};

/* A request whose reply did not come: it arrives later, or is ended by a fence before it does. */
struct sim_late {
	bool used;
	int machine;
	char lock_dir[SIM_PATH], token[64];
	struct sim_op op;
};

struct sim_actor {
	bool used, alive, waits;
	pid_t pid;
	int machine;
	uint32_t role;
};

struct world {
	uint64_t seed, random;
	bool faults_on;
	struct sim_faults faults;
	uint64_t ops, op_limit;       /* op_limit: liveness; past it the run fails */
	int64_t mono_ms, wall_ms;
	uint32_t arena_used;
	struct sim_machine machines[SIM_MACHINES];
	struct sim_disk disks[2];     /* of the agents' machines */
	struct sim_actor actors[SIM_ACTORS];
	struct sim_late late[8];
	int turn;                     /* actor whose turn it is, -1: none chosen */
	uint32_t mutex[16];           /* a process-shared lock (pthread_mutex_t, robust) and its condition */
	uint64_t cond[16];
	uint32_t kills, cuts, losses, delays, fulls, jumps, persons;
	uint32_t struck[8][2];        /* change state × kind of death: filled by the driver */
	char violation[512];          /* the first thing that did not hold, "" */
	bool trace_on;
	uint32_t trace_len;
	char trace[SIM_TRACE];
	uint8_t arena[SIM_ARENA];
};

extern struct world *sim;         /* the run's world, mapped shared */
extern int sim_self;              /* this process's actor; -1: the parent */

struct world *sim_world_new(void);            /* mapped once, reset for each run */
void sim_world_reset(uint64_t seed);
uint64_t sim_random(void);
uint64_t sim_below(uint64_t bound);
bool sim_chance(uint32_t of_65536);           /* false when the faults are off or the budget is spent */
void sim_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void sim_violate(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
struct sim_blob sim_blob_put(const void *data, size_t len);
static inline const uint8_t *sim_blob_data(struct sim_blob b) { return sim->arena + b.at; }

/* Makes base/clock.h, base/rand.h and steps/host.h answer from the world, as machine `machine`. In the child. */
void sim_become(int actor, int machine);
/* Before each simulated operation: the scheduler's choice, the clock, kills and power cuts. what: for the trace. */
void sim_step(const char *what);
/* Ends this process as SIGKILL would. */
void sim_die(const char *why) __attribute__((noreturn));
/* The machine loses power: its unsynced writes are kept, lost or torn as the seed decides, its actors die, it boots anew. */
void sim_power_cut(int machine);
/* For the parent: an actor's process has ended; its locks are free. */
void sim_actor_ended(int actor);

/* ---- simfs.c: operations on a table. 0 or an errno. ---- */
struct sim_node *simfs_find(struct simfs *fs, const char *path);
int simfs_apply(struct simfs *fs, const struct sim_op *op);
/* Applies to the machine's view and notes it until the next barrier. */
int sim_machine_do(struct sim_machine *m, const struct sim_op *op);
void sim_machine_barrier(struct sim_machine *m);
void sim_machine_power_cut(struct sim_machine *m);
void simfs_print(const struct simfs *fs, FILE *out);

/* ---- sim_vfs.c ---- */
int sim_vfs_register(void);                   /* name "davit-sim"; the disk is that of sim_become's machine */
void sim_disk_power_cut(struct sim_disk *d);
void sim_disk_process_ended(struct sim_disk *d, pid_t pid);

/* ---- sim_target.c: steps/target.h over a machine ---- */
/* Requests of before arrive, some of them, in any order. Called by sim_step. all: every one (faults are over). */
void sim_late_arrive(bool all);
/* What a command does: {"sim-write", PATH, TEXT}, {"sim-restart", PATH of `current`}, {"sim-healthy"} (status 0 when the service's
 * version is not "bad…"), {"true"}, {"false"}. */
struct target;
struct err;
/* config: {"sim": machine index}. For engine_options.make_target. */
int sim_target_new(const char *name, const void *json_config, struct target **ret, struct err *err);
