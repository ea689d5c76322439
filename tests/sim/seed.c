/* One seed: the deployment, its deaths, the recoveries, what must hold afterwards; and the shortening of one that fails. */
#include "sim/sim.h"

#include "base/sys/fs.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

enum {
	ROUNDS = 9,
	FAULTY_ROUNDS = 4,
	DROP_RATES = 8,
	DROP_PERSON = 17,
	DROP_CONTENDER = 18,
	DROP_HOLD = 19,
	DROP_LOST = 20,
	DROP_STEPS = 21,
	DROP_CANCELS = 31,
	DROP_END = 32
};

static struct stree old_trees[SIM_TARGETS], new_trees[SIM_TARGETS];

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
		died = !sim_run_alone(ROLE_JOB_STEP, 0, false);
		ok = !died && world->last.status == 0;
		if (ok || !world->sc.goes_on || world->boots[0] != boots)
			continue;
		world->sc.missed_steps |= 1u << i;
		ok = true;
		died = false;
	}
	world->job_status = ok ? "success" : sim_below(6) == 0 ? "cancelled" : "failure";
	if (world->cancels > 0)
		world->job_status = "cancelled";
	bool decided = world->boots[0] == boots && (died ? sim_below(2) == 0 : sim_below(10) != 0);
	if (decided)
		decided = sim_run_alone(ROLE_FINISH, 0, false);
	world->runner_alive = false;
	return decided;
}

static void remove_state(int machine)
{
	_cleanup_free_ char *dir = sim_state_dir(machine);
	fs_remove_tree(AT_FDCWD, dir, NULL);
}

/* With its journal: what it had begun is on the targets only. */
static void second_is_gone(int machine, bool died)
{
	if (!died || world->sc.second_dies_at == 0)
		return;
	sim_slot = 0;
	sim_trace("*** the machine that took over is gone for good");
	world->second_is_gone = true;
	remove_state(machine);
}

static bool run_first(void)
{
	bool died_first = false, died_contender;
	const struct scenario *sc = &world->sc;
	if (sc->job)
		return run_job_steps();
	if (sc->contender == CONTENDER_NONE)
		return sim_run_alone(ROLE_DEPLOY, 0, false);
	int machine = sim_contender_machine();
	if (pipe(world->contender_pipe) != 0)
		exit(1);
	world->turn = 0;
	pid_t second = sim_start(ROLE_CONTENDER, 1, machine, false);
	pid_t first = sim_start(ROLE_DEPLOY, 0, 0, false);
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
			sim_ended(0, 0, status, &died_first);
			left--;
		} else if (pid == second) {
			sim_ended(1, machine, status, &died_contender);
			second_is_gone(machine, died_contender);
			left--;
		} else if (pid < 0 && errno != EINTR) {
			break;
		}
	}
	close(world->contender_pipe[0]);
	close(world->contender_pipe[1]);
	return !died_first;
}

static void prepare_state(void)
{
	for (int m = 0; m < SIM_MACHINES; m++) {
		remove_state(m);
		_cleanup_free_ char *dir = sim_state_dir(m);
		_cleanup_free_ char *reserve = xasprintf("%s/reserve", dir);
		mkdir(dir, 0700);
		/* There, but empty: what it frees is counted in the world. */
		int fd = open(reserve, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (fd >= 0)
			close(fd);
		if (sim_in_postgres)
			sim_store_lay(dir);
	}
	if (sim_in_postgres)
		sim_store_fresh();
}

int sim_contender_machine(void)
{
	return world->sc.contender == CONTENDER_TAKES_OVER || world->store.two_machines ? 1 : 0;
}

bool sim_other_machine_acts(void)
{
	bool took_over = world->sc.contender == CONTENDER_TAKES_OVER && world->contender_started;
	return world->sc.machine_lost || (took_over && !world->second_is_gone);
}

/* All of recovery, once. */
static bool recover_round(bool first_is_lost)
{
	bool ok = true;
	sim_users_write();
	sim_alone_time_passes(false);
	if (sim_other_machine_acts())
		ok = sim_run_alone(ROLE_RECOVER, 1, false);
	if (ok && !first_is_lost)
		ok = sim_run_alone(ROLE_RECOVER, 0, false);
	return ok;
}

static bool more_deaths(int round)
{
	for (int i = world->cancels_done; i < world->sc.cancel_count; i++)
		if (world->sc.cancels[i].generation >= round)
			return true;
	for (int i = 0; i < world->sc.death_count; i++)
		if (!world->sc.deaths[i].by_state && world->sc.deaths[i].generation >= round)
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
	sim_store_calm();
	sim_api_calm();
}

static void ask_other_machine(void)
{
	static struct seen here;
	here = world->seen;
	sim_run_alone(ROLE_RECOVER, 1, true);
	bool holds = world->seen.found && world->seen.final_state == DEPLOYMENT_HELD;
	if (!holds)
		world->seen = here;
}

/* Half of them die in it once; then recovery goes on, and what it leaves held is rolled back again. */
static void roll_back(int machine)
{
	world->generation = ROUNDS + 2;
	if (sim_below(2) == 0) {
		world->sc.deaths[0] = (struct death){.generation = ROUNDS + 2,
		                                     .at_op = 1 + (int64_t)sim_below(200),
		                                     .power = sim_below(2) == 0,
		                                     .target = -1};
		world->sc.death_count = 1;
		memset(&world->sc.rates, 0, sizeof(world->sc.rates));
		world->faults_on = true;
		bool ended_itself = sim_run_alone(ROLE_ROLLBACK, machine, false);
		world->faults_on = false;
		sim_store_calm();
		world->generation++;
		if (!ended_itself)
			sim_run_alone(ROLE_RECOVER, machine, true);
		if (world->seen.found && world->seen.final_state != DEPLOYMENT_HELD && !ended_itself)
			return;
	}
	sim_run_alone(ROLE_ROLLBACK, machine, true);
}

static void settle(bool lost)
{
	int machine = lost ? 1 : 0;
	bool ok = true;
	sim_slot = 0;
	sim_role = ROLE_INSPECT;
	sim_late_arrivals(true);
	sim_alone_time_passes(true);
	world->generation = ROUNDS + 1;
	if (sim_other_machine_acts() && !lost)
		ok = sim_run_alone(ROLE_RECOVER, 1, false);
	ok = sim_run_alone(ROLE_RECOVER, machine, true) && ok;
	if (!ok)
		sim_violation("the last recovery died");
	/* Taken over by another machine, which may hold it: that one knows. */
	if (!world->violation[0] && sim_other_machine_acts() && !lost)
		ask_other_machine();
	if (!world->violation[0])
		check_world(old_trees, new_trees);
	if (world->violation[0] || !world->seen.found || world->seen.final_state != DEPLOYMENT_HELD)
		return;
	world->held++;
	/* A person puts it right by hand. */
	if (world->sc.moved)
		return;
	/* A held deployment can be rolled back, now that nothing fails any more; by whoever holds it. */
	machine = sim_other_machine_acts() ? 1 : 0;
	roll_back(machine);
	if (world->violation[0] || world->person_came || world->seen.contender_found)
		return;
	if (world->seen.final_state == DEPLOYMENT_UNDONE)
		check_world(old_trees, new_trees);
	else if (world->sc.rates.denied == 0 && world->sc.refused_from_gate == 0 && !world->sc.baseline_sick &&
	         !world->sc.api_hangs)
		sim_violation("the rollback of a held deployment ended with %d: %s", world->last.status,
		              world->last.reason);
}

/* The deployment before, without a fault: what is rolled back to, and what apply remembers. */
static void run_prelude(void)
{
	for (int i = 0; i < world->sc.target_count; i++) {
		struct starget *t = &world->targets[i];
		if (world->sc.real)
			sim_target_reboot(t);
		memcpy(t->served, t->serving, sizeof(t->served));
	}
	if (world->sc.prelude == NULL)
		return;
	world->faults_on = false;
	world->in_prelude = true;
	bool ended = sim_run_alone(ROLE_DEPLOY, 0, false);
	world->in_prelude = false;
	world->faults_on = true;
	world->newest_state = -1;
	world->generation_ops = 0;
	if (!ended || world->first.status != 0)
		sim_violation("the deployment before ended with %d: %s", world->first.status, world->first.reason);
	snprintf(world->before_id, sizeof(world->before_id), "%s", world->first.id);
	memset(&world->first, 0, sizeof(world->first));
	for (int i = 0; i < world->sc.target_count; i++) {
		struct starget *t = &world->targets[i];
		sim_target_reboot(t);
		memcpy(t->served, t->serving, sizeof(t->served));
		stree_copy(&t->durable, &t->now);
	}
}

bool sim_run_seed(uint64_t seed, uint32_t drop)
{
	scenario_make(seed);
	sim_drop_parts(drop);
	prepare_state();
	sim_upload_write_source();
	sim_api_world();
	run_prelude();
	scenario_models(old_trees, new_trees);
	bool ended_itself = !world->violation[0] && run_first();
	bool lost = world->sc.machine_lost && !ended_itself;
	world->sc.machine_lost = lost;
	world->rehoused = world->sc.rehoused && !ended_itself;
	if (lost) {
		sim_slot = 0;
		sim_trace("*** the machine is gone for good");
		remove_state(0);
	}
	if (!world->violation[0])
		recoveries(lost, !ended_itself);
	if (!world->violation[0])
		settle(lost);
	sim_store_calm();
	return world->violation[0] == '\0';
}

/* ---- shortening ---- */

void sim_drop_parts(uint32_t drop)
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
	if (drop & (1u << DROP_CANCELS))
		sc->cancel_count = 0;
	if (drop & (1u << DROP_LOST))
		sc->machine_lost = sc->job = false;
	_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
	json_t *steps = json_object_get(d, "steps");
	if (drop & (1u << DROP_HOLD))
		json_object_set_new(d, "on_failure", json_string("rollback"));
	for (int i = (int)json_array_size(steps) - 1; i >= 0; i--)
		if (DROP_STEPS + i < DROP_CANCELS && (drop & (1u << (DROP_STEPS + i)))) {
			const char *name = json_get_string(json_array_get(steps, (size_t)i), "step");
			/* It brings back what a command changed. */
			if (strcmp(name, "snapshot") == 0)
				continue;
			if (strcmp(name, "restart") == 0 || sim_real_restarts(json_array_get(steps, (size_t)i)))
				sc->has_restart = false;
			if (strcmp(name, "release") == 0 || strcmp(name, "archive-upload") == 0)
				sc->has_release = sc->has_upload = false;
			if (strcmp(name, "gate") == 0)
				sc->has_gate = false;
			if (sim_api_is_step(name))
				sc->has_api = sc->api_faults = false;
			json_array_remove(steps, (size_t)i);
		}
	_cleanup_free_ char *text = json_text(d);
	sc->deployment = sim_strdup(text);
	if (sc->goes_back)
		sim_back_prelude(sc);
}

uint32_t sim_shorten(uint64_t seed)
{
	char wanted[24];
	uint32_t drop = 0;
	snprintf(wanted, sizeof(wanted), "%.20s", world->violation);
	for (int i = 0; i < DROP_END; i++) {
		sim_run_seed(seed, drop | (1u << i));
		if (strncmp(world->violation, wanted, strlen(wanted)) == 0)
			drop |= 1u << i;
	}
	sim_run_seed(seed, drop);
	return drop;
}
