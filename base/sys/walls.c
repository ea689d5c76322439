#include "base/sys/walls.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

/* One request at a time; the thread behind the walls waits for the next. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int rules;
	bool stand, answered;
	const struct proc_options *options; /* NULL: nothing is asked */
	struct proc *proc;
	struct err *err;
	int result;
} walls = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .rules = -1};

static void answer(int result)
{
	walls.result = result;
	walls.options = NULL;
	walls.answered = true;
	pthread_cond_broadcast(&walls.changed);
}

static void *serve(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&walls.lock);
	int r = landlock_enter(walls.rules, walls.err);
	answer(r);
	while (r >= 0) {
		while (walls.options == NULL)
			pthread_cond_wait(&walls.changed, &walls.lock);
		answer(proc_spawn(walls.options, walls.proc, walls.err));
	}
	pthread_mutex_unlock(&walls.lock);
	return NULL;
}

/* The lock is held. */
static int await_answer(void)
{
	while (!walls.answered)
		pthread_cond_wait(&walls.changed, &walls.lock);
	walls.answered = false;
	walls.err = NULL;
	return walls.result;
}

/* Signals are for the threads that were there before. */
static int start_thread(struct err *err)
{
	sigset_t all, former;
	pthread_t thread;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &former);
	int r = pthread_create(&thread, NULL, serve, NULL);
	pthread_sigmask(SIG_SETMASK, &former, NULL);
	if (r != 0)
		return err_errno(err, r, "start a thread");
	pthread_detach(thread);
	return 0;
}

int walls_raise(const struct landlock_plan *plan, struct err *err)
{
	_cleanup_close_ int rules = landlock_prepare(plan, err);
	if (rules < 0)
		return rules;
	pthread_mutex_lock(&walls.lock);
	walls.rules = rules;
	walls.err = err;
	int r = start_thread(err);
	if (r >= 0)
		r = await_answer();
	walls.stand = r >= 0;
	walls.rules = -1;
	pthread_mutex_unlock(&walls.lock);
	return r;
}

bool walls_stand(void)
{
	return walls.stand;
}

int walls_spawn(const struct proc_options *options, struct proc *ret, struct err *err)
{
	if (!walls.stand)
		return proc_spawn(options, ret, err);
	pthread_mutex_lock(&walls.lock);
	walls.proc = ret;
	walls.err = err;
	walls.options = options;
	pthread_cond_broadcast(&walls.changed);
	int r = await_answer();
	pthread_mutex_unlock(&walls.lock);
	return r;
}

void walls_close_process(void)
{
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
