#include "sim/world.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rand.h"
#include "steps/host.h"

struct world *sim;
int sim_self = -1;

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(((struct world *)0)->mutex), "room for the lock");
_Static_assert(sizeof(pthread_cond_t) <= sizeof(((struct world *)0)->cond), "room for the condition");

static pthread_mutex_t *mutex(void)
{
	return (pthread_mutex_t *)(void *)sim->mutex;
}

static pthread_cond_t *turn_changed(void)
{
	return (pthread_cond_t *)(void *)sim->cond;
}

struct world *sim_world_new(void)
{
	sim = mmap(NULL, sizeof(*sim), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (sim == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return sim;
}

void sim_world_reset(uint64_t seed)
{
	/* Fresh pages cost only what the last run touched. */
	munmap(sim, sizeof(*sim));
	sim_world_new();
	sim->seed = seed;
	sim->random = seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;
	sim->mono_ms = 1000000;
	sim->wall_ms = 1790000000000;
	sim->turn = -1;
	pthread_mutexattr_t ma;
	pthread_mutexattr_init(&ma);
	pthread_mutexattr_setpshared(&ma, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(mutex(), &ma);
	pthread_condattr_t ca;
	pthread_condattr_init(&ca);
	pthread_condattr_setpshared(&ca, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(turn_changed(), &ca);
	for (int i = 0; i < SIM_MACHINES; i++) {
		struct sim_machine *m = &sim->machines[i];
		snprintf(m->name, sizeof(m->name), i < SIM_TARGETS ? "target%d" : "agent%d", i < SIM_TARGETS ? i : i - SIM_TARGETS);
		snprintf(m->machine_id, sizeof(m->machine_id), "%032x", 0x1000 + i);
		snprintf(m->boot_id, sizeof(m->boot_id), "boot-%d-0", i);
	}
}

/* ---- chance ---- */

uint64_t sim_random(void)
{
	/* splitmix64: every bit of the seed matters from the first number on. */
	uint64_t z = sim->random += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t sim_below(uint64_t bound)
{
	return bound ? sim_random() % bound : 0;
}

bool sim_chance(uint32_t of_65536)
{
	if (!sim->faults_on || of_65536 == 0 || sim->faults.budget <= 0)
		return false;
	if (sim_below(65536) >= of_65536)
		return false;
	sim->faults.budget--;
	return true;
}

/* ---- words ---- */

void sim_trace(const char *fmt, ...)
{
	if (!sim->trace_on || sim->trace_len + 400 > SIM_TRACE)
		return;
	char *at = sim->trace + sim->trace_len;
	int used = snprintf(at, 64, "%6llu %c ", (unsigned long long)sim->ops, sim_self < 0 ? '-' : 'A' + sim_self);
	va_list args;
	va_start(args, fmt);
	int n = vsnprintf(at + used, 320, fmt, args);
	va_end(args);
	used += n < 319 ? n : 319;
	at[used++] = '\n';
	sim->trace_len += (uint32_t)used;
}

void sim_violate(const char *fmt, ...)
{
	if (sim->violation[0] != '\0')
		return;
	va_list args;
	va_start(args, fmt);
	vsnprintf(sim->violation, sizeof(sim->violation), fmt, args);
	va_end(args);
	sim_trace("VIOLATION: %s", sim->violation);
}

struct sim_blob sim_blob_put(const void *data, size_t len)
{
	if (sim->arena_used + len > SIM_ARENA) {
		sim_violate("the world is full: a run writes without end");
		_exit(SIM_EXIT_CRASH);
	}
	struct sim_blob b = { sim->arena_used, (uint32_t)len };
	if (len > 0)
		memcpy(sim->arena + b.at, data, len);
	sim->arena_used += (uint32_t)len;
	return b;
}

/* ---- whose turn ---- */

/* A lock whose owner was killed while it held it is as good as free: an actor changes the world only between two steps. */
static void enter(void)
{
	if (pthread_mutex_lock(mutex()) == EOWNERDEAD)
		pthread_mutex_consistent(mutex());
}

static void leave(void)
{
	pthread_mutex_unlock(mutex());
}

static int pick_actor(void)
{
	int candidates[SIM_ACTORS], count = 0;
	for (int i = 0; i < SIM_ACTORS; i++)
		if (sim->actors[i].alive)
			candidates[count++] = i;
	if (count == 0)
		return -1;
	/* Runs of one actor are longer than single operations, else two contenders never get far. */
	if (sim->turn >= 0 && sim->actors[sim->turn].alive && sim_below(4) != 0)
		return sim->turn;
	return candidates[sim_below((uint64_t)count)];
}

void sim_die(const char *why)
{
	sim_trace("dies: %s", why);
	_exit(SIM_EXIT_CRASH);
}

static void kill_actors_of(int machine)
{
	for (int i = 0; i < SIM_ACTORS; i++)
		if (i != sim_self && sim->actors[i].alive && sim->actors[i].machine == machine) {
			sim->actors[i].alive = false;
			kill(sim->actors[i].pid, SIGKILL);
		}
}

void sim_power_cut(int machine)
{
	struct sim_machine *m = &sim->machines[machine];
	sim->cuts++;
	sim_trace("power cut of %s", m->name);
	sim_machine_power_cut(m);
	char *number = strrchr(m->boot_id, '-');
	int boot = atoi(number + 1) + 1;
	snprintf(number, sizeof(m->boot_id) - (size_t)(number - m->boot_id), "-%d", boot);
	m->service_runs = false;
	/* The agents' own machines are the last two; a local target shares one with its agent. */
	if (machine >= SIM_TARGETS)
		sim_disk_power_cut(&sim->disks[machine - SIM_TARGETS]);
	kill_actors_of(machine);
	if (sim_self >= 0 && sim->actors[sim_self].machine == machine)
		sim_die("power cut");
}

void sim_step(const char *what)
{
	if (sim_self < 0)
		return;
	enter();
	if (sim->turn < 0 || !sim->actors[sim->turn].alive)
		sim->turn = sim_self;
	sim->turn = pick_actor();
	pthread_cond_broadcast(turn_changed());
	while (sim->turn != sim_self) {
		/* Somebody whose turn it is may have died: its process is looked at again at every wake-up. */
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 20000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		int r = pthread_cond_timedwait(turn_changed(), mutex(), &until);
		if (r == EOWNERDEAD)
			pthread_mutex_consistent(mutex());
		int turn = sim->turn;
		if (turn < 0 || !sim->actors[turn].alive || (sim->actors[turn].pid > 0 && kill(sim->actors[turn].pid, 0) != 0))
			sim->turn = pick_actor();
	}
	sim->ops++;
	sim->mono_ms += 1 + (int64_t)sim_below(3);
	sim->wall_ms += 1;
	int machine = sim->actors[sim_self].machine;
	if (sim->ops > sim->op_limit && sim->op_limit > 0) {
		sim_violate("no end after %llu operations", (unsigned long long)sim->op_limit);
		leave();
		sim_die("no end");
	}
	sim_trace("%s", what);
	sim_late_arrive(false);
	if (sim_chance(sim->faults.clock_jump)) {
		sim->jumps++;
		sim->wall_ms += (int64_t)sim_below(7200000) - 3600000;
		sim_trace("the clock jumps");
	}
	if (sim_chance(sim->faults.kill)) {
		sim->kills++;
		sim->actors[sim_self].alive = false;
		leave();
		sim_die("killed");
	}
	if (sim_chance(sim->faults.power_cut)) {
		sim->actors[sim_self].alive = false;
		leave();
		sim_power_cut(machine);
	}
	leave();
}

void sim_actor_ended(int actor)
{
	enter();
	sim->actors[actor].alive = false;
	for (int i = 0; i < 2; i++)
		sim_disk_process_ended(&sim->disks[i], sim->actors[actor].pid);
	if (sim->turn == actor)
		sim->turn = pick_actor();
	pthread_cond_broadcast(turn_changed());
	leave();
}

/* ---- the seams ---- */

static int64_t world_mono(void *context)
{
	(void)context;
	return sim->mono_ms;
}

static int64_t world_wall(void *context)
{
	(void)context;
	return sim->wall_ms;
}

static void world_pause(void *context, int64_t ms)
{
	(void)context;
	sim_step("waits");
	sim->mono_ms += ms;
	sim->wall_ms += ms;
}

static void world_fill(void *context, void *data, size_t size)
{
	(void)context;
	uint8_t *bytes = data;
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)sim_random();
}

void sim_become(int actor, int machine)
{
	static const struct clock_source clock = { world_mono, world_wall, world_pause, NULL };
	static struct host_source host;
	sim_self = actor;
	if (actor >= 0) {
		sim->actors[actor].pid = getpid();
		sim->actors[actor].machine = machine;
		sim->actors[actor].used = sim->actors[actor].alive = true;
	}
	clock_set_source(&clock);
	rand_set_source(world_fill, NULL);
	const struct sim_machine *m = &sim->machines[machine];
	host = (struct host_source){ .hostname = m->name, .machine_id = m->machine_id, .boot_id = m->boot_id, .pid_namespace = (uint64_t)machine + 1 };
	host_set_source(&host);
}
