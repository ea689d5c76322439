/* Before the first change: the disk space and the inodes that all plans of a target need together, on each of its file systems. A step looks
 * at its own need only. */
#include "engine/run/run_priv.h"
#include "engine/target/host.h"

#include <inttypes.h>

enum { BLOCK = 4096 };

enum { PLACES_MAX = 1000 };

/* Reads a directory a line. Prints what `df -Pk` says of the nearest one that exists of each, in their order, then "-", then `df -Pi`. */
static const char room_script[] = "set --\n"
				  "while IFS= read -r p; do\n"
				  "while [ ! -d \"$p\" ]; do case $p in /*/*) p=${p%/*};; *) p=/;; esac; done\n"
				  "set -- \"$@\" \"$p\"\n"
				  "done\n"
				  "df -Pk -- \"$@\" 2>/dev/null | { read -r _; cat; }\n"
				  "echo -\n"
				  "df -Pi -- \"$@\" 2>/dev/null | { read -r _; cat; }; :\n";

struct need {
	const char *path; /* borrowed */
	size_t place;     /* its directory in room.places; PLACES_MAX: not asked for */
	const struct estep *step;
	int64_t bytes, files;
};
struct disk {
	char *mount;
	int64_t free_bytes, free_inodes; /* free_inodes < 0: not counted */
	int64_t bytes, files;
	const char *path; /* the first that lies on it */
	struct str who;
};
struct room {
	struct need *needs;
	struct disk *disks;
	struct strv places; /* the directories of all needs, each once */
	size_t need_count, need_cap, disk_count, disk_cap;
};

static void room_done(struct room *r)
{
	for (size_t i = 0; i < r->disk_count; i++) {
		free(r->disks[i].mount);
		str_done(&r->disks[i].who);
	}
	free(r->needs);
	free(r->disks);
	strv_done(&r->places);
}

/* The directory of a path, as far as it stands on one line. */
static size_t find_place(struct room *r, const char *path)
{
	size_t len = strcspn(path, "\n");
	while (len > 1 && path[len - 1] != '/')
		len--;
	_cleanup_free_ char *dir = xstrndup(path, len);
	for (size_t i = r->places.count; i > 0; i--) /* neighbours come one after the other */
		if (strcmp(r->places.items[i - 1], dir) == 0)
			return i - 1;
	if (r->places.count == PLACES_MAX)
		return PLACES_MAX;
	strv_add(&r->places, dir);
	return r->places.count - 1;
}

static void add_need(struct room *r, const struct estep *s, const char *path, int64_t bytes, int64_t files)
{
	r->needs = xgrow(r->needs, &r->need_cap, r->need_count + 1, sizeof(*r->needs));
	r->needs[r->need_count++] =
		(struct need){.path = path, .place = find_place(r, path), .step = s, .bytes = bytes, .files = files};
}

static int64_t in_blocks(int64_t bytes)
{
	return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

/* The new content lies beside the former one until it is renamed, and the former one is kept below BASE. */
static void add_content(struct room *r, const struct estep *s, const struct change *c, const char *base)
{
	int64_t former = c->before != NULL ? json_get_int(c->before, "size", 0) : 0;
	if (!change_has(c, CHANGE_FILES) || c->action == ACTION_ADOPT || c->content.len == 0)
		return;
	add_need(r, s, c->path, in_blocks((int64_t)c->content.len), 1);
	if (former > 0)
		add_need(r, s, base, in_blocks(former), 1);
}

static void add_plan(struct room *r, const struct estep *s, const struct plan *p, const char *base)
{
	for (size_t i = 0; i < p->room_count; i++)
		add_need(r, s, p->rooms[i].path, p->rooms[i].bytes, p->rooms[i].files);
	for (size_t i = 0; i < p->count; i++)
		add_content(r, s, &p->changes[i], base);
}

static struct disk *find_disk(struct room *r, const char *mount)
{
	for (size_t i = 0; i < r->disk_count; i++)
		if (strcmp(r->disks[i].mount, mount) == 0)
			return &r->disks[i];
	r->disks = xgrow(r->disks, &r->disk_cap, r->disk_count + 1, sizeof(*r->disks));
	struct disk *d = &r->disks[r->disk_count++];
	*d = (struct disk){.mount = xstrdup(mount), .who = STR_INIT(4096)};
	return d;
}

static void count_in(struct disk *d, const struct need *n)
{
	d->bytes += n->bytes;
	d->files += n->files;
	if (d->path == NULL)
		d->path = n->path;
	if (strstr(str_peek(&d->who), n->step->display) == NULL)
		str_appendf(&d->who, "%s%s", d->who.len > 0 ? ", " : "", n->step->display);
}

/* "SOURCE SIZE USED FREE SHARE% MOUNT_POINT", from its end: a source may have blanks in it. */
static bool read_line(const char *line, int64_t *ret_free, const char **ret_mount)
{
	const char *mount = strstr(line, "% /");
	const char *dash = strstr(line, " - /"); /* df has no share where there are no inodes */
	if (mount == NULL && dash == NULL)
		return false;
	const char *at = mount != NULL ? mount : dash;
	*ret_mount = at + (mount != NULL ? 2 : 3);
	while (at > line && at[-1] != ' ') /* the share */
		at--;
	while (at > line && at[-1] == ' ')
		at--;
	const char *end = at;
	while (at > line && at[-1] != ' ')
		at--;
	_cleanup_free_ char *number = xstrndup(at, (size_t)(end - at));
	long long free_units;
	if (!str_parse_i64(number, 0, INT64_MAX >> 10, &free_units))
		return false;
	*ret_free = free_units;
	return true;
}

/* The lines of the answer, up to the "-" and behind it. */
static void split_answer(char *text, struct strv *blocks, struct strv *inodes)
{
	bool behind = false;
	for (char *line; text != NULL && (line = strsep(&text, "\n")) != NULL;) {
		if (strcmp(line, "-") == 0)
			behind = true;
		else if (*line != '\0')
			strv_add(behind ? inodes : blocks, line);
	}
}

/* A line is told apart by its number only: an answer with a line too few or too many says nothing. */
static void read_answer(struct room *r, char *text)
{
	struct strv blocks = {.count = 0}, inodes = {.count = 0};
	split_answer(text, &blocks, &inodes);
	for (size_t i = 0; blocks.count == r->places.count && i < r->need_count; i++) {
		int64_t kib, count;
		const char *mount, *same;
		size_t place = r->needs[i].place;
		if (place == PLACES_MAX || !read_line(blocks.items[place], &kib, &mount))
			continue;
		struct disk *d = find_disk(r, mount);
		bool counted = inodes.count == blocks.count && read_line(inodes.items[place], &count, &same);
		d->free_bytes = kib << 10;
		d->free_inodes = counted && count > 0 ? count : -1;
		if (counted && count == 0 && strstr(inodes.items[place], "100%") != NULL)
			d->free_inodes = 0; /* used up, rather than not counted */
		count_in(d, &r->needs[i]);
	}
	strv_done(&blocks);
	strv_done(&inodes);
}

static void judge(const struct disk *d, const struct etarget *et, struct faults *faults)
{
	if (d->bytes > d->free_bytes) {
		faults_add(faults, NULL, "",
		           "'%s' on '%s' (of '%s') has %" PRId64 " MiB free, and the steps may need %" PRId64
		           " MiB there: %s",
		           d->mount, et->name, d->path, d->free_bytes >> 20, (d->bytes >> 20) + 1, str_peek(&d->who));
		faults_hint(faults,
		            "make room there, keep fewer releases and snapshots (`keep`), or set the target's `base:` "
		            "to a larger file system");
	}
	if (d->free_inodes >= 0 && d->files > d->free_inodes) {
		faults_add(faults, NULL, "",
		           "'%s' on '%s' (of '%s') has %" PRId64 " inodes free, and the steps may make %" PRId64
		           " files there: %s",
		           d->mount, et->name, d->path, d->free_inodes, d->files, str_peek(&d->who));
		faults_hint(faults,
		            "remove files there (many small ones use up inodes before space), or leave files out");
	}
}

static int ask(struct etarget *et, struct room *r, struct err *err)
{
	struct view *v = &et->t->view;
	_cleanup_(str_done) struct str input = STR_INIT(16 << 20);
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	for (size_t i = 0; i < r->places.count; i++)
		str_appendf(&input, "%s\n", r->places.items[i]);
	const struct target_command command = {
		.script = room_script, .input = str_peek(&input), .input_len = input.len, .max_output = 4 << 20};
	int code = host_query(v, &command, &result, err);
	if (code < 0)
		return err_wrap(err, code, "ask '%s' for its free space", et->name);
	read_answer(r, result.out.len > 0 ? result.out.data : NULL);
	return 0;
}

static int check_target(struct engine *e, struct etarget *et, struct err *err)
{
	_cleanup_(room_done) struct room room = {0};
	_cleanup_(faults_done) struct faults faults = {0};
	for (size_t i = 0; i < e->step_count; i++) {
		const struct estep *s = &e->steps[i];
		for (size_t j = 0; s->plans != NULL && j < s->target_count; j++)
			if (s->etargets[j] == et)
				add_plan(&room, s, &s->plans[j], et->t->view.facts.base);
	}
	if (room.need_count == 0)
		return 0;
	int r = ask(et, &room, err);
	for (size_t i = 0; i < room.disk_count; i++)
		judge(&room.disks[i], et, &faults);
	engine_find_faults(e, NULL, et->name, &faults);
	return r;
}

int engine_check_room(struct engine *e, struct err *err)
{
	for (size_t i = 0; i < e->target_count; i++) {
		struct etarget *et = &e->targets[i];
		struct err own = ERR_INIT;
		int r = target_is_host(et->t) && !et->unreached ? check_target(e, et, &own) : 0;
		if (r < 0 && !engine_find(e, NULL, et->name, r, &own)) {
			if (err)
				*err = own;
			return r;
		}
	}
	return 0;
}
