#include "agent/scale/scale_priv.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "agent/service/registration.h"
#include "agent/service/urls.h"
#include "agent/service/wire.h"
#include "base/core/cancel.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "engine/journal/state_dir.h"

enum { LOOK_MS = 500, RETRY_MS = 5000, RETRY_MAX_MS = 10 * 60 * 1000 };

/* All of one service; an owner's are asked for again and again. */
static int read_urls(struct scale *s, char **ret_api, struct err *err)
{
	for (size_t i = 0; i < s->options->urls.count; i++) {
		_cleanup_(github_url_done) struct github_url u = {0};
		int r = github_url_parse(s->options->urls.items[i], &u, err);
		if (r == 0 && u.kind == GITHUB_ENTERPRISE)
			r = err_set(err, ERR_UNSUPPORTED, "%s is an enterprise: name repositories or an owner", u.url);
		if (r == 0 && *ret_api != NULL && strcmp(*ret_api, u.api) != 0)
			r = err_set(err, ERR_INVALID, "%s is at another service than the one before", u.url);
		if (r == 0 && u.kind != GITHUB_REPOSITORY && s->owner != NULL)
			r = err_set(err, ERR_INVALID, "a second owner: %s", u.url);
		if (r < 0)
			return r;
		if (*ret_api == NULL)
			*ret_api = xstrdup(u.api);
		if (u.kind == GITHUB_REPOSITORY)
			strv_add(&s->repositories, u.path);
		else
			s->owner = xstrdup(u.path);
	}
	return 0;
}

static int lock_state(struct scale *s, int *ret_fd, struct err *err)
{
	_cleanup_free_ char *state = state_dir(err);
	if (state == NULL)
		return err->code;
	s->dir = fs_join(state, "autoscale");
	_cleanup_free_ char *path = fs_join(s->dir, "lock");
	int r = fs_mkdirs(AT_FDCWD, s->dir, 0700, err);
	_cleanup_close_ int fd = r == 0 ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
	if (r == 0 && (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0))
		r = err_set(err, ERR_LOCKED, "another davit agent autoscale runs with the state directory %s", state);
	*ret_fd = r == 0 ? take_fd(&fd) : -1;
	return r;
}

/* ---- the loop ---- */

static size_t count_free(const struct scale *s)
{
	return s->count >= (size_t)s->options->slots ? 0 : (size_t)s->options->slots - s->count;
}

static size_t count_waiting(const struct scale *s, const char *repository)
{
	size_t count = 0;
	for (size_t i = 0; i < s->count; i++)
		count +=
			s->runners[i].lives && !s->runners[i].busy && strcmp(s->runners[i].repository, repository) == 0;
	return count;
}

static void tell_failure(const struct scale *s, const struct runner *r, const struct err *err)
{
	char line[ERR_FRAME_SIZE];
	scale_tell(s, "trouble", r, "%s%s%s", err_line(err, line, sizeof(line)), err->hint[0] != '\0' ? "; " : "",
	           err->hint);
}

/* What the service says of one repository is no reason to leave the others alone: it may be gone, or closed to us. */
static bool is_of_one(const struct scale *s, const struct err *err)
{
	return api_pause_ms(s->api) == 0 && err->foreign >= 403 && err->foreign < 500 && err->foreign != 407 &&
	       err->foreign != 408 && err->foreign != 429;
}

/* The first failure of a streak is told. */
static void leave_out(struct scale *s, const char *repository, struct err *err)
{
	if (!strv_has(&s->left_out, repository)) {
		tell_failure(s, NULL, err);
		strv_add(&s->left_out, repository);
	}
	err_clear(err);
}

static void take_in(struct scale *s, const char *repository)
{
	struct strv *v = &s->left_out;
	for (size_t i = 0; i < v->count; i++)
		if (strcmp(v->items[i], repository) == 0) {
			free(v->items[i]);
			v->items[i--] = v->items[--v->count];
		}
}

/* True: a slot came free. */
static bool clear_ended(struct scale *s, struct wait *w)
{
	bool any = false;
	for (size_t i = s->count; i-- > 0;) {
		struct err err = ERR_INIT;
		struct runner *r = &s->runners[i];
		runner_look(r);
		if (r->lives)
			continue;
		if (api_pause_ms(s->api) > 0 || runner_clear(s, r, w, &err) < 0) {
			if (err.code != 0)
				tell_failure(s, r, &err);
			continue;
		}
		runner_done(r);
		*r = s->runners[--s->count];
		any = true;
	}
	return any;
}

/* One for each repository in turn, so that none has all the slots while another waits. */
static int serve(struct scale *s, const struct strv *repositories, size_t *wanted, struct wait *w, struct err *err)
{
	bool any = true;
	int r = 0;
	while (r == 0 && any && !s->stopping) {
		any = false;
		for (size_t i = 0; r == 0 && i < repositories->count && count_free(s) > 0; i++) {
			if (wanted[i] <= count_waiting(s, repositories->items[i]))
				continue;
			r = runner_start(s, repositories->items[i], w, err);
			any = true;
			if (r < 0 && is_of_one(s, err)) {
				leave_out(s, repositories->items[i], err);
				wanted[i] = 0;
				r = 0;
				/* Its slot is another one's. */
				(void)clear_ended(s, w);
			}
		}
	}
	return r;
}

static size_t wanted_of(const struct strv *repositories, const size_t *wanted, const char *repository)
{
	for (size_t i = 0; i < repositories->count; i++)
		if (strcmp(repositories->items[i], repository) == 0)
			return wanted[i];
	return 0;
}

/* All slots are taken, and a job of another repository waits: an idle runner whose own repository wants none makes room. One that has just been given a
 * job ends that first. */
static void make_room(struct scale *s, const struct strv *repositories, const size_t *wanted)
{
	bool waits = false;
	for (size_t i = 0; i < repositories->count; i++)
		waits |= wanted[i] > count_waiting(s, repositories->items[i]);
	for (size_t i = 0; waits && count_free(s) == 0 && i < s->count; i++) {
		struct runner *r = &s->runners[i];
		if (!r->lives || r->busy || r->told || wanted_of(repositories, wanted, r->repository) > 0)
			continue;
		r->told = true;
		scale_tell(s, "room", r, "no job of %s waits, and it makes room", r->repository);
		(void)kill(r->proc.pid, SIGTERM);
		return;
	}
}

static int look(struct scale *s, struct wait *w, struct err *err)
{
	_cleanup_(strv_done) struct strv repositories = {0};
	int r = demand_repositories(s, w, &repositories, err);
	_cleanup_free_ size_t *wanted = xcalloc(repositories.count + 1, sizeof(*wanted));
	for (size_t i = 0; r == 0 && i < repositories.count; i++) {
		r = demand_of(s, repositories.items[i], w, &wanted[i], err);
		if (r == 0 && wanted[i] == 0)
			take_in(s, repositories.items[i]);
		if (r == 0 || !is_of_one(s, err))
			continue;
		leave_out(s, repositories.items[i], err);
		wanted[i] = 0;
		r = 0;
	}
	if (r == 0)
		r = serve(s, &repositories, wanted, w, err);
	if (r == 0)
		make_room(s, &repositories, wanted);
	return r;
}

static void signal_all(const struct scale *s)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->runners[i].lives)
			(void)kill(s->runners[i].proc.pid, SIGTERM);
}

static void rest(const struct scale *s, int cancel_fd, int64_t ms)
{
	struct pollfd fds[64] = {{.fd = cancel_fd, .events = POLLIN}};
	nfds_t count = 1;
	for (size_t i = 0; i < s->count && count < ARRAY_SIZE(fds); i++)
		if (s->runners[i].pidfd >= 0)
			fds[count++] = (struct pollfd){.fd = s->runners[i].pidfd, .events = POLLIN};
	if (ms > 0)
		(void)poll(fds, count, (int)ms);
}

/* Idle ones end at once, the others behind their job: a runner that is told twice cancels it, so only a second signal tells it twice. */
static void wind_up(struct scale *s)
{
	struct wait w = WAIT_INIT;
	s->stopping = true;
	scale_tell(s, "stopping", NULL, "told to stop: %zu runners end their jobs", s->count);
	cancel_reset();
	cancel_again();
	signal_all(s);
	for (int tries = 0; s->count > 0 && tries < 10;) {
		struct wait limit = wait_within(&w, 60000);
		if (cancel_requested()) {
			cancel_reset();
			cancel_again();
			signal_all(s);
		}
		clear_ended(s, &limit);
		bool lives = false;
		for (size_t i = 0; i < s->count; i++)
			lives |= s->runners[i].lives;
		tries += !lives;
		if (s->count > 0)
			rest(s, -1, LOOK_MS);
	}
}

static int64_t after_failure(const struct scale *s, const struct err *err, int failures)
{
	int64_t pause = MIN((int64_t)RETRY_MS << MIN(failures - 1, 10), (int64_t)RETRY_MAX_MS),
		closed = api_pause_ms(s->api);
	if (err->code != ERR_CANCELLED)
		tell_failure(s, NULL, err);
	pause = registration_pace(pause);
	return MAX(pause, closed);
}

static void scale_loop(struct scale *s, int cancel_fd)
{
	int failures = 0;
	int64_t due = 0;
	struct wait w = WAIT_INIT;
	w.cancel_fd = cancel_fd;
	while (!cancel_requested()) {
		struct err err = ERR_INIT;
		if (clear_ended(s, &w))
			due = 0;
		if (clock_mono_ms() >= due) {
			int r = look(s, &w, &err);
			failures = r < 0 ? failures + 1 : 0;
			due = clock_mono_ms() +
			      (r < 0 ? after_failure(s, &err, failures) : registration_pace(s->options->interval_ms));
		}
		int64_t left = due - clock_mono_ms();
		rest(s, cancel_fd, s->count > 0 ? MIN(left, (int64_t)LOOK_MS) : left);
	}
	wind_up(s);
}

static int open_api(struct scale *s, struct http *http, const char *base, struct err *err)
{
	static const char *const rights[] = {"actions", "read", "administration", "write", "metadata", "read", NULL};
	const struct scale_options *o = s->options;
	const struct api_access access = {
		.token_file = o->token_file, .app_id = o->app_id, .app_key = o->app_key, .rights = rights};
	int r = api_open(http, base, &access, &s->api, err);
	if (r == 0)
		api_set_owner(s->api, s->owner);
	return r;
}

int scale_run(const struct scale_options *options, int cancel_fd, struct err *err)
{
	struct scale s = {.options = options};
	struct http_config config = wire_http_config();
	config.user_agent = NULL; /* REST alone: under our own name */
	_cleanup_free_ char *api = NULL;
	_cleanup_(http_freep) struct http *http = NULL;
	_cleanup_close_ int lock = -1;
	int r = read_urls(&s, &api, err);
	if (r == 0) {
		http = http_new(&config, err);
		r = http == NULL ? err->code : open_api(&s, http, api, err);
	}
	if (r == 0)
		r = lock_state(&s, &lock, err);
	if (r == 0)
		r = runner_adopt_all(&s, err);
	if (r == 0)
		scale_loop(&s, cancel_fd);
	for (size_t i = 0; i < s.count; i++)
		runner_done(&s.runners[i]);
	free(s.runners);
	api_free(s.api);
	strv_done(&s.repositories);
	strv_done(&s.left_out);
	free(s.owner);
	free(s.dir);
	return r;
}
