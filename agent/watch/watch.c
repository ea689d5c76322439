#include "agent/watch/watch_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "agent/service/registration.h"
#include "agent/service/wire.h"
#include "base/core/cancel.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/sys/fs.h"
#include "engine/journal/state_dir.h"

enum {
	RETRY_MS = 2000,
	RETRY_MAX_MS = 10 * 60 * 1000,
	LOOK_MS = 500, /* at a process of a watcher before */
	SLEEP_MAX_MS = 60 * 1000,
	REAP_MS = 5000,
	TRIES_ONCE = 8,
};

void place_tell(const struct place *p, const char *what, const char *text)
{
	const json_t *current = place_current(p);
	long long id = (long long)json_get_int(current, "deployment", 0);
	if (p->options->json) {
		_cleanup_json_ json_t *all = json_pack(
			"{s:s, s:s, s:s?, s:I, s:O, s:O, s:O?, s:O?}", "event", what, "repository", p->repository,
			"branch", p->branch, "deployment", (json_int_t)id, "sha", json_object_get(current, "sha"),
			"environment", json_object_get(current, "environment"), "state",
			json_object_get(current, "state"), "davit", json_object_get(current, "davit"));
		json_set_string(all, "text", text);
		_cleanup_free_ char *line = json_text(all);
		puts(line);
		(void)fflush(stdout);
		return;
	}
	_cleanup_(str_done) struct str safe = STR_INIT(1 << 16);
	str_append_safe(&safe, text, strlen(text));
	log_info("watch", "%s: deployment %lld of %.12s is %s: %s", p->shown, id, json_get_string(current, "sha"), what,
	         str_peek(&safe));
}

/* ---- one step of a place ---- */

static int drop(struct place *p, const char *what, const char *text, struct err *err)
{
	place_tell(p, what, text);
	place_sweep(p);
	return place_finish(p, err);
}

static int claim(struct place *p, struct wait *w, struct err *err)
{
	bool ours = false;
	int r = place_claim(p, w, &ours, err);
	/* It was deleted before anybody took it. */
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return drop(p, "left", "it is not at GitHub any more", err);
	}
	if (r < 0)
		return r;
	if (!ours)
		return drop(p, "left", "another one carries it out, or has", err);
	place_tell(p, "taken", "davit carries it out");
	return place_enter(p, "claimed", err);
}

/* What will be no different at the next try. */
static bool is_final(const struct err *err)
{
	return err->code != ERR_NETWORK && err->code != ERR_TIMEOUT && err->code != ERR_CANCELLED &&
	       err->code != ERR_AUTH && err->code != ERR_NO_SPACE && err->code != ERR_IO;
}

static int begin(struct place *p, struct wait *w, struct err *err)
{
	_cleanup_free_ char *refusal = NULL;
	char line[ERR_FRAME_SIZE];
	int r = place_admit(p, w, &refusal, err);
	if (r < 0)
		return r;
	if (refusal != NULL) {
		place_tell(p, "refused", refusal);
		return place_end(p, "error", NULL, refusal, err);
	}
	r = place_fetch(p, w, err);
	if (r == 0)
		r = place_begin(p, err);
	if (r == 0 || !is_final(err))
		return r;
	_cleanup_free_ char *why = xstrdup(err_line(err, line, sizeof(line)));
	err_clear(err);
	return place_end(p, "error", NULL, why, err);
}

/* 1: look again soon. */
static int conclude(struct place *p, struct err *err)
{
	int status = -1;
	if (p->pidfd >= 0) {
		struct pollfd look = {.fd = p->pidfd, .events = POLLIN};
		struct wait w = WAIT_INIT;
		if (poll(&look, 1, 0) <= 0)
			return 1;
		w.deadline_mono_ms = clock_mono_ms() + REAP_MS;
		int r = proc_wait(&p->proc, &w, &status, err);
		proc_done(&p->proc);
		p->proc = (struct proc)PROC_INIT;
		closep(&p->pidfd);
		if (r < 0)
			return r;
	} else if (place_runs(p)) {
		return 1;
	}
	int r = place_conclude(p, status, err);
	if (r != ERR_LOCKED)
		return r;
	err_clear(err);
	return 1;
}

static int report(struct place *p, struct wait *w, struct err *err)
{
	int r = place_report(p, w, err);
	if (r < 0 && is_final(err) && err->code != ERR_PROTOCOL) {
		log_err(err);
		err_clear(err);
		r = 0;
	}
	return r < 0 ? r : drop(p, "ended", json_get_string(place_current(p), "text"), err);
}

/* 0: go on at once; 1: later; < 0: it did not work, and is tried again. */
static int advance(struct place *p, struct wait *w, struct err *err)
{
	const char *phase = place_phase(p);
	bool found = false;
	p->found_none = false;
	if (strcmp(phase, "claiming") == 0)
		return claim(p, w, err);
	if (strcmp(phase, "claimed") == 0)
		return begin(p, w, err);
	if (strcmp(phase, "running") == 0)
		return conclude(p, err);
	if (strcmp(phase, "ended") == 0)
		return report(p, w, err);
	int r = place_find(p, w, &found, err);
	p->found_none = r == 0 && !found;
	return r < 0 ? r : !found;
}

/* The same trouble is told once. */
static void tell_failure(struct place *p, const struct err *err)
{
	char line[ERR_FRAME_SIZE];
	const char *text = err_line(err, line, sizeof(line));
	if (p->failures > 1 && p->last_told != NULL && strcmp(p->last_told, text) == 0)
		return;
	free(p->last_told);
	p->last_told = xstrdup(text);
	log_warning("watch", "%s: %s", p->shown, text);
	if (err->hint[0] != '\0')
		log_warning("watch", "  %s", err->hint);
}

static void give_up(struct place *p, const struct err *err)
{
	if (!p->options->once || (!is_final(err) && err->code != ERR_AUTH && p->failures < TRIES_ONCE))
		return;
	p->given_up = true;
	p->bad++;
}

static void step(struct place *p, struct wait *w)
{
	struct err err = ERR_INIT;
	int64_t now = clock_mono_ms(), pause = 0;
	int r = advance(p, w, &err);
	if (r >= 0)
		p->failures = 0;
	if (r == 1) {
		bool runs = strcmp(place_phase(p), "running") == 0;
		pause = registration_pace(runs ? LOOK_MS : p->interval_ms);
		pause = runs ? pause : MAX(pause, p->asked_pause_ms);
	}
	if (r < 0 && err.code != ERR_CANCELLED) {
		p->failures++;
		tell_failure(p, &err);
		give_up(p, &err);
		pause = MIN((int64_t)RETRY_MS << MIN(p->failures - 1, 10), (int64_t)RETRY_MAX_MS);
		int64_t closed = api_pause_ms(p->api);
		pause = registration_pace(pause);
		pause = MAX(pause, closed);
	}
	p->due_mono_ms = now + pause;
}

/* ---- the loop ---- */

static bool is_all_done(const struct place_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (!list->items[i].given_up && (!list->items[i].found_none || place_current(&list->items[i]) != NULL))
			return false;
	return true;
}

static bool any_runs(const struct place_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].pidfd >= 0)
			return true;
	return false;
}

static void sleep_until_due(const struct place_list *list, int cancel_fd)
{
	struct pollfd fds[64] = {{.fd = cancel_fd, .events = POLLIN}};
	nfds_t count = 1;
	int64_t now = clock_mono_ms(), until = now + SLEEP_MAX_MS;
	for (size_t i = 0; i < list->count; i++) {
		const struct place *p = &list->items[i];
		if (p->pidfd >= 0 && count < ARRAY_SIZE(fds))
			fds[count++] = (struct pollfd){.fd = p->pidfd, .events = POLLIN};
		else if (!p->given_up)
			until = MIN(until, p->due_mono_ms);
	}
	if (until > now)
		(void)poll(fds, count, (int)(until - now));
}

static void take_turn(struct place_list *list, int cancel_fd)
{
	struct wait w = WAIT_INIT;
	w.cancel_fd = cancel_fd;
	for (size_t i = 0; i < list->count && !cancel_requested(); i++) {
		struct place *p = &list->items[i];
		bool ended = p->pidfd >= 0 && poll(&(struct pollfd){.fd = p->pidfd, .events = POLLIN}, 1, 0) > 0;
		if (!p->given_up && (ended || clock_mono_ms() >= p->due_mono_ms))
			step(p, &w);
	}
}

/* What runs is told to stop, which takes it back; its end is told, as far as that can be had now. The rest is for the next start. */
static void wind_up(struct place_list *list)
{
	struct wait w = WAIT_INIT;
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].pidfd >= 0)
			proc_signal(&list->items[i].proc, SIGTERM);
	while (any_runs(list)) {
		sleep_until_due(list, -1);
		for (size_t i = 0; i < list->count; i++)
			if (list->items[i].pidfd >= 0)
				step(&list->items[i], &w);
	}
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(place_phase(&list->items[i]), "ended") == 0) {
			struct wait limit = wait_within(&w, WATCH_ASK_MS);
			step(&list->items[i], &limit);
		}
}

static int lock_state(int *ret_fd, struct err *err)
{
	_cleanup_free_ char *state = state_dir(err), *dir = state != NULL ? fs_join(state, "watch") : NULL,
			    *path = dir != NULL ? fs_join(dir, "lock") : NULL;
	if (path == NULL)
		return err->code;
	int r = fs_mkdirs(AT_FDCWD, dir, 0700, err);
	_cleanup_close_ int fd = r == 0 ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
	if (r == 0 && fd < 0)
		return err_errno(err, errno, "open %s", path);
	if (r == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
		r = err_set(err, ERR_LOCKED, "another davit watch runs with the state directory %s", state);
		return err_hint(err, r,
		                "one process watches any number of repositories; DAVIT_STATE names another directory");
	}
	*ret_fd = r == 0 ? take_fd(&fd) : -1;
	return r;
}

static void greet(const struct place_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		log_info("watch", "watching %s: %s", list->items[i].shown,
		         list->items[i].branch != NULL ? "its commits" : "its deployments");
}

static int watch(struct place_list *list, const struct watch_options *options, int cancel_fd)
{
	int bad = 0;
	greet(list);
	while (!cancel_requested() && !(options->once && is_all_done(list))) {
		take_turn(list, cancel_fd);
		if (!cancel_requested() && !(options->once && is_all_done(list)))
			sleep_until_due(list, cancel_fd);
	}
	if (cancel_requested())
		wind_up(list);
	for (size_t i = 0; i < list->count; i++)
		bad += list->items[i].bad;
	return options->once && bad > 0 ? 1 : 0;
}

int watch_run(const struct watch_options *options, int cancel_fd, struct err *err)
{
	struct http_config config = wire_http_config();
	config.user_agent = NULL; /* REST alone: under our own name */
	struct place_list list = {0};
	_cleanup_close_ int lock = -1;
	_cleanup_(http_freep) struct http *http = NULL;
	int r = lock_state(&lock, err);
	if (r == 0) {
		http = http_new(&config, err);
		r = http == NULL ? err->code : place_list_read(options, http, &list, err);
	}
	int status = r == 0 ? watch(&list, options, cancel_fd) : r;
	place_list_done(&list);
	return status;
}
