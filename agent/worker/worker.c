/* worker: `davit worker`, one job. The first line of standard input is the job, later ones are cancels; from a listener
 * that was started later they come as a signal (agent/listener/handover.h describes the messages, and the exit status). `davit worker clear ID` removes what a job whose worker died left
 * on a Docker engine, `davit worker deliver STATE_DIR ID` sends a result that was kept (kept.h), `davit worker sweep` work areas that take too much (sweep.h). */
#include "agent/worker/worker.h"

#include "agent/service/wire.h"
#include "agent/worker/background.h"
#include "agent/worker/containers/containers.h"
#include "agent/worker/matcher.h"
#include "agent/worker/worker_priv.h"
#include "agent/worker/kept.h"
#include "agent/worker/sweep.h"
#include "agent/worker/message.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/sys/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
	FIRST_LINE_MS = 60000,
	READ_CHUNK = 1 << 16,
	EXIT_BASE = 100,
	EXIT_NOTHING = 0,
	EXIT_UNFINISHED = 1,
	EXIT_KEPT = 110,
	EXIT_ABANDONED = 5
};

/* ---- the first line ---- */

/* 0: a line; 1: the input ended without one. Bytes after the line stay in `input`. */
static int read_first_line(struct str *input, struct err *err)
{
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = clock_mono_ms() + FIRST_LINE_MS;
	for (size_t looked = 0;;) {
		if (input->len > looked && memchr(input->data + looked, '\n', input->len - looked) != NULL)
			return 0;
		looked = input->len;
		int r = wait_fd(&w, STDIN_FILENO, POLLIN, err);
		if (r < 0)
			return err_wrap(err, r, "wait for the job");
		char *room = str_reserve(input, READ_CHUNK);
		if (room == NULL)
			return err_set(err, ERR_LIMIT, "the job's message is larger than %d MiB",
			               JOB_MESSAGE_MAX >> 20);
		ssize_t n = read(STDIN_FILENO, room, READ_CHUNK);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return err_errno(err, errno, "read the job");
		if (n == 0)
			return input->len == 0 ? 1
			                       : err_set(err, ERR_PROTOCOL, "the job's message ended in the middle");
		if (n > 0)
			input->len += (size_t)n;
	}
}

static int read_job(struct job *j, struct err *err)
{
	_cleanup_json_ json_t *document = NULL;
	_cleanup_(str_done) struct str input = STR_SECRET_INIT(JOB_MESSAGE_MAX);
	int r = read_first_line(&input, err);
	if (r != 0)
		return r;
	size_t len = (size_t)((char *)memchr(input.data, '\n', input.len) - input.data);
	r = json_parse(input.data, len, JOB_MESSAGE_MAX, &document, err);
	if (r < 0)
		return r;
	j->message = json_incref(json_get_object(document, "message"));
	j->settings = json_incref(json_get_object(document, "settings"));
	if (j->message == NULL || j->settings == NULL)
		return err_set(err, ERR_PROTOCOL, "the first line has no message or no settings");
	j->watched = json_get_bool(j->settings, "watched", false);
	if (j->watched) /* the end of its input tells that nobody reads any more */
		signal(SIGPIPE, SIG_IGN);
	j->input = (struct str)STR_INIT(1 << 16);
	str_append_n(&j->input, input.data + len + 1, input.len - len - 1);
	return run_job_read(j->message, &j->run, err);
}

/* ---- the command ---- */

static void job_done(struct job *j)
{
	feed_free(j->feed);
	reports_free(j->reports);
	json_decref(telemetry_end(j));
	http_free(j->http);
	for (size_t i = 0; i < j->background_count; i++)
		background_free(j->backgrounds[i]);
	free(j->backgrounds);
	for (size_t i = 0; i < j->record_count; i++)
		record_free(j->records[i]);
	free(j->records);
	free(j->posts);
	for (size_t i = 0; i < j->prepared_count; i++)
		prepared_free(j->prepared[i]);
	free(j->prepared);
	json_decref(j->fetched);
	containers_free(j->containers);
	matchers_free(j->matchers);
	run_job_done(&j->run);
	json_t *values[] = {j->message,     j->settings,      j->contexts,   j->github,       j->runner,
	                    j->job_context, j->steps_context, j->global_env, j->defaults_run, j->job_environ,
	                    j->outputs,     j->annotations,   j->proxies};
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		json_decref(values[i]);
	char *texts[] = {j->work,       j->pipeline,    j->workspace,       j->temp,          j->files, j->tools,
	                 j->event_path, j->tracking_id, j->environment_url, j->undo_continues};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		free(texts[i]);
	closep(&j->signal_fd);
	if (j->area_fd > 0)
		closep(&j->area_fd);
	str_done(&j->input);
	str_done(&j->log.block);
	json_decref(j->prepend_path);
	json_decref(j->hook_state);
}

static int connect_services(struct job *j, struct err *err)
{
	wire_set_runner_version(job_setting(j, "version"));
	struct http_config config = wire_http_config();
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = clock_mono_ms() + FIRST_LINE_MS;
	j->http = http_new(&config, err);
	int r = j->http == NULL ? err->code : runservice_prepare(j->http, &j->run, &w, err);
	if (r < 0)
		return r;
	j->reports = reports_new();
	reports_add_of_message(j->reports, j->http, &j->run, j->message, job_setting(j, "agent_name"));
	const char *feed = message_connection_data(j->message, "FeedStreamUrl");
	if (feed != NULL && j->run.locations == NULL) /* else the older services' way, beside the timeline */
		j->feed = feed_new(j->http, feed, j->run.token);
	return 0;
}

/* Fails a job that cannot begin, with the reason as the annotation. */
static enum report fail_job(struct job *j, const struct err *why, struct err *err)
{
	char line[2048];
	_cleanup_json_ json_t *body = runservice_completion(&j->run, "failed");
	_cleanup_free_ char *masked = job_masked(j, err_line(why, line, sizeof(line)));
	runservice_annotate(body, "failure", masked);
	enum result result = RESULT_FAILED;
	return job_send(j, body, &result, kept_write(j, body, result, true), err);
}

static enum report run_job(struct job *j, enum result *ret, struct err *err)
{
	struct err why = ERR_INIT;
	if (connect_services(j, err) < 0)
		return REPORT_FAILED;
	if (job_prepare(j, &why) < 0) {
		log_err(&why);
		*ret = RESULT_FAILED;
		return fail_job(j, &why, err);
	}
	job_take_words(j);
	telemetry_begin(j);
	*ret = job_run(j);
	if (*ret == RESULT_NONE)
		*ret = RESULT_SUCCEEDED;
	enum report end = job_report(j, err);
	*ret = j->result == RESULT_NONE ? RESULT_SUCCEEDED : j->result;
	return end;
}

/* Signals for the agent as a whole reach the listener, which tells us; a terminal's SIGINT must not end the worker
 * under its job. */
static void leave_signals_to_the_listener(struct job *j)
{
	sigset_t words;
	sigemptyset(&words);
	sigaddset(&words, SIGUSR1);
	/* Children get no blocked signals (base/sys/proc.c). */
	if (sigprocmask(SIG_BLOCK, &words, NULL) == 0)
		j->signal_fd = signalfd(-1, &words, SFD_NONBLOCK | SFD_CLOEXEC);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
}

/* Blocks of a log come and go as fast as a step prints. Their memory is reused instead of freed and cleared again. */
static void keep_blocks(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, 2 * RESULTS_BLOCK);
	mallopt(M_TRIM_THRESHOLD, 2 * JOB_QUEUE_MAX);
#endif
}

/* A service manager may have put the listener before others, by its nice value and when memory runs out. Jobs do not share that: the
 * listener has to renew their leases while they use all of the machine. */
static void leave_priority(void)
{
	errno = 0;
	if (getpriority(PRIO_PROCESS, 0) < 0 && errno == 0)
		(void)setpriority(PRIO_PROCESS, 0, 0);
	char text[16] = "";
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n > 0 && text[0] == '-' && pwrite(fd, "0", 1, 0) < 0)
		log_debug("worker", "the kernel keeps this worker when memory runs out: %s", strerror(errno));
}

static int exit_status(enum report end, enum result result)
{
	switch (end) {
	case REPORT_SENT:
		return EXIT_BASE + (int)result;
	case REPORT_KEPT:
		return EXIT_KEPT + (int)result;
	case REPORT_LOST:
		return EXIT_BASE + EXIT_ABANDONED;
	default:
		return EXIT_UNFINISHED;
	}
}

static int run_one(void)
{
	struct err err = ERR_INIT;
	struct job j = {
		.input_fd = STDIN_FILENO, .signal_fd = -1, .prepend_path = json_object(), .mask = mask_process()};
	enum result result = RESULT_FAILED;
	keep_blocks();
	walls_close_process();
	leave_signals_to_the_listener(&j);
	fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
	int r = read_job(&j, &err);
	if (r == 1) {
		job_done(&j);
		return EXIT_NOTHING;
	}
	enum report end = r == 0 ? run_job(&j, &result, &err) : REPORT_FAILED;
	if (end != REPORT_SENT)
		log_err(&err);
	job_done(&j);
	return exit_status(end, result);
}

int worker_run(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "sweep") == 0)
		return sweep_run(argc - 2, argv + 2);
	if (argc == 3 && strcmp(argv[1], "clear") == 0)
		return containers_clear(argv[2]);
	if (argc == 4 && strcmp(argv[1], "deliver") == 0) {
		log_times();
		walls_close_process();
		return kept_deliver(argv[2], argv[3]);
	}
	if (argc > 1) {
		fprintf(stderr, "davit: worker takes no arguments ('%s'); the listener starts it\n", argv[1]);
		return 2;
	}
	log_times();
	leave_priority();
	return run_one();
}
