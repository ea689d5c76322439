/* Processes, deaths and recoveries of one seed; many seeds; shortening; the command line. */
#include "sim/sim.h"

#include "base/digest.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/seal.h"
#include "steps/store.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sqlite3.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 9, FAULTY_ROUNDS = 4, DROP_RATES = 8, DROP_PERSON = 17, DROP_CONTENDER = 18, DROP_HOLD = 19, DROP_LOST = 20, DROP_STEPS = 21,
	DROP_END = 31 };

struct totals {
	int64_t runs, violations, kills, powers, target_powers, nets, lates, fulls, jumps, ops, writes, takeovers, contenders, persons, held;
	uint32_t struck[8][3];
	uint64_t first_seed;
	int found;
};
static struct totals *totals;      /* shared by the jobs */
static char work_dir[128];
static struct stree old_trees[SIM_TARGETS], new_trees[SIM_TARGETS];
static bool quiet;

/* ---- one process ---- */

static void say(void *context, const char *level, const char *line)
{
	(void)context;
	if (strstr(line, "not as it was planned") && strstr(line, world->sc.person_path))
		world->person_named = true;
	sim_trace("[%s] %s", level, line);
}

static void on_change(enum change_state state)
{
	world->newest_state = (int)state;
	sim_trace("journal: a change is %s", change_state_name(state));
}

static char *state_dir(int machine)
{
	return xasprintf("%s/%c", work_dir, 'a' + machine);
}

static void fill(struct outcome *o, const struct engine_result *r, const struct err *err)
{
	o->status = r->exit_status;
	o->state = r->state;
	snprintf(o->id, sizeof(o->id), "%s", r->id ? r->id : "");
	if (err->code)
		err_line(err, o->reason, sizeof(o->reason));
	o->ended = true;
	sim_trace("exit %d (%s) %s", o->status, deployment_state_name(o->state), o->reason);
}

static void append_line(char *list, size_t size, const char *target, const char *path)
{
	char plain[SIM_PATH];
	size_t len = strlen(list);
	sim_without_ids(path, strlen(path), plain, sizeof(plain));
	snprintf(list + len, size - len, "%s:%s\n", target, plain);
}

static void inspect_one(struct store *s, const json_t *doc)
{
	_cleanup_(plan_done) struct plan changes = { 0 };
	const char *id = json_get_string(doc, "id"), *state = json_get_string(doc, "state"), *file = json_get_string(doc, "file");
	enum deployment_state found = DEPLOYMENT_PREPARING;
	for (int i = 0; i <= DEPLOYMENT_UNDONE; i++)
		if (strcmp(deployment_state_name((enum deployment_state)i), state) == 0)
			found = (enum deployment_state)i;
	if (file && strcmp(file, "contender") == 0) {
		world->seen.contender_found = true;
		world->seen.contender_state = found;
		return;
	}
	world->seen.found = true;
	world->seen.final_state = found;
	world->seen.final_status = (int)json_get_int(doc, "exit_status", -1);
	world->seen.cleaned = json_get_bool(doc, "cleaned", false);
	const json_t *left = json_object_get(doc, "left_over");
	for (size_t i = 0; i < json_array_size(left); i++)
		append_line(world->seen.named, sizeof(world->seen.named), json_get_string(json_array_get(left, i), "target"),
		            json_get_string(json_array_get(left, i), "path"));
	if (store_change_list(s, id, &changes, NULL) == 0)
		for (size_t i = 0; i < changes.count; i++)
			append_line(world->seen.changed, sizeof(world->seen.changed), changes.changes[i].target, changes.changes[i].path);
}

/* No secret outlives its deployment. */
static void inspect_sealed(struct store *s)
{
	_cleanup_free_ char *dir = xasprintf("%s/sealed", store_dir(s));
	DIR *d = opendir(dir);
	const struct dirent *entry;
	bool held = (world->seen.found && world->seen.final_state == DEPLOYMENT_HELD) || (world->seen.contender_found && world->seen.contender_state == DEPLOYMENT_HELD);
	while (d && !held && (entry = readdir(d)) != NULL)
		if (entry->d_name[0] != '.' && world->seen.final_state != DEPLOYMENT_OPEN && world->seen.final_state != DEPLOYMENT_UNDOING &&
		    world->seen.final_state != DEPLOYMENT_PREPARING)
			sim_violation("sealed secrets are left: %s", entry->d_name);
	if (d)
		closedir(d);
}

static void inspect(struct store *s)
{
	_cleanup_json_ json_t *list = NULL;
	world->seen.found = world->seen.contender_found = false;
	world->seen.named[0] = world->seen.changed[0] = '\0';
	if (store_deployment_list(s, NULL, &list, NULL) < 0) {
		sim_violation("the journal cannot be read at the end");
		return;
	}
	for (size_t i = json_array_size(list); i-- > 0;)
		inspect_one(s, json_array_get(list, i));
	inspect_sealed(s);
}

/* Run again, it must not change anything. */
static void recover_again(const struct engine_recover_options *recover, const struct engine_options *o)
{
	static struct stree before[SIM_TARGETS];
	struct engine_result again = { 0 };
	struct err err = ERR_INIT;
	for (int i = 0; i < world->sc.target_count; i++)
		stree_copy(&before[i], &world->targets[i].now);
	sim_trace("recover, again");
	engine_recover(recover, o, &again, &err);
	if (!check_same_worlds(before))
		sim_violation("recovery, run again, changed something");
}

/* One step of the deployment as a workflow would give it. */
static json_t *job_deployment(int index)
{
	json_t *d = json_loads(world->sc.deployment, 0, NULL);
	json_t *step = json_incref(json_array_get(json_object_get(d, "steps"), (size_t)index));
	json_object_set_new(d, "steps", json_pack("[o]", step));
	return d;
}

static void live(enum role role, int slot, int machine, bool then_inspect)
{
	struct wait wait = WAIT_INIT;
	struct err err = ERR_INIT;
	struct engine_result result = { 0 };
	struct outcome *outcome = role == ROLE_DEPLOY || role == ROLE_FINISH ? &world->first : role == ROLE_CONTENDER ? &world->contender : &world->last;
	_cleanup_free_ char *dir = state_dir(machine);
	struct store *store = NULL;
	sim_slot = slot;
	sim_machine = machine;
	sim_role = role;
	sim_install();
	sim_step("start");
	store_after_change = on_change;
	memset(outcome, 0, sizeof(*outcome));
	int r = store_open(dir, sim_vfs_name, &store, &err);
	if (r < 0) {
		result.exit_status = role == ROLE_RECOVER || role == ROLE_ROLLBACK || role == ROLE_FINISH ? 4 : 2;
		result.state = DEPLOYMENT_REFUSED;
		fill(outcome, &result, &err);
		_exit(0);
	}
	struct engine_options o = { .store = store, .wait = &wait, .seal = true, .report = say, .make_target = sim_target_new, .find_step = sim_find_step };
	json_t *deployment = json_loads(role == ROLE_CONTENDER && world->sc.contender == CONTENDER_DEPLOYS ? world->sc.contender_deployment : world->sc.deployment,
	                                0, NULL);
	struct engine_recover_options recover = { 0 };
	bool recovers = role == ROLE_RECOVER || role == ROLE_CONTENDER;
	if (role == ROLE_DEPLOY) {
		engine_deploy(deployment, &o, &result, &err);
	} else if (role == ROLE_JOB_STEP || role == ROLE_FINISH) {
		o.job_key = "job";
		o.runner_pid = RUNNER_PID;
		if (role == ROLE_JOB_STEP)
			engine_job_step(job_deployment(world->job_step), &o, &result, &err);
		else
			engine_finish(world->job_status, NULL, &o, &result, &err);
	} else if (role == ROLE_CONTENDER && world->sc.contender == CONTENDER_DEPLOYS) {
		o.lock_wait_ms = world->sc.contender_wait_ms;
		engine_deploy(deployment, &o, &result, &err);
	} else if (recovers) {
		if (machine == 1) {
			recover.deployment = deployment;
			recover.takeover = true;
			sim_takeover = true;
		}
		engine_recover(&recover, &o, &result, &err);
		if (then_inspect)
			recover_again(&recover, &o);
	} else if (role == ROLE_ROLLBACK) {
		engine_rollback(NULL, NULL, NULL, &o, &result, &err);
	}
	fill(outcome, &result, &err);
	if (then_inspect)
		inspect(store);
	_exit(0);
}

static pid_t start(enum role role, int slot, int machine, bool then_inspect)
{
	world->slots[slot] = (struct slot){ .pid = world->next_pid++, .alive = true };
	if (role == ROLE_CONTENDER)
		world->slots[slot].alive = false;      /* until its moment comes */
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (pid > 0)
		return pid;
	if (role == ROLE_CONTENDER) {
		char byte;
		if (read(world->contender_pipe[0], &byte, 1) != 1)
			_exit(EXIT_ENDLESS);
		sim_slot = slot;
		while (__atomic_load_n(&world->turn, __ATOMIC_ACQUIRE) != slot)
			sched_yield();
	}
	live(role, slot, machine, then_inspect);
	_exit(0);
}

static void ended(int slot, int machine, int status, bool *ret_died)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	*ret_died = code != 0;
	world->slots[slot].alive = false;
	sim_vfs_process_ended(slot);
	if (code == EXIT_POWER) {
		sim_power_cut_agent(machine);
		/* Both died; the machine is cut once. */
	} else if (code != 0 && code != EXIT_KILLED && code != EXIT_ENDLESS) {
		if (WIFSIGNALED(status))
			sim_violation("the process crashed by signal %d", WTERMSIG(status));
		else
			sim_violation("the process ended with %d", code);
	}
	sim_slot_ended(slot);
}

/* One process alone, to its end. */
static bool run_alone(enum role role, int machine, bool then_inspect)
{
	int status;
	bool died;
	world->turn = 0;
	/* The processes of a job count their operations together: a death strikes one of them. */
	if (role != ROLE_JOB_STEP && role != ROLE_FINISH)
		world->generation_ops = 0;
	pid_t pid = start(role, 0, machine, then_inspect);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	ended(0, machine, status, &died);
	return !died;
}

/* ---- one seed ---- */

/* false: nobody came to decide it. */
static bool run_job_steps(void)
{
	_cleanup_json_ json_t *d = json_loads(world->sc.deployment, 0, NULL);
	size_t count = json_array_size(json_object_get(d, "steps"));
	bool ok = true, died = false;
	int boots = world->boots[0];
	world->runner_alive = true;
	for (size_t i = 0; ok && i < count; i++) {
		world->job_step = (int)i;
		died = !run_alone(ROLE_JOB_STEP, 0, false);
		ok = !died && world->last.status == 0;
	}
	world->job_status = ok ? "success" : sim_below(6) == 0 ? "cancelled" : "failure";
	bool decided = world->boots[0] == boots && (died ? sim_below(2) == 0 : sim_below(10) != 0);
	if (decided)
		decided = run_alone(ROLE_FINISH, 0, false);
	world->runner_alive = false;
	return decided;
}

static bool run_first(void)
{
	bool died_first = false, died_contender;
	const struct scenario *sc = &world->sc;
	if (sc->job)
		return run_job_steps();
	if (sc->contender == CONTENDER_NONE)
		return run_alone(ROLE_DEPLOY, 0, false);
	int machine = sc->contender == CONTENDER_TAKES_OVER ? 1 : 0;
	if (pipe(world->contender_pipe) != 0)
		exit(1);
	world->turn = 0;
	pid_t second = start(ROLE_CONTENDER, 1, machine, false);
	pid_t first = start(ROLE_DEPLOY, 0, 0, false);
	for (int left = 2; left > 0;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);
		if (pid == first) {
			if (!world->contender_started) {
				world->contender_started = true;
				if (write(world->contender_pipe[1], "x", 1) != 1)
					exit(1);
				world->slots[1].alive = true;
			}
			ended(0, 0, status, &died_first);
			left--;
		} else if (pid == second) {
			ended(1, machine, status, &died_contender);
			left--;
		} else if (pid < 0 && errno != EINTR) {
			break;
		}
	}
	close(world->contender_pipe[0]);
	close(world->contender_pipe[1]);
	return !died_first;
}

static void remove_state(int machine)
{
	_cleanup_free_ char *dir = state_dir(machine);
	fs_remove_tree(AT_FDCWD, dir, NULL);
}

static void prepare_state(void)
{
	for (int m = 0; m < SIM_MACHINES; m++) {
		remove_state(m);
		_cleanup_free_ char *dir = state_dir(m);
		_cleanup_free_ char *reserve = xasprintf("%s/reserve", dir);
		mkdir(dir, 0700);
		/* There, but empty: what it frees is counted in the world. */
		int fd = open(reserve, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd >= 0)
			close(fd);
	}
}

static bool other_machine_acts(void)
{
	return world->sc.machine_lost || (world->sc.contender == CONTENDER_TAKES_OVER && world->contender_started);
}

/* All of recovery, once. */
static bool recover_round(bool first_is_lost)
{
	bool ok = true;
	if (other_machine_acts())
		ok = run_alone(ROLE_RECOVER, 1, false);
	if (ok && !first_is_lost)
		ok = run_alone(ROLE_RECOVER, 0, false);
	return ok;
}

static bool more_deaths(int round)
{
	for (int i = 0; i < world->sc.death_count; i++)
		if (world->sc.deaths[i].generation >= round)
			return true;
	return false;
}

/* As long as somebody is to die, or the deployment died and the other faults may meet its recovery. */
static void recoveries(bool lost, bool first_died)
{
	for (int round = 1; round <= FAULTY_ROUNDS && world->faults_on; round++) {
		world->generation = round;
		if (!more_deaths(round) && !(first_died && round == 1))
			break;
		if (recover_round(lost))
			break;
	}
	world->faults_on = false;
}

static void drop_parts(uint32_t drop);

static void ask_other_machine(void)
{
	static struct seen here;
	here = world->seen;
	run_alone(ROLE_RECOVER, 1, true);
	bool holds = world->seen.found && world->seen.final_state == DEPLOYMENT_HELD;
	if (!holds)
		world->seen = here;
}

/* Half of them die in it once; then recovery goes on, and what it leaves held is rolled back again. */
static void roll_back(int machine)
{
	world->generation = ROUNDS + 2;
	if (sim_below(2) == 0) {
		world->sc.deaths[0] = (struct death){ .generation = ROUNDS + 2, .at_op = 1 + (int64_t)sim_below(200), .power = sim_below(2) == 0, .target = -1 };
		world->sc.death_count = 1;
		memset(&world->sc.rates, 0, sizeof(world->sc.rates));
		world->faults_on = true;
		bool ended_itself = run_alone(ROLE_ROLLBACK, machine, false);
		world->faults_on = false;
		world->generation++;
		if (!ended_itself)
			run_alone(ROLE_RECOVER, machine, true);
		if (world->seen.found && world->seen.final_state != DEPLOYMENT_HELD && !ended_itself)
			return;
	}
	run_alone(ROLE_ROLLBACK, machine, true);
}

static void settle(bool lost)
{
	int machine = lost ? 1 : 0;
	bool ok = true;
	sim_slot = 0;
	sim_role = ROLE_INSPECT;
	sim_late_arrivals(true);
	world->generation = ROUNDS + 1;
	if (other_machine_acts() && !lost)
		ok = run_alone(ROLE_RECOVER, 1, false);
	ok = run_alone(ROLE_RECOVER, machine, true) && ok;
	if (!ok)
		sim_violation("the last recovery died");
	/* Taken over by another machine, which may hold it: that one knows. */
	if (!world->violation[0] && other_machine_acts() && !lost)
		ask_other_machine();
	if (!world->violation[0])
		check_world(old_trees, new_trees);
	if (world->violation[0] || !world->seen.found || world->seen.final_state != DEPLOYMENT_HELD)
		return;
	totals->held++;
	/* A held deployment can be rolled back, now that nothing fails any more; by whoever holds it. */
	machine = other_machine_acts() ? 1 : 0;
	roll_back(machine);
	if (world->violation[0] || world->person_came || world->seen.contender_found)
		return;
	if (world->seen.final_state == DEPLOYMENT_UNDONE)
		check_world(old_trees, new_trees);
	else if (world->sc.rates.denied == 0 && !world->sc.baseline_sick)
		sim_violation("the rollback of a held deployment ended with %d: %s", world->last.status, world->last.reason);
}

static bool run_seed(uint64_t seed, uint32_t drop)
{
	scenario_make(seed);
	drop_parts(drop);
	scenario_models(old_trees, new_trees);
	prepare_state();
	bool ended_itself = run_first();
	bool lost = world->sc.machine_lost && !ended_itself;
	world->sc.machine_lost = lost;
	if (lost) {
		sim_slot = 0;
		sim_trace("*** the machine is gone for good");
		remove_state(0);
	}
	if (!world->violation[0])
		recoveries(lost, !ended_itself);
	if (!world->violation[0])
		settle(lost);
	return world->violation[0] == '\0';
}

/* ---- shortening ---- */

static void drop_parts(uint32_t drop)
{
	struct scenario *sc = &world->sc;
	struct death kept[SIM_DEATHS];
	int count = 0;
	for (int i = 0; i < sc->death_count; i++)
		if (!(drop & (1u << i)))
			kept[count++] = sc->deaths[i];
	memcpy(sc->deaths, kept, sizeof(kept[0]) * (size_t)count);
	sc->death_count = count;
	uint32_t *rates = &sc->rates.before;
	for (int i = 0; i < 9; i++)
		if (drop & (1u << (DROP_RATES + i)))
			rates[i] = 0;
	if (drop & (1u << DROP_PERSON))
		sc->person = PERSON_NEVER;
	if (drop & (1u << DROP_CONTENDER))
		sc->contender = CONTENDER_NONE;
	if (drop & (1u << DROP_LOST))
		sc->machine_lost = sc->job = false;
	_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
	json_t *steps = json_object_get(d, "steps");
	if (drop & (1u << DROP_HOLD))
		json_object_set_new(d, "on_failure", json_string("rollback"));
	for (int i = (int)json_array_size(steps) - 1; i >= 0; i--)
		if (DROP_STEPS + i < DROP_END && (drop & (1u << (DROP_STEPS + i)))) {
			const char *name = json_get_string(json_array_get(steps, (size_t)i), "step");
			if (strcmp(name, "restart") == 0)
				sc->has_restart = false;
			if (strcmp(name, "release") == 0)
				sc->has_release = false;
			json_array_remove(steps, (size_t)i);
		}
	_cleanup_free_ char *text = json_text(d);
	sc->deployment = sim_strdup(text);
}

static uint32_t shorten(uint64_t seed)
{
	char wanted[24];
	uint32_t drop = 0;
	snprintf(wanted, sizeof(wanted), "%.20s", world->violation);
	for (int i = 0; i < DROP_END; i++) {
		run_seed(seed, drop | (1u << i));
		if (strncmp(world->violation, wanted, strlen(wanted)) == 0)
			drop |= 1u << i;
	}
	run_seed(seed, drop);
	return drop;
}

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
	__atomic_fetch_add(&totals->ops, world->ops, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->writes, world->writes, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->contenders, world->sc.contender != CONTENDER_NONE, __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->takeovers, other_machine_acts(), __ATOMIC_RELAXED);
	__atomic_fetch_add(&totals->persons, world->person_came, __ATOMIC_RELAXED);
	for (int i = 0; i < 8; i++)
		for (int k = 0; k < 3; k++)
			__atomic_fetch_add(&totals->struck[i][k], world->struck[i][k], __ATOMIC_RELAXED);
}

static void tell_violation(uint64_t seed)
{
	char text[1024];
	snprintf(text, sizeof(text), "%s", world->violation);
	uint32_t drop = shorten(seed);
	printf("seed %" PRIu64 ": %s\n  replay: tests/sim/run --seed %" PRIu64 " --drop %u\n", seed, text, seed, drop);
	fflush(stdout);
}

static void make_work_dir(int job)
{
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(work_dir, sizeof(work_dir), "%s/davit-sim-%d-%d", base, (int)getpid(), job);
	mkdir(work_dir, 0700);
}

/* until_found: stop at the first violation, which is what is wanted then. */
static void run_share(uint64_t from, uint64_t count, int job, int jobs, bool until_found, int most)
{
	world_make();
	make_work_dir(job);
	for (uint64_t i = (uint64_t)job; i < count && totals->found < most; i += (uint64_t)jobs) {
		bool ok = run_seed(from + i, 0);
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
	fs_remove_tree(AT_FDCWD, work_dir, NULL);
}

static void print_totals(double seconds)
{
	static const char *const deaths[] = { "kill", "power", "target's power" };
	printf("%" PRId64 " runs in %.1f s: %" PRId64 " operations, %" PRId64 " journal writes\n", totals->runs, seconds, totals->ops, totals->writes);
	printf("deaths: %" PRId64 " kill, %" PRId64 " power, %" PRId64 " target's power; %" PRId64 " lost connections or replies, %" PRId64
	       " late requests, %" PRId64 " full disks, %" PRId64 " clock jumps\n",
	       totals->kills, totals->powers, totals->target_powers, totals->nets, totals->lates, totals->fulls, totals->jumps);
	printf("contenders: %" PRId64 ", other machine: %" PRId64 ", a person's hand: %" PRId64 ", held at the end: %" PRId64 "\n", totals->contenders,
	       totals->takeovers, totals->persons, totals->held);
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
	world_make();
	make_work_dir(0);
	world->tracing = true;
	scenario_make(seed);
	drop_parts(drop);
	printf("%s\n", world->sc.deployment);
	run_seed(seed, drop);
	fs_remove_tree(AT_FDCWD, work_dir, NULL);
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
	seal_write(work_dir, "warm", "x", 1, NULL);
	seal_read(work_dir, "warm", &text, NULL);
	fs_remove_tree(AT_FDCWD, work_dir, NULL);
	sqlite3_initialize();
}

/* Each line: a seed, blank, what it found. */
static int run_list(const char *path)
{
	char line[1000];
	int bad = 0, count = 0;
	FILE *f = fopen(path, "re");
	if (f == NULL) {
		perror(path);
		return 2;
	}
	world_make();
	make_work_dir(0);
	while (fgets(line, sizeof(line), f)) {
		unsigned long long seed, drop = 0;
		char *end;
		if (line[0] == '#' || line[0] == '\n')
			continue;
		seed = strtoull(line, &end, 10);
		if (*end == '/')
			drop = strtoull(end + 1, &end, 10);
		count++;
		if (!run_seed(seed, (uint32_t)drop)) {
			printf("seed %llu again: %s\n", seed, world->violation);
			bad++;
		}
	}
	fclose(f);
	fs_remove_tree(AT_FDCWD, work_dir, NULL);
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
		else if (strcmp(argv[i], "--seed") == 0)
			one = true, seed = number(value);
		else
			used = false;
		if (strcmp(argv[i], "--until-found") == 0)
			until_found = true;
		else if (!used) {
			fprintf(stderr, "usage: run --seeds N [--from S] [--jobs J] [--most V] | --seed N [--drop MASK] | --list FILE | --until-found\n");
			return 2;
		}
		i += used;
	}
	totals = mmap(NULL, sizeof(*totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sim_vfs_register();
	warm_up();
	if (list)
		return run_list(list);
	if (one)
		return replay(seed, (uint32_t)drop);
	if (jobs < 1)
		jobs = (int)sysconf(_SC_NPROCESSORS_ONLN);
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
	while (wait(NULL) > 0)
		;
	if (until_found) {
		if (totals->violations == 0)
			printf("not found in %" PRIu64 " seeds\n", seeds);
		return totals->violations ? 0 : 1;
	}
	print_totals(now_seconds() - began);
	return totals->violations ? 1 : 0;
}
