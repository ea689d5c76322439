/* Many seeds, their figures, and the command line. */
#include "sim/sim.h"

#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/secret/seal.h"
#include <fcntl.h>
#include <git2.h>
#include <sqlite3.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

struct totals {
	int64_t runs, violations, kills, powers, target_powers, nets, lates, fulls, jumps, watches, ops, writes,
		takeovers, contenders, persons, held, cancels, stops, uploads;
	int64_t store_cuts, store_losts, store_refusals, store_slows, store_crashes, store_lingered, store_waits,
		proofs;
	uint32_t struck[8][3];
	uint64_t first_seed;
	int found;
};
static struct totals *totals; /* shared by the jobs */
static bool quiet, only_real;
enum { JOBS_MAX = 8 };
static const char *journals[JOBS_MAX]; /* a server for each job */
static int journal_count;

/* ---- many seeds ---- */

static void add_up(void)
{
	__atomic_fetch_add(&totals->runs, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->kills, world->deaths_kill, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->powers, world->deaths_power, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->target_powers, world->target_powers, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->nets, world->nets, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->lates, world->lates, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->fulls, world->fulls, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->jumps, world->jumps, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->watches, world->watches_fired, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->ops, world->ops, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->writes, world->writes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->contenders, world->sc.contender != CONTENDER_NONE, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->takeovers, sim_other_machine_acts(), __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->persons, world->person_came, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->held, world->held, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->cancels, world->cancels, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->uploads, world->sc.has_upload, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->stops, world->stops, __ATOMIC_RELAXED);
	const struct sstore *st = &world->store;
	__atomic_fetch_add(&totals->store_cuts, st->cuts, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->store_losts, st->losts, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->store_refusals, st->refusals, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->store_slows, st->slows, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->store_crashes, st->crashes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->store_lingered, st->lingered, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->store_waits, st->lock_waits, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->proofs, world->proofs, __ATOMIC_RELAXED);
	for (int i = 0; i < 8; i++)
		for (int k = 0; k < 3; k++)
			__atomic_fetch_add(&totals->struck[i][k], world->struck[i][k], __ATOMIC_RELAXED);
}

static const char *const of_which[] = {
	[STORE_AS_DRAWN] = "", [STORE_BREAKS] = " --breaks", [STORE_CONTENDED] = " --contended"};

static void tell_violation(uint64_t seed)
{
	char text[1024];
	snprintf(text, sizeof(text), "%s", world->violation);
	uint32_t drop = sim_shorten(seed);
	printf("seed %" PRIu64 ": %s\n  replay: tests/sim/%s --seed %" PRIu64 " --drop %u%s%s\n", seed, text,
	       sim_in_postgres ? "in_postgres" : "run", seed, drop, sim_waits ? " --waiting" : "",
	       of_which[sim_store_only]);
	fflush(stdout);
}

static void make_work_dir(int job)
{
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(sim_work_dir, sizeof(sim_work_dir), "%s/davit-sim-%d-%d", base, (int)getpid(), job);
	mkdir(sim_work_dir, 0700);
}

/* The journal of each job is on a server of its own: one that crashes disturbs no other job. */
static void begin(int job)
{
	world_make();
	make_work_dir(job);
	if (journal_count > 0)
		sim_store_open(journals[job]);
}

static void end(void)
{
	sim_store_close();
	fs_remove_tree(AT_FDCWD, sim_work_dir, NULL);
}

static bool is_left_out(uint64_t seed)
{
	if (!only_real && sim_store_only == STORE_AS_DRAWN)
		return false;
	scenario_make(seed);
	return (only_real && !world->sc.real) || sim_store_leaves_out(&world->sc);
}

/* until_found: stop at the first violation, which is what is wanted then. */
static void run_share(uint64_t from, uint64_t count, int job, int jobs, bool until_found, int most)
{
	begin(job);
	for (uint64_t i = (uint64_t)job; i < count && totals->found < most; i += (uint64_t)jobs) {
		if (is_left_out(from + i))
			continue;
		bool ok = sim_run_seed(from + i, 0);
		add_up();
		if (ok)
			continue;
		__atomic_fetch_add(&totals->violations, 1, __ATOMIC_RELAXED);
		if (__atomic_fetch_add(&totals->found, 1, __ATOMIC_RELAXED) == 0)
			totals->first_seed = from + i;
		if (until_found) {
			snprintf(world->seen.named, sizeof(world->seen.named), "%s", world->violation);
			if (!quiet)
				printf("found by seed %" PRIu64 ": %s\n", from + i, world->violation);
		} else {
			tell_violation(from + i);
		}
	}
	end();
}

static void print_totals(double seconds)
{
	static const char *const deaths[] = {"kill", "power", "target's power"};
	printf("%" PRId64 " runs in %.1f s: %" PRId64 " operations, %" PRId64 " journal writes\n", totals->runs,
	       seconds, totals->ops, totals->writes);
	printf("deaths: %" PRId64 " kill, %" PRId64 " power, %" PRId64 " target's power; %" PRId64
	       " lost connections or replies, %" PRId64 " late requests, %" PRId64 " full disks, %" PRId64
	       " clock jumps, %" PRId64 " watches of targets\n",
	       totals->kills, totals->powers, totals->target_powers, totals->nets, totals->lates, totals->fulls,
	       totals->jumps, totals->watches);
	printf("contenders: %" PRId64 ", other machine: %" PRId64 ", a person's hand: %" PRId64
	       ", held at the end: %" PRId64 "\n",
	       totals->contenders, totals->takeovers, totals->persons, totals->held);
	printf("cancels: %" PRId64 ", of them such that stop an undo: %" PRId64 "; archive-upload in %" PRId64 "\n",
	       totals->cancels, totals->stops, totals->uploads);
	if (sim_in_postgres)
		printf("journal's server: %" PRId64 " connections cut, %" PRId64 " replies lost, %" PRId64
		       " refusals, %" PRId64 " without an answer, %" PRId64 " crashes, %" PRId64
		       " sessions of dead clients, %" PRId64 " waits for locks; %" PRId64
		       " proofs that the other machine is gone\n",
		       totals->store_cuts, totals->store_losts, totals->store_refusals, totals->store_slows,
		       totals->store_crashes, totals->store_lingered, totals->store_waits, totals->proofs);
	printf("%-10s", "struck in");
	for (int k = 0; k < 3; k++)
		printf(" %16s", deaths[k]);
	printf("\n");
	for (int i = 0; i <= CHANGE_BLOCKED; i++) {
		printf("%-10s", change_state_name((enum change_state)i));
		for (int k = 0; k < 3; k++)
			if (totals->struck[i][k])
				printf(" %16u", totals->struck[i][k]);
			else
				printf(" %16s", "never");
		printf("\n");
	}
	printf("violations: %" PRId64 "\n", totals->violations);
}

static int replay(uint64_t seed, uint32_t drop)
{
	begin(0);
	world->tracing = true;
	scenario_make(seed);
	sim_drop_parts(drop);
	printf("%s\n", world->sc.deployment);
	sim_run_seed(seed, drop);
	end();
	printf(world->violation[0] ? "violation: %s\n" : "all holds%s\n", world->violation);
	return world->violation[0] ? 1 : 0;
}

/* What each process would otherwise do anew: the libraries' own beginnings. */
static void warm_up(void)
{
	_cleanup_(str_done) struct str text = STR_INIT(100);
	char hex[65];
	make_work_dir(99);
	digest_of("", 0, hex);
	seal_write(sim_work_dir, "warm", "x", 1, NULL);
	seal_read(sim_work_dir, "warm", &text, NULL);
	fs_remove_tree(AT_FDCWD, sim_work_dir, NULL);
	sqlite3_initialize();
	git_libgit2_init();
}

/* Each line: a seed, in which density of failures where that is another one, blank, what it found. */
static int run_list(const char *path)
{
	char line[1000];
	int bad = 0, count = 0;
	FILE *f = fopen(path, "re");
	if (f == NULL) {
		perror(path);
		return 2;
	}
	begin(0);
	while (fgets(line, sizeof(line), f)) {
		unsigned long long seed, drop = 0;
		char *end;
		if (line[0] == '#' || line[0] == '\n')
			continue;
		seed = strtoull(line, &end, 10);
		if (*end == '/')
			drop = strtoull(end + 1, &end, 10);
		sim_store_only = STORE_AS_DRAWN;
		for (size_t i = 0; i < ARRAY_SIZE(of_which); i++)
			if (of_which[i][0] != '\0' && str_starts(end, of_which[i]))
				sim_store_only = (int)i;
		count++;
		if (!sim_run_seed(seed, (uint32_t)drop)) {
			printf("seed %llu again: %s\n", seed, world->violation);
			bad++;
		}
	}
	fclose(f);
	end();
	printf("%d seeds replayed, %d violations\n", count, bad);
	return bad ? 1 : 0;
}

static double now_seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t number(const char *text)
{
	return text ? strtoull(text, NULL, 10) : 0;
}

int main(int argc, char **argv)
{
	uint64_t seeds = 1000, from = 1, seed = 0, drop = 0;
	int jobs = 1, most = 5;
	bool one = false, until_found = false;
	const char *list = NULL;
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		bool used = true;
		if (strcmp(argv[i], "--seeds") == 0)
			seeds = number(value);
		else if (strcmp(argv[i], "--from") == 0)
			from = number(value);
		else if (strcmp(argv[i], "--jobs") == 0)
			jobs = (int)number(value);
		else if (strcmp(argv[i], "--most") == 0)
			most = (int)number(value);
		else if (strcmp(argv[i], "--drop") == 0)
			drop = number(value);
		else if (strcmp(argv[i], "--list") == 0)
			list = value;
		else if (strcmp(argv[i], "--journal") == 0 && value && journal_count < JOBS_MAX)
			journals[journal_count++] = value;
		else if (strcmp(argv[i], "--seed") == 0)
			one = true, seed = number(value);
		else
			used = false;
		if (strcmp(argv[i], "--until-found") == 0)
			until_found = true;
		else if (strcmp(argv[i], "--real") == 0)
			only_real = true;
		else if (strcmp(argv[i], "--contended") == 0)
			sim_store_only = STORE_CONTENDED;
		else if (strcmp(argv[i], "--breaks") == 0)
			sim_store_only = STORE_BREAKS;
		else if (strcmp(argv[i], "--waiting") == 0)
			sim_waits = true;
		else if (!used) {
			fprintf(stderr,
			        "usage: run --seeds N [--from S] [--jobs J] [--most V] [--real] [--breaks | --contended] [--waiting] [--journal URL …] | --seed N [--drop MASK] | --list FILE | --until-found\n");
			return 2;
		}
		i += used;
	}
	totals = mmap(NULL, sizeof(*totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sim_in_postgres = journal_count > 0;
	if (sim_in_postgres)
		sim_target_is_remote();
	sim_vfs_register();
	warm_up();
	if (list)
		return run_list(list);
	if (one)
		return replay(seed, (uint32_t)drop);
	if (jobs < 1)
		jobs = (int)sysconf(_SC_NPROCESSORS_ONLN);
	if (journal_count > 0)
		jobs = MIN(jobs, journal_count);
	double began = now_seconds();
	for (int j = 1; j < jobs; j++) {
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			run_share(from, seeds, j, jobs, until_found, until_found ? 1 : most);
			fflush(stdout);
			_exit(0);
		}
	}
	run_share(from, seeds, 0, jobs, until_found, until_found ? 1 : most);
	int status;
	bool all_ended = true;
	while (wait(&status) > 0)
		all_ended = all_ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (!all_ended) {
		fprintf(stderr, "a job came to no end of its own\n");
		return 3;
	}
	if (until_found) {
		if (totals->violations == 0)
			printf("not found in %" PRIu64 " seeds\n", seeds);
		return totals->violations ? 0 : 1;
	}
	print_totals(now_seconds() - began);
	return totals->violations ? 1 : 0;
}
