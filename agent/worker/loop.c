/* loop: one turn of it: the listener's words, the uploads, and what the caller waits for. At the bottom: it calls no part of the
 * job but those that note a cancel. */
#include "agent/worker/background.h"

#include "base/core/clock.h"
#include "base/core/log.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void cancel(struct job *j, const char *reason, int64_t seconds)
{
	j->cancel.serial++;
	j->cancel.shutdown = reason != NULL && strcmp(reason, "shutdown") == 0;
	j->cancel.lease = reason != NULL && strcmp(reason, "lease") == 0;
	j->cancel.deadline_mono_ms = seconds > 0 && !j->cancel.lease ? clock_mono_ms() + MIN(seconds, 86400) * 1000 : 0;
	job_set_result(j, j->cancel.shutdown ? RESULT_FAILED : RESULT_CANCELED);
	/* A cancel beats a failure that came before it: what is left runs under cancelled(). */
	if (!j->cancel.shutdown) {
		j->result = RESULT_CANCELED;
		json_object_set_new(j->job_context, "status", json_string("cancelled"));
	} else {
		job_issue(j, ISSUE_ERROR,
		          "The runner has received a shutdown signal. This can happen when the runner service is "
		          "stopped, "
		          "or a manually started runner is canceled.");
	}
}

void job_take_words(struct job *j)
{
	char *end;
	while (j->input.len > 0 && (end = memchr(j->input.data, '\n', j->input.len)) != NULL) {
		size_t len = (size_t)(end - j->input.data);
		_cleanup_json_ json_t *word = NULL;
		if (json_parse(j->input.data, len, 1 << 16, &word, NULL) == 0 &&
		    json_get_object(word, "cancel") != NULL)
			cancel(j, json_get_string(json_get_object(word, "cancel"), "reason"),
			       json_get_int(json_get_object(word, "cancel"), "timeout_s", 0));
		else
			log_warning("worker", "the listener said something that is not understood");
		str_remove_front(&j->input, len + 1);
	}
}

/* What is there; the end of the input means that the listener is gone, and the job goes on without it. A job that a person watches
 * ends with him. */
static void listen_once(struct job *j)
{
	char buf[4096];
	ssize_t n = read(j->input_fd, buf, sizeof(buf));
	if (n > 0 && str_append_n(&j->input, buf, (size_t)n))
		job_take_words(j);
	else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || j->input.failed)
		j->input_fd = -1;
	if (j->input_fd < 0 && j->watched && !j->deserted) {
		j->deserted = true;
		cancel(j, "shutdown", 0);
	}
}

/* A word from a listener that did not start us. */
static void take_signal(struct job *j)
{
	static const char *const reasons[] = {NULL, "cancelled", "lease", "shutdown"};
	struct signalfd_siginfo info;
	if (read(j->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	const char *reason = reasons[info.ssi_int & 3];
	if (info.ssi_code == SI_QUEUE && (info.ssi_uid == 0 || info.ssi_uid == getuid()) && info.ssi_int > 0 &&
	    reason != NULL)
		cancel(j, reason, info.ssi_int / 4);
	else
		log_warning("worker", "a signal that is not the listener's word was passed over");
}

void job_turn(struct job *j, struct pollfd *extra, size_t count, int64_t max_ms)
{
	if (j->active != NULL) {
		background_yield(j->active, extra, count, max_ms);
		return;
	}
	size_t n = 0, room = count + 3 + background_fd_count(j), own = room, signals = room, live = room, others;
	_cleanup_free_ struct pollfd *fds = xcalloc(room, sizeof(*fds));
	struct err err = ERR_INIT;
	for (; n < count; n++)
		fds[n] = extra[n];
	if (j->input_fd >= 0) {
		own = n;
		fds[n++] = (struct pollfd){.fd = j->input_fd, .events = POLLIN};
	}
	if (j->signal_fd >= 0) {
		signals = n;
		fds[n++] = (struct pollfd){.fd = j->signal_fd, .events = POLLIN};
	}
	if (j->feed != NULL && feed_poll(j->feed, &fds[n], &max_ms))
		live = n++;
	others = n;
	n += background_gather(j, fds + n, &max_ms);
	int64_t now = clock_mono_ms(), due = reports_turn(j->reports, now);
	if (due != 0)
		max_ms = MAX(MIN(max_ms < 0 ? INT64_MAX : max_ms, due - now), 0);
	if (http_step(j->http, fds, n, max_ms, &err) < 0)
		log_debug("worker", "%s", err.frames[0].text);
	for (size_t i = 0; i < count; i++)
		extra[i].revents = fds[i].revents;
	if (j->feed != NULL)
		feed_turn(j->feed, live < room && fds[live].revents != 0);
	if (own < room && fds[own].revents != 0)
		listen_once(j);
	if (signals < room && fds[signals].revents != 0)
		take_signal(j);
	background_take_turns(j, fds + others);
}
