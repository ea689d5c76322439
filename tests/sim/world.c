#include "sim/sim.h"

#include "base/core/clock.h"
#include "base/core/rand.h"
#include "base/sys/host.h"
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct world *world;
int sim_slot;
int sim_machine;
enum role sim_role;
bool sim_takeover;

void world_make(void)
{
	void *p = mmap(NULL, sizeof(struct world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
	               -1, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	world = p;
}

void world_reset(uint64_t seed)
{
	/* The big arrays are cleared as far as they were used only. */
	for (int i = 0; i < SIM_FILES; i++) {
		struct sfile *f = &world->files[i];
		uint32_t used = f->size > f->durable_size ? f->size : f->durable_size;
		memset(f->data, 0, used);
		memset(f->durable, 0, used);
		memset(f->dirty, 0, sizeof(f->dirty));
		memset(f->lock_level, 0, sizeof(f->lock_level));
		f->exists = f->entry_durable = false;
		f->size = f->durable_size = 0;
	}
	for (int i = 0; i < SIM_MACHINES; i++)
		memset(world->shm[i], 0, (size_t)world->shm_regions[i] * 32768);
	size_t fixed = offsetof(struct world, files);
	bool tracing = world->tracing;
	memset(world, 0, fixed);
	memset((unsigned char *)world + offsetof(struct world, shm_regions), 0,
	       offsetof(struct world, shm) - offsetof(struct world, shm_regions));
	world->tracing = tracing;
	world->rng = seed * 0x9e3779b97f4a7c15u + 0x1234567;
	world->more_rng = seed * 0xd1342543de82ef95u + 0x5851f42d4c957f2du;
	world->engine_rng = seed ^ 0xabcdef987654321u;
	world->mono_ms = 1000000;
	world->wall_offset_ms = 1769854830000;
	world->next_pid = 100;
	world->newest_state = -1;
}

/* ---- chance ---- */

static uint64_t splitmix(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t sim_next(void)
{
	return splitmix(&world->rng);
}

uint64_t sim_below(uint64_t bound)
{
	return bound ? sim_next() % bound : 0;
}

uint64_t sim_more_below(uint64_t bound)
{
	return bound ? splitmix(&world->more_rng) % bound : 0;
}

bool sim_chance(uint32_t per_million)
{
	return per_million > 0 && sim_below(1000000) < per_million;
}

static void engine_random(void *context, void *data, size_t size)
{
	(void)context;
	unsigned char *at = data;
	for (size_t i = 0; i < size; i++)
		at[i] = (unsigned char)splitmix(&world->engine_rng);
}

/* ---- memory ---- */

void *sim_alloc(size_t size)
{
	size = (size + 15) & ~(size_t)15;
	if (world->heap_used + size > SIM_HEAP) {
		sim_violation("the world's memory is used up");
		_exit(EXIT_ENDLESS);
	}
	void *p = world->heap + world->heap_used;
	world->heap_used += size;
	return p;
}

const struct blob *sim_blob(const void *data, size_t len)
{
	struct blob *b = sim_alloc(sizeof(*b) + len + 1);
	b->len = (uint32_t)len;
	if (len)
		memcpy(b->data, data, len);
	b->data[len] = '\0';
	return b;
}

char *sim_strdup(const char *text)
{
	size_t len = strlen(text) + 1;
	return memcpy(sim_alloc(len), text, len);
}

/* ---- saying ---- */

void sim_trace(const char *fmt, ...)
{
	if (!world->tracing)
		return;
	char line[2000];
	va_list args;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	printf("%6lld %c%d %10lld ms  %s\n", (long long)world->ops, "DCRIBJF"[sim_role], world -> slots[sim_slot].pid,
	       (long long)world->mono_ms - 1000000, line);
	fflush(stdout);
}

void sim_violation(const char *fmt, ...)
{
	if (world->violation[0])
		return;
	va_list args;
	va_start(args, fmt);
	vsnprintf(world->violation, sizeof(world->violation), fmt, args);
	va_end(args);
	for (char *at = world->violation; (at = strchr(at, '\n')) != NULL;)
		*at = ' ';
	sim_trace("VIOLATION: %s", world->violation);
}

/* ---- turns ---- */

static void give_turn(int slot)
{
	__atomic_store_n(&world->turn, slot, __ATOMIC_RELEASE);
	syscall(SYS_futex, &world->turn, FUTEX_WAKE, 2, NULL, NULL, 0);
}

void sim_await_turn(void)
{
	int seen;
	while ((seen = __atomic_load_n(&world->turn, __ATOMIC_ACQUIRE)) != sim_slot)
		syscall(SYS_futex, &world->turn, FUTEX_WAIT, seen, NULL, NULL, 0);
}

/* Whoever's turn it is runs; the others wait. Turns change at operations only, and the seed says to whom. */
static void take_turn(void)
{
	int other = 1 - sim_slot;
	if (!world->slots[other].alive)
		return;
	bool give = world->slots[sim_slot].stalled || (!world->slots[other].stalled && sim_below(2) == 0);
	if (!give)
		return;
	give_turn(other);
	sim_await_turn();
}

void sim_slot_ended(int slot)
{
	world->slots[slot].alive = false;
	world->slots[1 - slot].stalled = false;
	give_turn(1 - slot);
}

/* ---- deaths ---- */

void sim_power_cut_agent(int machine)
{
	world->boots[machine]++;
	sim_vfs_power_cut(machine);
	for (int i = 0; machine == 0 && i < SIM_TARGETS; i++)
		if (world->targets[i].used && !world->targets[i].remote)
			stree_power_cut(&world->targets[i]);
}

static void count_death(int kind)
{
	if (world->newest_state >= 0)
		world->struck[world->newest_state][kind]++;
}

void sim_die(bool power)
{
	sim_trace(power ? "*** the machine loses its power" : "*** killed");
	count_death(power ? 1 : 0);
	sim_locks_leave_private();
	if (power) {
		world->deaths_power++;
		/* Whatever runs on the same machine dies with it. */
		sim_wire_power_lost();
		if (world->slots[1 - sim_slot].machine == sim_machine)
			world->slots[1 - sim_slot].alive = false;
	} else {
		world->deaths_kill++;
	}
	_exit(power ? EXIT_POWER : EXIT_KILLED);
}

static bool is_due(const struct death *d)
{
	if (d->by_state)
		return !d->struck && world->newest_state == (int)d->in_state &&
		       world->ops - world->newest_state_op >= d->at_op;
	return d->generation == world->generation && d->at_op == world->generation_ops;
}

static void maybe_die(void)
{
	for (int i = 0; i < world->sc.death_count; i++) {
		struct death *d = &world->sc.deaths[i];
		if (!is_due(d))
			continue;
		d->struck = true;
		if (d->target < 0)
			sim_die(d->power);
		struct starget *t = &world->targets[d->target];
		if (!t->used)
			continue;
		sim_trace("*** target %d loses its power", d->target);
		count_death(2);
		world->target_powers++;
		if (!t->remote)
			sim_die(true);
		stree_power_cut(t);
	}
}

/* A real signal, by the real handler. */
static void maybe_cancel(void)
{
	const struct scenario *sc = &world->sc;
	while (world->cancels_done < sc->cancel_count &&
	       sc->cancels[world->cancels_done].generation < world->generation)
		world->cancels_done++;
	if (world->cancels_done == sc->cancel_count || sim_role == ROLE_CONTENDER || sim_role == ROLE_INSPECT)
		return;
	const struct cancel *c = &sc->cancels[world->cancels_done];
	int64_t since = c->at_mark ? world->mark_op : 0;
	if (c->generation != world->generation || (c->at_mark && since == 0) ||
	    world->generation_ops < since + c->at_op)
		return;
	world->cancels_done++;
	if (world->cancels++ == 0)
		world->cancelled_ms = world->mono_ms;
	/* Of the first process, the first SIGINT and every SIGTERM leave the undo alone. */
	if (world->generation > 0 || (c->signal == SIGINT && world->cancels > 1))
		world->stops++;
	sim_trace("*** %s", c->signal == SIGINT ? "SIGINT" : "SIGTERM");
	raise(c->signal);
}

void sim_step(const char *what)
{
	take_turn();
	/* The machine below this process lost its power while the other one had the turn. */
	if (!world->slots[sim_slot].alive) {
		sim_wire_power_lost();
		_exit(EXIT_POWER);
	}
	world->ops++;
	world->generation_ops++;
	if (sim_role == ROLE_DEPLOY && !world->in_prelude && !world->contender_started &&
	    world->sc.contender != CONTENDER_NONE && world->generation_ops >= world->sc.contender_at_op) {
		world->contender_started = true;
		world->slots[1].alive = true;
		world->slots[0].stalled = world->sc.contender == CONTENDER_TAKES_OVER;
		if (world->slots[0].stalled)
			sim_wire_stalled();
		if (write(world->contender_pipe[1], "x", 1) != 1)
			_exit(EXIT_ENDLESS);
	}
	world->mono_ms += 1 + (int64_t)sim_below(4);
	if (world->generation_ops > OP_LIMIT) {
		sim_violation("no end after %d operations (%s)", OP_LIMIT, what);
		_exit(EXIT_ENDLESS);
	}
	if (!world->faults_on)
		return;
	if (sim_chance(world->sc.rates.jump)) {
		world->jumps++;
		world->wall_offset_ms += ((int64_t)sim_below(48) - 24) * 3600000;
	}
	maybe_cancel();
	if (sim_role != ROLE_CONTENDER)
		maybe_die();
	else if (++world->contender_ops == world->sc.second_dies_at)
		sim_die(false);
}

/* ---- the seams ---- */

static int64_t mono(void *context)
{
	(void)context;
	return world->mono_ms;
}

static int64_t wall(void *context)
{
	(void)context;
	return world->mono_ms + world->wall_offset_ms;
}

static void pause_for(void *context, int64_t ms)
{
	(void)context;
	sim_step("pause");
	world->mono_ms += ms;
	sim_late_arrivals(false);
}

static bool process_alive(int pid, uint64_t start_time)
{
	(void)start_time;
	if (pid == RUNNER_PID)
		return world->runner_alive;
	for (int i = 0; i < SIM_SLOTS; i++)
		if (world->slots[i].alive && world->slots[i].pid == pid)
			return true;
	return false;
}

void sim_install(void)
{
	static const struct clock_source clock = {.mono_ms = mono, .wall_ms = wall, .pause_ms = pause_for};
	static struct host_source host;
	static char machine[40], boot[40], name[40];
	bool other_house = sim_machine == 0 && world->rehoused;
	snprintf(machine, sizeof(machine), other_house ? "new-machine-%d" : "machine-%d", sim_machine);
	snprintf(boot, sizeof(boot), "boot-%d-%d", sim_machine, world->boots[sim_machine]);
	snprintf(name, sizeof(name), "host%d", sim_machine);
	host = (struct host_source){.machine_id = machine,
	                            .boot_id = boot,
	                            .hostname = name,
	                            .pid_namespace = other_house ? 8 : 7,
	                            .pid = world->slots[sim_slot].pid,
	                            .process_alive = process_alive};
	clock_set_source(&clock);
	rand_set_source(engine_random, NULL);
	host_set_source(&host);
}
