#include "agent/listener/survey.h"

#include <pwd.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/listener/handover.h"
#include "agent/listener/worker_user.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/sys/proc.h"
#include "engine/journal/state_dir.h"

enum { SUDO_MS = 5000, ANSWER_MAX = 64 << 10 };
#define NOBODY SIZE_MAX /* no registration's */

/* A directory that closing costs its user something, unless it lies in another one that is closed as well. */
struct cost {
	size_t owner;          /* the registration whose area it is; NOBODY */
	size_t around, within; /* how many others it lies in, and the owner of one of them */
	char *text;
};

struct user {
	uid_t uid;
	const char *name; /* NULL: the agent's own */
	const char *url;  /* of its first registration */
	char *state;      /* real; NULL: not named yet */
	bool several;     /* registrations of more than one repository */
	bool sudo_is_known, may_sudo, costs_are_known;
	struct cost *costs;
	size_t cost_count, cost_cap;
};

struct survey {
	struct survey_question q;
	struct user *users;
	size_t user_count, user_cap;
	size_t *user_of; /* of each registration */
	char **areas;    /* real, of each registration; NULL: not named yet */
	char *agent_dir;
};

/* ---- users ---- */

static size_t index_of(json_t *map, const char *key, size_t next)
{
	json_t *known = json_object_get(map, key);
	if (known == NULL)
		json_object_set_new(map, key, json_integer((json_int_t)next));
	return known != NULL ? (size_t)json_integer_value(known) : next;
}

static uid_t uid_of(const char *name)
{
	const struct passwd *entry = name != NULL && geteuid() == 0 ? getpwnam(name) : NULL;
	return entry != NULL ? entry->pw_uid : geteuid();
}

static size_t add_user(struct survey *s, json_t *by_uid, const char *name)
{
	char key[32];
	uid_t uid = uid_of(name);
	(void)snprintf(key, sizeof(key), "%lu", (unsigned long)uid);
	size_t at = index_of(by_uid, key, s->user_count);
	if (at == s->user_count) {
		s->users = xgrow(s->users, &s->user_cap, s->user_count + 1, sizeof(s->users[0]));
		s->users[s->user_count++] = (struct user){.uid = uid, .name = name};
	}
	return at;
}

/* One without a repository's URL is taken for another repository's. */
static void note_repository(struct user *u, bool first, const char *url)
{
	if (first)
		u->url = url;
	else if (url == NULL || u->url == NULL || strcasecmp(url, u->url) != 0)
		u->several = true;
}

static void find_users(struct survey *s)
{
	_cleanup_json_ json_t *by_name = json_object(), *by_uid = json_object();
	for (size_t i = 0; i < s->q.count; i++) {
		const struct registration *reg = s->q.all[i];
		const char *name = reg->worker_user != NULL ? reg->worker_user : "";
		const json_t *known = json_object_get(by_name, name);
		size_t before = s->user_count;
		size_t at = known != NULL ? (size_t)json_integer_value(known) : add_user(s, by_uid, reg->worker_user);
		if (known == NULL)
			json_object_set_new(by_name, name, json_integer((json_int_t)at));
		s->user_of[i] = at;
		note_repository(&s->users[at], at == before, reg->url);
	}
}

struct survey *survey_new(const struct survey_question *q)
{
	struct survey *s = xcalloc(1, sizeof(*s));
	s->q = *q;
	s->user_of = xcalloc(q->count, sizeof(s->user_of[0]));
	s->areas = xcalloc(q->count, sizeof(s->areas[0]));
	find_users(s);
	return s;
}

void survey_free(struct survey *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->user_count; i++) {
		for (size_t n = 0; n < s->users[i].cost_count; n++)
			free(s->users[i].costs[n].text);
		free(s->users[i].costs);
		free(s->users[i].state);
	}
	for (size_t i = 0; i < s->q.count; i++)
		free(s->areas[i]);
	free(s->users);
	free(s->user_of);
	free(s->areas);
	free(s->agent_dir);
	free(s);
}

void survey_freep(struct survey **s)
{
	survey_free(*s);
}

const struct registration *survey_registration(const struct survey *s, size_t which)
{
	return s->q.all[which];
}

uid_t survey_user(const struct survey *s, size_t which)
{
	return s->users[s->user_of[which]].uid;
}

bool survey_is_shared(const struct survey *s, size_t which)
{
	return s->users[s->user_of[which]].several;
}

/* Behind the walls sudo gives no rights; and walls that a job passes as root are none. */
static bool ask_sudo(const char *user)
{
	const char *plain[] = {"sudo", "-n", "-l", NULL};
	const char *other[] = {"/proc/self/exe", "agent", "as-user", user, "/bin/sh", "-c", "exec sudo -n -l", NULL};
	const bool another = user != NULL && geteuid() == 0;
	const struct proc_options options = {.argv = another ? other : plain, .stdin_fd = -1};
	_cleanup_(str_done) struct str answer = STR_INIT(ANSWER_MAX), errors = STR_INIT(ANSWER_MAX);
	struct wait w = WAIT_INIT;
	int status = -1;
	w.deadline_mono_ms = clock_mono_ms() + SUDO_MS;
	return proc_run(&options, NULL, 0, ANSWER_MAX, &w, &answer, &errors, &status, NULL) == 0 && status == 0;
}

bool survey_may_sudo(struct survey *s, size_t which)
{
	struct user *u = &s->users[s->user_of[which]];
	if (!u->sudo_is_known)
		u->may_sudo = ask_sudo(u->name);
	u->sudo_is_known = true;
	return u->may_sudo;
}

/* ---- the directories ---- */

/* The real name, as far as there is one yet. free() */
static char *real_name(const char *path)
{
	_cleanup_free_ char *begin = xstrdup(path);
	char *real = fs_real_path(begin, NULL);
	for (char *slash; real == NULL && (slash = strrchr(begin, '/')) != NULL && slash != begin;) {
		*slash = '\0';
		_cleanup_free_ char *above = fs_real_path(begin, NULL);
		if (above != NULL)
			real = xasprintf("%s%s", above, path + (slash - begin));
	}
	return real != NULL ? real : xstrdup(path);
}

static int name_directories(struct survey *s, struct err *err)
{
	for (size_t i = 0; i < s->q.count; i++) {
		struct user *u = &s->users[s->user_of[i]];
		if (s->areas[i] != NULL)
			continue;
		const char *user = s->q.all[i]->worker_user;
		_cleanup_free_ char *state = user != NULL ? worker_user_state_dir(user, err) : state_dir(err);
		if (state == NULL)
			return err->code;
		_cleanup_free_ char *area = handover_work_folder(s->q.all[i], state);
		s->areas[i] = real_name(area);
		if (u->state == NULL)
			u->state = real_name(state);
	}
	if (s->agent_dir == NULL && s->q.agent_dir != NULL)
		s->agent_dir = real_name(s->q.agent_dir);
	return 0;
}

int survey_directories(struct survey *s, size_t which, struct strv *closed, struct strv *open, struct err *err)
{
	int r = name_directories(s, err);
	if (r < 0)
		return r;
	strv_add(closed, s->users[s->user_of[which]].state);
	for (size_t i = 0; i < s->q.count; i++)
		strv_add(i == which ? open : closed, s->areas[i]);
	if (s->agent_dir != NULL)
		strv_add(closed, s->agent_dir);
	return 0;
}

/* ---- what it would cost ---- */

static bool may_write(const struct stat *st, uid_t uid)
{
	if (st->st_uid == uid)
		return (st->st_mode & S_IWUSR) != 0;
	return (st->st_mode & S_IWOTH) != 0 || (st->st_gid != 0 && (st->st_mode & S_IWGRP) != 0);
}

/* A directory on the way to a closed one can get no new entries: one that jobs make files in would be lost to them. free() */
static char *lost_directory(const char *closed, uid_t uid)
{
	_cleanup_free_ char *path = xstrdup(closed);
	for (char *slash; (slash = strrchr(path, '/')) != NULL && slash != path;) {
		struct stat st;
		*slash = '\0';
		if (stat(path, &st) == 0 && may_write(&st, uid))
			return TAKE(path);
	}
	return NULL;
}

static const char *home_of(uid_t uid)
{
	const char *given = uid == geteuid() ? getenv("HOME") : NULL;
	const struct passwd *entry = given == NULL ? getpwuid(uid) : NULL;
	return given != NULL ? given : entry != NULL ? entry->pw_dir : "/";
}

/* One of the directories that are closed to a user. */
struct place {
	const char *path;
	size_t owner, around, within;
};

/* What lies in a directory stands right behind it. */
static int compare_places(const void *a, const void *b)
{
	const char *p = ((const struct place *)a)->path, *q = ((const struct place *)b)->path;
	while (*p != '\0' && *p == *q) {
		p++;
		q++;
	}
	int left = *p == '/' ? 1 : (unsigned char)*p, right = *q == '/' ? 1 : (unsigned char)*q;
	return left - right;
}

static void find_places_around(struct place *places, size_t count)
{
	_cleanup_free_ const struct place **open = xcalloc(count, sizeof(open[0]));
	size_t depth = 0;
	qsort(places, count, sizeof(places[0]), compare_places);
	for (size_t i = 0; i < count; i++) {
		while (depth > 0 && !fs_below(open[depth - 1]->path, places[i].path))
			depth--;
		places[i].around = depth;
		places[i].within = depth > 0 ? open[depth - 1]->owner : NOBODY;
		open[depth++] = &places[i];
	}
}

static void add_cost(struct user *u, const struct place *p, char *text)
{
	u->costs = xgrow(u->costs, &u->cost_cap, u->cost_count + 1, sizeof(u->costs[0]));
	u->costs[u->cost_count++] =
		(struct cost){.owner = p->owner, .around = p->around, .within = p->within, .text = text};
}

static void find_costs(struct user *u, const struct place *places, size_t count)
{
	_cleanup_free_ char *home = fs_real_path(home_of(u->uid), NULL), *looked_at = NULL, *lost = NULL;
	for (size_t i = 0; i < count; i++) {
		const struct place *p = &places[i];
		/* Of two around it one is closed to everybody. */
		if (p->around > 1)
			continue;
		if (home != NULL && fs_below(p->path, home))
			add_cost(u, p, xasprintf("the home directory lies in %s", p->path));
		/* What holds work areas is the agent's: nobody else makes files beside them. */
		size_t len = p->owner != NOBODY ? (size_t)(strrchr(p->path, '/') - p->path) : strlen(p->path);
		if (looked_at == NULL || strlen(looked_at) != len || strncmp(looked_at, p->path, len) != 0) {
			free(looked_at);
			free(lost);
			looked_at = xstrndup(p->path, len);
			lost = lost_directory(looked_at, u->uid);
		}
		if (lost != NULL)
			add_cost(u, p, xasprintf("%s lies below %s, where jobs make files", p->path, lost));
	}
}

static void find_user_costs(struct survey *s, struct user *u)
{
	size_t count = 0;
	_cleanup_free_ struct place *places = xcalloc(s->q.count + 2, sizeof(places[0]));
	places[count++] = (struct place){.path = u->state, .owner = NOBODY};
	if (s->agent_dir != NULL)
		places[count++] = (struct place){.path = s->agent_dir, .owner = NOBODY};
	for (size_t i = 0; i < s->q.count; i++)
		places[count++] = (struct place){.path = s->areas[i], .owner = i};
	find_places_around(places, count);
	find_costs(u, places, count);
	u->costs_are_known = true;
}

int survey_cost(struct survey *s, size_t which, const char **ret, struct err *err)
{
	struct user *u = &s->users[s->user_of[which]];
	int r = name_directories(s, err);
	if (r < 0)
		return r;
	if (!u->costs_are_known)
		find_user_costs(s, u);
	*ret = NULL;
	/* Its own area stays open, and closes nothing that lies in it. */
	for (size_t i = 0; *ret == NULL && i < u->cost_count; i++) {
		const struct cost *c = &u->costs[i];
		if (c->owner != which && (c->around == 0 || c->within == which))
			*ret = c->text;
	}
	return 0;
}
