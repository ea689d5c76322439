/* One process of a run: what it does, how it ends, and what it finds in the journal. */
#include "sim/sim.h"
#include "base/core/cancel.h"

#include "engine/journal/postgres/open.h"
#include "provider/provider.h"
#include <dirent.h>
#include <errno.h>
#include <sys/wait.h>

enum { ROWS_MAX = 16 << 10 };
#define SIM_SCOPE "sim.world"
char sim_work_dir[128];
bool sim_waits;

/* ---- one process ---- */

static void say(void *context, const char *level, const char *line)
{
	(void)context;
	if (strstr(line, "not as it was planned") && strstr(line, world->sc.person_path))
		world->person_named = true;
	if (strstr(line, "what passed the gate is not recorded"))
		world->unrecorded = true;
	world->proofs += strstr(line, "its locks are watched") != NULL;
	world->said_alive = world->said_alive || strstr(line, "its counter moves") || strstr(line, "is alive");
	sim_trace("[%s] %s", level, line);
}

static void on_change(enum change_state state)
{
	world->newest_state = (int)state;
	world->newest_state_op = world->ops;
	sim_trace("journal: a change is %s", change_state_name(state));
}

char *sim_state_dir(int machine)
{
	return xasprintf("%s/%c", sim_work_dir, 'a' + machine);
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

/* Rows that steps keep beyond their deployment, as one text. */
static void list_rows(struct store *s, char *text, size_t size)
{
	size_t len = 0;
	text[0] = '\0';
	for (int i = 0; i < world->sc.target_count; i++) {
		char name[16];
		_cleanup_json_ json_t *rows = NULL;
		snprintf(name, sizeof(name), "t%d", i);
		if (store_state_list(s, SIM_SCOPE, name, &rows, NULL) < 0 || json_object_size(rows) == 0)
			continue;
		_cleanup_free_ char *line = json_text(rows);
		len += (size_t)snprintf(text + len, len < size ? size - len : 0, "%s %s\n", name, line);
	}
}

/* What is undone is so in each of its records, and in the rows of its steps. Where a process died, the mark may say it instead. */
static void inspect_undone(struct store *s, const struct plan *changes)
{
	static char rows[ROWS_MAX];
	const char *before = world->rows ? world->rows : "";
	bool alone = world->deaths_kill + world->deaths_power == 0 && world->sc.contender == CONTENDER_NONE;
	bool torn = world->journal_failed && (sim_in_postgres || world->sc.rates.journal_io > 0);
	for (size_t i = 0; alone && !torn && i < changes->count; i++)
		if (changes->changes[i].state != CHANGE_UNDONE)
			sim_violation("undone, and the journal says of %s that it is %s", changes->changes[i].path,
			              change_state_name(changes->changes[i].state));
	list_rows(s, rows, sizeof(rows));
	if (alone && !torn && strcmp(rows, before) != 0)
		sim_violation("undone, and the rows of its steps are %s instead of %s", rows, before);
}

static void inspect_one(struct store *s, const json_t *doc)
{
	_cleanup_(plan_done) struct plan changes = {0};
	const char *id = json_get_string(doc, "id"), *state = json_get_string(doc, "state"),
		   *file = json_get_string(doc, "file");
	enum deployment_state found = DEPLOYMENT_PREPARING;
	for (int i = 0; i <= DEPLOYMENT_PARKED; i++)
		if (strcmp(deployment_state_name((enum deployment_state)i), state) == 0)
			found = (enum deployment_state)i;
	if (file && strcmp(file, "contender") == 0) {
		world->seen.contender_found = true;
		world->seen.contender_state = found;
		return;
	}
	if (file && strcmp(file, "prelude") == 0)
		return;
	world->seen.found = true;
	world->seen.final_state = found;
	world->seen.final_status = (int)json_get_int(doc, "exit_status", -1);
	world->seen.cleaned = json_get_bool(doc, "cleaned", false);
	const json_t *left = json_object_get(doc, "left_over");
	for (size_t i = 0; i < json_array_size(left); i++)
		append_line(world->seen.named, sizeof(world->seen.named),
		            json_get_string(json_array_get(left, i), "target"),
		            json_get_string(json_array_get(left, i), "path"));
	if (store_change_list(s, id, &changes, NULL) == 0)
		for (size_t i = 0; i < changes.count; i++) {
			enum change_state is = changes.changes[i].state;
			world->seen.undo_began = world->seen.undo_began || is == CHANGE_CONFLICT ||
			                         is == CHANGE_BLOCKED || is == CHANGE_UNDONE;
			append_line(world->seen.changed, sizeof(world->seen.changed), changes.changes[i].target,
			            changes.changes[i].path);
		}
	if (found == DEPLOYMENT_UNDONE)
		inspect_undone(s, &changes);
}

/* No secret outlives its deployment. */
static void inspect_sealed(struct store *s)
{
	_cleanup_free_ char *dir = xasprintf("%s/sealed", store_dir(s));
	DIR *d = opendir(dir);
	const struct dirent *entry;
	bool held = (world->seen.found &&
	             (world->seen.final_state == DEPLOYMENT_HELD || world->seen.final_state == DEPLOYMENT_PARKED)) ||
	            (world->seen.contender_found && world->seen.contender_state == DEPLOYMENT_HELD);
	char id[64];
	if (sim_in_postgres && !held && sim_store_has_sealed(id, sizeof(id)))
		sim_violation("sealed secrets are left: %s", id);
	while (d && (entry = readdir(d)) != NULL)
		if (sim_locks_is_private(entry->d_name))
			sim_violation("a private file is left beside the sealed ones: %s", entry->d_name);
		else if (!held && entry->d_name[0] != '.' && world->seen.final_state != DEPLOYMENT_OPEN &&
		         world->seen.final_state != DEPLOYMENT_UNDOING &&
		         world->seen.final_state != DEPLOYMENT_PREPARING)
			sim_violation("sealed secrets are left: %s", entry->d_name);
	if (d)
		closedir(d);
}

static void inspect(struct store *s)
{
	_cleanup_json_ json_t *list = NULL;
	world->seen.found = world->seen.contender_found = world->seen.undo_began = false;
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
	struct engine_result again = {0};
	struct err err = ERR_INIT;
	for (int i = 0; i < world->sc.target_count; i++)
		stree_copy(&before[i], &world->targets[i].now);
	sim_trace("recover, again");
	engine_recover(recover, o, &again, &err);
	if (!check_same_worlds(before))
		sim_violation("recovery, run again, changed something");
}

/* All is decided where a recovery says that it did all it had to; what is left to clean costs nobody anything. */
static void nothing_may_be_open(struct store *s)
{
	_cleanup_json_ json_t *list = NULL;
	const struct store_filter filter = {.undecided = true};
	/* As long as the server takes the dead for connected, or a target's watch moves, another machine takes the owner for alive. */
	if (world->store.dead_count > 0 || (sim_in_postgres && world->said_alive) ||
	    store_deployment_list(s, &filter, &list, NULL) < 0)
		return;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *id = json_get_string(json_array_get(list, i), "id"),
			   *state = json_get_string(json_array_get(list, i), "state");
		if (strcmp(state, "committed") != 0 && strcmp(state, "undone") != 0 && strcmp(state, "parked") != 0)
			sim_violation("recovery ended with 0, and %s is %s", id, state);
	}
}

/* As a person would at first: without the file, which it needs here. It says so, or does what it can. */
static void recover_plainly(const struct engine_options *o)
{
	const struct engine_recover_options plain = {0};
	struct engine_options without = *o;
	struct engine_result result = {0};
	struct err err = ERR_INIT;
	without.deployment = NULL;
	if (sim_below(2) == 0)
		return;
	sim_trace("recover, without the file");
	engine_recover(&plain, &without, &result, &err);
	if (result.exit_status == 0)
		nothing_may_be_open(o->store);
}

/* One step of the deployment as a workflow would give it. */
static json_t *job_deployment(int index)
{
	json_t *d = json_loads(world->sc.deployment, 0, NULL);
	json_t *step = json_incref(json_array_get(json_object_get(d, "steps"), (size_t)index));
	json_object_set_new(d, "steps", json_pack("[o]", step));
	return d;
}

/* As a person reviews a plan, while another one is at work on the target. */
static bool plan_first(const json_t *deployment, const struct engine_options *o, char digest[65])
{
	struct engine_result plan = {0};
	struct err err = ERR_INIT;
	if (engine_plan(DEPLOYMENT_UNREAD(deployment), o, &plan, &err) < 0 || plan.exit_status != 0)
		return false;
	snprintf(digest, 65, "%s", plan.digest);
	sim_person_comes();
	world->person_between = world->person_came;
	return true;
}

/* One that others know by its file, or that has nothing sealed, cannot wait. */
static bool may_wait(void)
{
	const struct scenario *sc = &world->sc;
	return sim_waits && !world->in_prelude && !sc->unsealed && !sc->machine_lost && !sc->moved && !sc->real &&
	       sc->contender != CONTENDER_TAKES_OVER;
}

/* It is parked, and goes on at once: people have agreed. */
static void deploy(json_t *deployment, const struct engine_options *o, struct engine_result *result, struct err *err)
{
	bool waits = may_wait();
	if (waits)
		json_array_insert_new(json_object_get(deployment, "steps"), 0, json_pack("{s:s}", "step", "wait"));
	engine_deploy(DEPLOYMENT_UNREAD(deployment), o, result, err);
	if (!waits || result->state != DEPLOYMENT_PARKED)
		return;
	_cleanup_free_ char *id = xstrdup(result->id);
	struct engine_options again = *o;
	again.expect_digest = NULL;
	sim_step("continue");
	engine_result_done(result);
	engine_continue(id, &again, result, err);
}

static void live(enum role role, int slot, int machine, bool then_inspect)
{
	struct wait wait = WAIT_INIT;
	struct err err = ERR_INIT;
	struct engine_result result = {0};
	struct outcome *outcome = role == ROLE_DEPLOY || role == ROLE_FINISH ? &world->first
	                          : role == ROLE_CONTENDER                   ? &world->contender
	                                                                     : &world->last;
	_cleanup_free_ char *dir = sim_state_dir(machine);
	struct store *store = NULL;
	sim_slot = slot;
	sim_machine = machine;
	sim_role = role;
	sim_install();
	if (world->sc.cancel_count > 0)
		wait.cancel_fd = cancel_install(&err);
	sim_step("start");
	store_after_change = on_change;
	memset(outcome, 0, sizeof(*outcome));
	world->mark_op = 0;
	world->said_alive = false;
	int r = sim_in_postgres ? journal_open(dir, &store, &err) : store_open(dir, sim_vfs_name, &store, &err);
	if (r < 0) {
		result.exit_status = role == ROLE_RECOVER || role == ROLE_ROLLBACK || role == ROLE_FINISH ? 4 : 2;
		result.state = DEPLOYMENT_REFUSED;
		fill(outcome, &result, &err);
		_exit(0);
	}
	struct engine_options o = {.store = store,
	                           .wait = &wait,
	                           .seal = !world->sc.unsealed,
	                           .report = say,
	                           .target_kinds = sim_target_kinds,
	                           .make_target = target_config_make,
	                           .find_step = sim_find_step,
	                           .find_change = provider_find_change};
	bool contends = role == ROLE_CONTENDER && world->sc.contender == CONTENDER_DEPLOYS;
	json_t *deployment = json_loads(world->in_prelude ? world->sc.prelude
	                                : contends        ? world->sc.contender_deployment
	                                                  : world->sc.deployment,
	                                0, NULL);
	struct engine_recover_options recover = {0};
	struct deployment file = {.json = deployment};
	bool recovers = role == ROLE_RECOVER || role == ROLE_CONTENDER;
	if (world->sc.tells) {
		o.resolve = sim_real_resolve;
		o.resolve_context = deployment;
	}
	if (world->sc.unsealed)
		o.deployment = &file;
	if (role == ROLE_DEPLOY && world->sc.goes_back && !world->in_prelude) {
		o.deployment = &file;
		engine_rollback(world->sc.back_to ? NULL : world->before_id, world->sc.back_to, NULL, &o, &result,
		                &err);
	} else if (role == ROLE_DEPLOY) {
		char digest[65];
		if (world->sc.expects && !world->in_prelude && plan_first(deployment, &o, digest))
			o.expect_digest = digest;
		deploy(deployment, &o, &result, &err);
	} else if (role == ROLE_JOB_STEP || role == ROLE_FINISH) {
		o.job_key = "job";
		o.runner_pid = RUNNER_PID;
		if (role == ROLE_JOB_STEP)
			engine_job_step(DEPLOYMENT_UNREAD(job_deployment(world->job_step)), &o, &result, &err);
		else
			engine_finish(world->job_status, NULL, &o, &result, &err);
	} else if (role == ROLE_CONTENDER && world->sc.contender == CONTENDER_DEPLOYS) {
		o.lock_wait_ms = world->sc.contender_wait_ms;
		engine_deploy(DEPLOYMENT_UNREAD(deployment), &o, &result, &err);
	} else if (recovers) {
		bool moved = machine == 1 && world->sc.moved;
		if (sim_locks_need_file(machine))
			recover.deployment = &file;
		if (moved)
			file.json = json_loads(world->sc.moved, 0, NULL);
		sim_takeover = recover.takeover = o.consent = sim_locks_take_over(machine);
		if (role == ROLE_RECOVER && sim_locks_need_file(machine) && machine == 0)
			recover_plainly(&o);
		engine_recover(&recover, &o, &result, &err);
		if (role == ROLE_RECOVER && result.exit_status == 0)
			nothing_may_be_open(store);
		if (then_inspect)
			recover_again(&recover, &o);
	} else if (role == ROLE_ROLLBACK) {
		engine_rollback(NULL, NULL, NULL, &o, &result, &err);
	}
	fill(outcome, &result, &err);
	if (world->in_prelude) {
		static char rows[ROWS_MAX];
		list_rows(store, rows, sizeof(rows));
		world->rows = sim_strdup(rows);
	}
	if (role == ROLE_DEPLOY)
		world->ended_ms = world->mono_ms;
	if (then_inspect)
		inspect(store);
	_exit(0);
}

pid_t sim_start(enum role role, int slot, int machine, bool then_inspect)
{
	world->slots[slot] = (struct slot){.pid = world->next_pid++, .alive = true, .machine = machine};
	if (role == ROLE_CONTENDER)
		world->slots[slot].alive = false; /* until its moment comes */
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
		sim_await_turn();
	}
	live(role, slot, machine, then_inspect);
	_exit(0);
}

void sim_ended(int slot, int machine, int status, bool *ret_died)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	*ret_died = code != 0;
	world->slots[slot].alive = false;
	sim_vfs_process_ended(slot);
	sim_store_process_ended(slot);
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
bool sim_run_alone(enum role role, int machine, bool then_inspect)
{
	int status;
	bool died;
	world->turn = 0;
	/* The processes of a job count their operations together: a death strikes one of them. */
	if (role != ROLE_JOB_STEP && role != ROLE_FINISH)
		world->generation_ops = 0;
	pid_t pid = sim_start(role, 0, machine, then_inspect);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	sim_ended(0, machine, status, &died);
	return !died;
}
