/* Scenarios of locks that somebody must free: the journal on a machine of another id, a second machine that took over and is gone for good,
 * a deployment of which nothing was sealed, a base that is an administrator's. */
#include "sim/sim.h"

#include "base/sys/fs.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char base[] = "/var/lib/davit";
/* As base/sys/fs.h calls what is not renamed yet. */
static const char private_prefix[] = ".davit-";

static void make_bases(struct scenario *sc)
{
	for (int i = 0; i < sc->target_count; i++) {
		struct starget *t = &world->targets[i];
		if (sim_more_below(2) == 0)
			continue;
		t->base_stays = true;
		stree_set(&t->now, base, NODE_DIR, 0700, NULL);
		stree_copy(&t->durable, &t->now);
	}
}

void sim_locks_choose(struct scenario *sc)
{
	/* Between the steps of a job its runner lives, and what is sealed is all that `finish` has. */
	bool own = !sc->job && !sc->machine_lost;
	if (sc->contender == CONTENDER_TAKES_OVER && sc->moved == NULL && sim_more_below(2) == 0)
		sc->second_dies_at = 40 + (int64_t)sim_more_below(300);
	switch (sim_more_below(10)) {
	case 0:
		sc->rehoused = own && sc->contender == CONTENDER_NONE;
		break;
	case 1:
		sc->unsealed = own;
		break;
	case 2:
		make_bases(sc);
		break;
	default:
		break;
	}
}

bool sim_locks_need_file(int machine)
{
	return sim_locks_take_over(machine) || world->sc.unsealed;
}

bool sim_locks_take_over(int machine)
{
	/* In a shared journal each machine finds the deployments of the others. */
	if (world->store.by_journal)
		return false;
	return machine == 1 || world->second_is_gone || world->rehoused;
}

bool sim_locks_keep(int target, const char *path)
{
	return world->targets[target].base_stays && strcmp(path, base) == 0;
}

void sim_locks_leave_private(void)
{
	_cleanup_free_ char *dir = sim_state_dir(sim_machine);
	_cleanup_free_ char *path = xasprintf("%s/sealed/%sseal-%d", dir, private_prefix, world->slots[sim_slot].pid);
	if (sim_more_below(4) != 0 || sim_in_postgres)
		return;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		sim_trace("*** while it sealed");
}

bool sim_locks_is_private(const char *name)
{
	return strncmp(name, private_prefix, strlen(private_prefix)) == 0;
}
