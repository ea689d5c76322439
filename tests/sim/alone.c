/* Scenarios of targets that go back alone: each watch is a process of its target, which looks, notes itself, puts its token there, ends what
 * runs, looks again, and takes back line by line what the engine laid. It fires when it likes, the owner alive or not: what must hold
 * does not rest on time. Between any two of its moves anybody else may act. */
#include "sim/effects.h"

#include "base/secret/digest.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { AFTER_MS = 600000, MOST_WORDS = 20, LINE_MAX_BYTES = 2048, NEVER = 1 << 30 };

static uint64_t alone_below(uint64_t bound)
{
	/* Of its own: where it does not apply, a seed means what it meant. */
	world->alone_rng = world->alone_rng * 6364136223846793005u + 1442695040888963407u;
	return (world->alone_rng >> 33) % bound;
}

/* ---- the scenario ---- */

void sim_alone_choose(struct scenario *sc)
{
	world->alone_rng = sc->seed * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
	if (sc->hold || sc->job || sc->goes_back || alone_below(2) != 0)
		return;
	sc->alone = true;
	sc->alone_races = alone_below(4) != 0;
	for (int i = 0; i < SIM_TARGETS; i++)
		sc->alone_after[i] = alone_below(3) == 0 ? (int64_t)alone_below(700) : NEVER;
	_cleanup_json_ json_t *d = json_loads(sc->deployment, 0, NULL);
	json_object_set_new(d, "undo_alone_ms", json_integer(AFTER_MS));
	_cleanup_free_ char *text = json_text(d);
	sc->deployment = sim_strdup(text);
}

/* ---- its files ---- */

static const char *text_of(struct starget *t, const char *dir, const char *name)
{
	char path[SIM_PATH * 2];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	const struct snode *n = stree_find(&t->now, path);
	return n && n->content ? (const char *)n->content->data : NULL;
}

static bool is_armed(struct starget *t)
{
	const struct swatch *w = &t->watch;
	const char *armed = text_of(t, w->lock_dir, "armed"), *lock = text_of(t, w->lock_dir, "lock"),
		   *mark = text_of(t, w->lock_dir, "mark");
	if (armed == NULL || lock == NULL || strcmp(armed, w->token) != 0 || strstr(lock, "\"mark\":\""))
		return false;
	char id[64] = "";
	if (mark && sscanf(mark, "%*15s %63s", id) == 1)
		return strstr(lock, id) == NULL;
	return true;
}

static bool is_mine(struct starget *t)
{
	const char *lock = text_of(t, t->watch.lock_dir, "lock");
	return lock && strstr(lock, t->watch.token) != NULL;
}

static void flush(struct starget *t)
{
	for (int i = 0; i < t->now.count; i++)
		t->now.nodes[i].synced = t->now.nodes[i].content;
	stree_copy(&t->durable, &t->now);
	t->rename_count = 0;
}

bool sim_alone_starts(struct starget *t, const char *watch)
{
	static const char tail[] = "/alone/watch";
	struct swatch *w = &t->watch;
	size_t len = strlen(watch);
	if (len <= strlen(tail) || strcmp(watch + len - strlen(tail), tail) != 0)
		return false;
	if (w->state != WATCH_NONE)
		return true;
	*w = (struct swatch){.state = WATCH_LOOKS};
	snprintf(w->lock_dir, sizeof(w->lock_dir), "%.*s", (int)(len - strlen(tail)), watch);
	const char *program = text_of(t, w->lock_dir, "alone/watch"),
		   *token = program ? strstr(program, "\ntoken=") : NULL;
	/* It came late, and the lock was given back before: its sh finds no program. */
	if (token == NULL) {
		w->state = WATCH_NONE;
		return true;
	}
	snprintf(w->token, sizeof(w->token), "%.32s", token + 7);
	w->due_op = world->ops + world->sc.alone_after[t - world->targets];
	return true;
}

/* ---- taking back ---- */

static bool is_blocked(const struct swatch *w, const char *path)
{
	for (int i = 0; i < w->lefts; i++)
		if (is_within(w->left[i], path) || is_within(path, w->left[i]))
			return true;
	return false;
}

static void leave(struct swatch *w, const char *path)
{
	if (*path && w->lefts < SIM_LEFTS)
		snprintf(w->left[w->lefts++], SIM_PATH, "%s", path);
	w->left_some = true;
}

static void saved_path(const struct swatch *w, const char *id, const char *suffix, char *out, size_t size)
{
	snprintf(out, size, "%s/undo/%s%s", w->lock_dir, id, suffix);
}

static void sum(const struct blob *b, char hex[65])
{
	digest_of(b->data, b->len, hex);
}

/* TYPE MODE OWNER GROUP WHAT */
static bool same(const struct snode *n, char **want, const char *what)
{
	static const char *const types[] = {"absent", "file", "dir", "link", "other"};
	char hex[65];
	if (strcmp(types[n ? n->type : NODE_ABSENT], want[0]) != 0)
		return false;
	if (n == NULL)
		return true;
	if (n->type == NODE_LINK)
		return strcmp((const char *)n->content->data, what) == 0;
	if (*want[1] && strtoul(want[1], NULL, 8) != n->mode)
		return false;
	if ((*want[2] && strtoul(want[2] + (*want[2] == 'u'), NULL, 10) != n->uid) ||
	    (*want[3] && strtoul(want[3] + (*want[3] == 'g'), NULL, 10) != n->gid))
		return false;
	if (n->type != NODE_FILE || *what == '\0')
		return true;
	sum(n->content, hex);
	return strcmp(hex, what) == 0;
}

static bool between(const struct snode *n, char **was, char **is)
{
	if (n == NULL || n->type != NODE_DIR || strcmp(is[0], "dir") != 0)
		return false;
	if (strcmp(was[0], "dir") != 0)
		return true;
	for (int k = 1; k <= 3; k++) {
		char *only[2][5] = {{was[0], (char[]){0}, (char[]){0}, (char[]){0}, (char[]){0}},
		                    {was[0], (char[]){0}, (char[]){0}, (char[]){0}, (char[]){0}}};
		only[0][k] = was[k];
		only[1][k] = is[k];
		if (!same(n, only[0], "") && !(*is[k] && same(n, only[1], "")))
			return false;
	}
	return true;
}

static bool put_back(struct starget *t, const char *id, const char *path, char **was)
{
	char saved[SIM_PATH * 2];
	struct snode *n = stree_find(&t->now, path);
	saved_path(&t->watch, id, "", saved, sizeof(saved));
	const struct snode *former = stree_find(&t->now, saved);
	const struct snode copy = former ? *former : (struct snode){0};
	if (strcmp(was[0], "absent") == 0)
		return n == NULL || fx_remove(t, path, NULL) == 0;
	if (!fx_parent_ok(t, path) || (strcmp(was[0], "file") == 0 && former == NULL))
		return false;
	if (strcmp(was[0], "link") == 0) {
		stree_set(&t->now, path, NODE_LINK, 0777, sim_blob(was[4], strlen(was[4])));
	} else if (strcmp(was[0], "file") == 0) {
		n = stree_set(&t->now, path, NODE_FILE, copy.mode, copy.content);
		n->synced = copy.content;
	} else if (n == NULL) {
		n = stree_set(&t->now, path, NODE_DIR, 0700, NULL);
	}
	n = stree_find(&t->now, path);
	if (n->type == NODE_DIR) {
		n->mode = *was[1] ? (uint16_t)strtoul(was[1], NULL, 8) : n->mode;
		n->uid = *was[2] ? (uint32_t)strtoul(was[2] + (*was[2] == 'u'), NULL, 10) : n->uid;
		n->gid = *was[3] ? (uint32_t)strtoul(was[3] + (*was[3] == 'g'), NULL, 10) : n->gid;
	}
	if (former && n->type != NODE_LINK) {
		n->mode = copy.mode;
		n->uid = copy.uid;
		n->gid = copy.gid;
		n->acl = copy.acl;
		n->mtime_ns = copy.mtime_ns;
	}
	fx_touch_parent(t, path);
	return true;
}

static void undone(struct starget *t, const char *id)
{
	char line[120], path[SIM_PATH * 2];
	snprintf(path, sizeof(path), "%s/changes.jsonl", t->watch.lock_dir);
	snprintf(line, sizeof(line), "\n{\"format\":1,\"id\":%s,\"state\":\"undone\"}\n", id);
	fx_append(t, path, sim_blob(line, strlen(line)), NULL);
}

static void restore(struct starget *t, char **words)
{
	struct swatch *w = &t->watch;
	char *id = words[1], *path = words[2], **was = words + 4, **is = words + 9;
	char aside[SIM_PATH * 2], hex[65];
	const char *was_what = was[4], *is_what = is[4];
	const struct snode *n = stree_find(&t->now, path);
	if (is_blocked(w, path)) {
		leave(w, path);
		return;
	}
	if (strcmp(is[0], "file") == 0 && strcmp(is_what, "+") == 0) {
		saved_path(w, id, ".after", aside, sizeof(aside));
		const struct snode *digest = stree_find(&t->now, aside);
		if (digest == NULL)
			return;
		is_what = (const char *)digest->content->data;
	}
	if (strcmp(was[0], "file") == 0 && strcmp(was_what, "+") == 0) {
		saved_path(w, id, "", aside, sizeof(aside));
		const struct snode *former = stree_find(&t->now, aside);
		if (former == NULL)
			return;
		sum(former->content, hex);
		was_what = hex;
	}
	if (same(n, was, was_what))
		return;
	if ((!same(n, is, is_what) && !between(n, was, is)) || !put_back(t, id, path, was))
		leave(w, path);
	else
		undone(t, id);
}

static void back(struct starget *t, char **words)
{
	const struct snode *here = stree_find(&t->now, words[2]), *there = stree_find(&t->now, words[3]);
	if (is_blocked(&t->watch, words[2]) || is_blocked(&t->watch, words[3]) || (here == NULL) == (there == NULL)) {
		leave(&t->watch, words[2]);
		return;
	}
	if (here == NULL && fx_rename(t, words[3], words[2], NULL) == 0)
		undone(t, words[1]);
}

static void command(struct starget *t, char **words, int count)
{
	char text[LINE_MAX_BYTES], started[80];
	size_t len = 0;
	const char *copy = text_of(t, t->watch.lock_dir, "changes.jsonl");
	snprintf(started, sizeof(started), "{\"format\":1,\"id\":%s,\"state\":\"started\"", words[1]);
	bool undoes = strcmp(words[0], "undo") == 0;
	if (undoes && (copy == NULL || strstr(copy, started) == NULL))
		return;
	for (int i = 4; i < count; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", words[i]) + 1;
	sim_command_acts(t, sim_blob(text, len), true);
	if (undoes)
		undone(t, words[1]);
}

/* Words of sh, plain or in quotes; *at moves behind the line. */
static int split(const char **at, char *room, size_t size, char *words[MOST_WORDS])
{
	int count = 0;
	size_t len = 0;
	const char *p = *at;
	while (*p && *p != '\n') {
		if (*p == ' ') {
			p++;
			continue;
		}
		if (count == MOST_WORDS)
			break;
		words[count++] = room + len;
		while (*p && *p != ' ' && *p != '\n') {
			bool quoted = *p == '\'';
			for (p += quoted;
			     *p && (quoted ? *p != '\'' : *p != ' ' && *p != '\n' && *p != '\'') && len + 2 < size; p++)
				room[len++] = *p;
			p += quoted && *p == '\'';
		}
		room[len++] = '\0';
	}
	*at = *p ? p + 1 : p;
	return count;
}

/* The nth line of all files of that kind, those of changes newest first. */
static bool nth_line(struct starget *t, char kind, int number, const char **ret)
{
	char last[SIM_PATH] = "", prefix[SIM_PATH * 2];
	bool down = kind == 'c';
	snprintf(prefix, sizeof(prefix), "%s/alone/%c-", t->watch.lock_dir, kind);
	for (;;) {
		const struct snode *best = NULL;
		for (int i = 0; i < t->now.count; i++) {
			const struct snode *n = &t->now.nodes[i];
			if (strncmp(n->path, prefix, strlen(prefix)) != 0 ||
			    (*last && (down ? strcmp(n->path, last) >= 0 : strcmp(n->path, last) <= 0)))
				continue;
			if (best == NULL || (down ? strcmp(n->path, best->path) > 0 : strcmp(n->path, best->path) < 0))
				best = n;
		}
		if (best == NULL)
			return false;
		snprintf(last, sizeof(last), "%s", best->path);
		for (const char *at = (const char *)best->content->data; *at;) {
			if (number-- == 0) {
				*ret = at;
				return true;
			}
			const char *end = strchr(at, '\n');
			at = end ? end + 1 : at + strlen(at);
		}
	}
}

static bool act_on_line(struct starget *t, char kind, int number)
{
	char room[LINE_MAX_BYTES], *words[MOST_WORDS] = {NULL};
	const char *at;
	if (!nth_line(t, kind, number, &at))
		return false;
	int count = split(&at, room, sizeof(room), words);
	sim_trace("  watch of t%d: %s %s", (int)(t - world->targets), count ? words[0] : "", count > 2 ? words[2] : "");
	if (count == 14 && strcmp(words[0], "restore") == 0)
		restore(t, words);
	else if (count == 4 && strcmp(words[0], "back") == 0)
		back(t, words);
	else if (count == 3 && strcmp(words[0], "stays") == 0)
		leave(&t->watch, words[2]);
	else if (count > 4 && (strcmp(words[0], "undo") == 0 || strcmp(words[0], "after") == 0))
		command(t, words, count);
	else if (count > 0 && strncmp(words[0], "former=", 7) != 0)
		sim_violation("a line that no watch understands: %s with %d words", words[0], count);
	return true;
}

/* ---- its moves ---- */

static void say(struct starget *t, bool ended)
{
	char path[SIM_PATH * 2], text[80];
	snprintf(path, sizeof(path), "%s/alone/said", t->watch.lock_dir);
	snprintf(text, sizeof(text), "went %" PRId64 "\n%s%s", world->mono_ms / 1000,
	         t->watch.left_some ? "left 1\n" : "", ended ? "ended\n" : "");
	if (fx_parent_ok(t, path))
		stree_set(&t->now, path, NODE_FILE, 0600, sim_blob(text, strlen(text)));
	flush(t);
}

/* Beside the lock: whoever gives the lock back meanwhile removes it. */
static void make_token(struct starget *t)
{
	struct swatch *w = &t->watch;
	const char *lock = text_of(t, w->lock_dir, "lock"), *at = strstr(lock, "\"token\":\"") + 9;
	char path[SIM_PATH * 2];
	_cleanup_free_ char *text = xasprintf("%.*s%s%s", (int)(at - lock), lock, w->token, strchr(at, '"'));
	snprintf(path, sizeof(path), "%s/alone/lock", w->lock_dir);
	const struct blob *b = sim_blob(text, strlen(text));
	stree_set(&t->now, path, NODE_FILE, 0600, b)->synced = b;
	w->state = WATCH_CHECKED;
}

static void put_token(struct starget *t)
{
	char from[SIM_PATH * 2], to[SIM_PATH * 2];
	snprintf(from, sizeof(from), "%s/alone/lock", t->watch.lock_dir);
	snprintf(to, sizeof(to), "%s/lock", t->watch.lock_dir);
	t->watch.state = fx_rename(t, from, to, NULL) == 0 ? WATCH_RENAMED : WATCH_NONE;
}

static void end_others(struct starget *t)
{
	for (int i = 0; i < SIM_LATE; i++)
		if (t->late[i].kind != LATE_NONE && t->late[i].noted &&
		    strcmp(t->late[i].lock_dir, t->watch.lock_dir) == 0)
			t->late[i].kind = LATE_NONE;
}

static void look(struct starget *t)
{
	struct swatch *w = &t->watch;
	if (!is_armed(t)) {
		w->state = WATCH_NONE;
		return;
	}
	make_token(t);
	world->watches_fired++;
	sim_trace("*** the watch of t%d fires", (int)(t - world->targets));
}

static void move(struct starget *t)
{
	struct swatch *w = &t->watch;
	/* A process of its own: its blobs and its commands are nobody's operation. */
	switch (w->state) {
	case WATCH_LOOKS:
		look(t);
		break;
	case WATCH_CHECKED:
		put_token(t);
		break;
	case WATCH_RENAMED:
		if (is_mine(t))
			end_others(t);
		w->state = WATCH_FENCED;
		break;
	case WATCH_FENCED:
		flush(t);
		w->state = is_mine(t) && is_armed(t) ? WATCH_GOES : WATCH_NONE;
		sim_trace("*** the watch of t%d %s", (int)(t - world->targets),
		          w->state == WATCH_GOES ? "goes back" : "backs off");
		if (w->state == WATCH_GOES)
			say(t, false);
		w->line = 0;
		break;
	case WATCH_GOES:
	case WATCH_AFTER:
		if (!is_mine(t)) {
			w->state = WATCH_NONE;
		} else if (!act_on_line(t, w->state == WATCH_GOES ? 'c' : 'a', w->line++)) {
			bool ends = w->state == WATCH_AFTER || w->line == 1;
			flush(t);
			w->state = ends ? WATCH_NONE : WATCH_AFTER;
			w->line = 0;
			if (ends)
				say(t, true);
		}
		break;
	case WATCH_NONE:
	default:
		break;
	}
}

void sim_alone_moves(void)
{
	for (int i = 0; world->sc.alone && world->faults_on && i < world->sc.target_count; i++) {
		struct starget *t = &world->targets[i];
		bool due = t->watch.state == WATCH_LOOKS && world->ops >= t->watch.due_op;
		if ((due || t->watch.state > WATCH_LOOKS) && alone_below(2) == 0)
			move(t);
	}
}

/* The worst moment: somebody is about to disarm it, or to decide. */
void sim_alone_races(const char *path)
{
	const char *name = strrchr(path, '/');
	if (!world->sc.alone_races || !world->faults_on || name == NULL ||
	    (strcmp(name, "/armed") != 0 && strcmp(name, "/mark") != 0))
		return;
	for (int i = 0; i < world->sc.target_count; i++)
		if (world->targets[i].watch.state == WATCH_LOOKS && alone_below(2) == 0)
			move(&world->targets[i]);
}

/* Nobody was there for long. all: what has begun comes to its end. */
void sim_alone_time_passes(bool all)
{
	for (int i = 0; world->sc.alone && i < world->sc.target_count; i++) {
		struct starget *t = &world->targets[i];
		if (t->watch.state == WATCH_LOOKS && (all || alone_below(2) == 0))
			continue;
		int moves = all || alone_below(2) == 0 ? NEVER : 1 + (int)alone_below(12);
		while (t->watch.state != WATCH_NONE && moves-- > 0)
			move(t);
	}
}

void sim_alone_fenced(struct starget *t, const char *lock_dir)
{
	if (t->watch.state > WATCH_LOOKS && strcmp(t->watch.lock_dir, lock_dir) == 0) {
		sim_trace("  the watch of t%d is ended", (int)(t - world->targets));
		t->watch.state = WATCH_NONE;
	}
}
