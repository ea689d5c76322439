#include "base/core/fiber.h"

#include "base/core/mem.h"
#include "base/core/thread.h"

struct fiber {
	void (*run)(struct fiber *f, void *context);
	void *context;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t handed; /* the turn, in either direction */
	bool begun, over;
	bool inside; /* whose turn it is */
};

struct fiber *fiber_new(void (*run)(struct fiber *f, void *context), void *context)
{
	struct fiber *f = xcalloc(1, sizeof(*f));
	f->run = run;
	f->context = context;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->handed, NULL);
	return f;
}

/* With the lock held: hands the turn over and waits for it to come back. */
static void hand_over(struct fiber *f, bool inside)
{
	f->inside = inside;
	pthread_cond_signal(&f->handed);
	while (f->inside == inside)
		pthread_cond_wait(&f->handed, &f->lock);
}

static void *begin(void *context)
{
	struct fiber *f = context;
	pthread_mutex_lock(&f->lock);
	while (!f->inside)
		pthread_cond_wait(&f->handed, &f->lock);
	pthread_mutex_unlock(&f->lock);
	f->run(f, f->context);
	pthread_mutex_lock(&f->lock);
	f->over = true;
	f->inside = false;
	pthread_cond_signal(&f->handed);
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

int fiber_resume(struct fiber *f, struct err *err)
{
	if (!f->begun) {
		int error = thread_start(&f->thread, begin, f);
		if (error != 0)
			return err_errno(err, error, "start a thread");
		f->begun = true;
	}
	pthread_mutex_lock(&f->lock);
	hand_over(f, true);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

void fiber_yield(struct fiber *f)
{
	pthread_mutex_lock(&f->lock);
	hand_over(f, false);
	pthread_mutex_unlock(&f->lock);
}

bool fiber_is_over(const struct fiber *f)
{
	return f->over;
}

void fiber_free(struct fiber *f)
{
	if (f->begun)
		pthread_join(f->thread, NULL);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->handed);
	free(f);
}
