#include "base/core/thread.h"

#include <signal.h>

enum { STACK = 1 << 20 };

int thread_start(pthread_t *ret, void *(*run)(void *context), void *context)
{
	pthread_attr_t attr;
	sigset_t all, former;
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_sigmask(SIG_SETMASK, &all, &former);
	int r = pthread_create(ret, &attr, run, context);
	pthread_sigmask(SIG_SETMASK, &former, NULL);
	pthread_attr_destroy(&attr);
	return r;
}
