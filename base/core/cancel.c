#include "base/core/cancel.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* State of the signal handler, which uses only lock-free atomics and write(2). */
static atomic_int cancel_event = -1;
static atomic_int sigint_count;
static atomic_bool requested;
static atomic_bool undoing; /* after cancel_reset */
static atomic_bool unheard; /* a signal came meanwhile and woke nobody */

static void wake_up(void)
{
	uint64_t one = 1;
	atomic_store(&requested, true);
	ssize_t n = write(atomic_load(&cancel_event), &one, sizeof(one));
	(void)n;
}

static void on_signal(int signal)
{
	int saved = errno;
	bool wake;
	if (signal == SIGINT)
		wake = atomic_fetch_add(&sigint_count, 1) + 1 >= 2 || !atomic_load(&undoing);
	else
		wake = !atomic_load(&undoing);
	if (wake)
		wake_up();
	else
		atomic_store(&unheard, true);
	errno = saved;
}

int cancel_install(struct err *err)
{
	int fd = atomic_load(&cancel_event);
	if (fd < 0) {
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd < 0)
			return err_errno(err, errno, "make an event descriptor");
		atomic_store(&cancel_event, fd);
	}
	/* Even if a shell's `&` left SIGINT ignored: a cancel is a cancel. */
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	sigemptyset(&action.sa_mask);
	/* A closed terminal and a dropped login (HUP) are no reason to stop halfway either. An ignored HUP was requested: nohup. */
	struct sigaction hup;
	bool nohup = sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler == SIG_IGN;
	if (sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0 ||
	    sigaction(SIGQUIT, &action, NULL) < 0 || (!nohup && sigaction(SIGHUP, &action, NULL) < 0))
		return err_errno(err, errno, "watch signals");
	/* The reader of our output may go away; we continue. Children get the default back. */
	signal(SIGPIPE, SIG_IGN);
	return fd;
}

int cancel_sigint_count(void)
{
	return atomic_load(&sigint_count);
}

bool cancel_requested(void)
{
	return atomic_load(&requested);
}

void cancel_again(void)
{
	atomic_store(&undoing, false);
	if (atomic_exchange(&unheard, false))
		wake_up();
}

void cancel_reset(void)
{
	uint64_t count;
	int fd = atomic_load(&cancel_event);
	atomic_store(&undoing, true);
	atomic_store(&unheard, false);
	atomic_store(&requested, false);
	if (fd >= 0) {
		ssize_t n = read(fd, &count, sizeof(count));
		(void)n;
	}
}
