/* Threads that work beside the main one. */
#pragma once
#include <pthread.h>

/* Starts `run` with a stack of 1 MiB, so that many can be had. It takes no signals: they are the main thread's. Returns 0, or an errno. */
int thread_start(pthread_t *ret, void *(*run)(void *context), void *context);
