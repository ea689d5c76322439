/* The lines of the script, read: each by what its first word says, or counted and dropped. */
#include "base/core/shown.h"
#include "engine/lock/lock.h"
#include "steps/status/status.h"

#include <stdlib.h>

enum {
	DISKS_MAX = 64,
	SMALLEST_KB = 1024, /* of a disk */
	OPEN_MAX = 50,
	SNAPSHOTS_MAX = 200,
	DEPLOYED_MAX = 100,
	LINE_MAX_BYTES = 256 << 10,
	SHOWN_MAX = 500,
	WORD_MAX = 300,
	CLOCK_OFF_S = 2
};

struct answer {
	json_t *target;   /* what it goes into */
	json_t *disks;    /* mount → entry, in the order of df */
	json_t *by_id;    /* id of a container → it; borrowed by the list */
	json_t *digests;  /* id of an image → digest */
	const char *base; /* the host's */
	int64_t now_s, host_now_s;
	bool ended;
};

/* ---- words ---- */

/* The next word of a line, and what is left. False: there is none, or it is too long. */
static bool next_word(const char **at, char ret[WORD_MAX])
{
	const char *from = *at + strspn(*at, " \t");
	size_t len = strcspn(from, " \t");
	if (len == 0 || len >= WORD_MAX)
		return false;
	memcpy(ret, from, len);
	ret[len] = '\0';
	*at = from + len;
	return true;
}

static bool next_number(const char **at, int64_t *ret)
{
	char word[WORD_MAX];
	long long number;
	if (!next_word(at, word) || !str_parse_i64(word, 0, INT64_MAX / 1024, &number))
		return false;
	*ret = number;
	return true;
}

/* "0.31" */
static bool next_decimal(const char **at, double *ret)
{
	char word[WORD_MAX];
	if (!next_word(at, word) || strlen(word) > 16 || word[strspn(word, "0123456789.")] != '\0')
		return false;
	*ret = strtod(word, NULL);
	return true;
}

static const char *rest_of(const char *at)
{
	return at + strspn(at, " \t");
}

/* A name that davit gives: part of a path. */
static bool is_sound(const char *name)
{
	return *name != '\0' && *name != '.' &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == '\0';
}

static json_t *list_of(struct answer *a, const char *key)
{
	json_t *list = json_object_get(a->target, key);
	if (list == NULL) {
		list = json_array();
		json_object_set_new(a->target, key, list);
	}
	return list;
}

static bool add(struct answer *a, const char *key, size_t max, json_t *item)
{
	json_t *list = list_of(a, key);
	if (json_array_size(list) < max)
		return json_array_append_new(list, item) == 0;
	json_decref(item);
	json_object_set_new(a->target, "incomplete", json_true());
	return true;
}

/* ---- resources ---- */

static bool read_now(struct answer *a, const char *at)
{
	int64_t now;
	if (!next_number(&at, &now))
		return false;
	a->host_now_s = now;
	json_object_set_new(a->target, "now_s", json_integer(now));
	if (llabs(now - a->now_s) >= CLOCK_OFF_S)
		json_object_set_new(a->target, "clock_off_s", json_integer(now - a->now_s));
	return true;
}

static bool read_load(struct answer *a, const char *at)
{
	double load[3];
	for (size_t i = 0; i < ARRAY_SIZE(load); i++)
		if (!next_decimal(&at, &load[i]))
			return false;
	json_object_set_new(a->target, "load", json_pack("[f,f,f]", load[0], load[1], load[2]));
	return true;
}

static bool read_uptime(struct answer *a, const char *at)
{
	double seconds;
	if (!next_decimal(&at, &seconds) || seconds > 1e12)
		return false;
	json_object_set_new(a->target, "uptime_s", json_integer((json_int_t)seconds));
	return true;
}

static bool read_cpus(struct answer *a, const char *at)
{
	int64_t cpus;
	if (!next_number(&at, &cpus))
		return false;
	json_object_set_new(a->target, "cpus", json_integer(cpus));
	return true;
}

static bool read_memory(struct answer *a, const char *at)
{
	static const struct {
		const char *from, *to;
	} names[] = {{"MemTotal", "total"},
	             {"MemAvailable", "available"},
	             {"SwapTotal", "swap_total"},
	             {"SwapFree", "swap_free"}};
	json_t *memory = json_object_get(a->target, "memory");
	char name[WORD_MAX];
	int64_t kilobytes;
	if (!next_word(&at, name) || !next_number(&at, &kilobytes))
		return false;
	if (memory == NULL) {
		memory = json_object();
		json_object_set_new(a->target, "memory", memory);
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(name, names[i].from) == 0)
			return json_object_set_new(memory, names[i].to, json_integer(kilobytes * 1024)) == 0;
	return false;
}

/* ---- disks ---- */

/* File systems without a disk of their own, and those that are always full. */
static bool is_no_disk(const char *device)
{
	static const char *const names[] = {"tmpfs", "devtmpfs", "udev",     "shm",    "none",     "dev",
	                                    "run",   "overlay",  "efivarfs", "cgroup", "squashfs", "cgroup2"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(device, names[i]) == 0)
			return true;
	return str_starts(device, "/dev/loop");
}

/* The same disk that is mounted a second time says nothing new. */
static bool is_shown(const json_t *disks, const char *device)
{
	const char *mount;
	json_t *disk;
	json_object_foreach((json_t *)disks, mount, disk)
	{
		const char *other = json_get_string(disk, "device");
		if (other != NULL && strcmp(other, device) == 0)
			return true;
	}
	return false;
}

static bool read_disk(struct answer *a, const char *at)
{
	char device[WORD_MAX], percent[WORD_MAX];
	int64_t total, used, available;
	if (!next_word(&at, device) || !next_number(&at, &total) || !next_number(&at, &used) ||
	    !next_number(&at, &available) || !next_word(&at, percent))
		return false;
	const char *mount = rest_of(at);
	if (*mount != '/' || !str_is_utf8(mount, strlen(mount)))
		return false;
	if ((strcmp(mount, "/") != 0 && (total < SMALLEST_KB || is_no_disk(device) || is_shown(a->disks, device))) ||
	    json_object_size(a->disks) >= DISKS_MAX)
		return true;
	json_t *disk = json_pack("{s:s, s:o, s:I, s:I, s:I}", "mount", mount, "device",
	                         json_string_lossy(device, strlen(device)), "total", (json_int_t)(total * 1024), "used",
	                         (json_int_t)(used * 1024), "free", (json_int_t)(available * 1024));
	return json_object_set_new(a->disks, mount, disk) == 0;
}

static bool read_inodes(struct answer *a, const char *at)
{
	char device[WORD_MAX], used[WORD_MAX], percent[WORD_MAX];
	int64_t total, available;
	const char *from = at;
	if (!next_word(&at, device) || !next_number(&at, &total)) {
		/* btrfs, vfat: they have no fixed number, and some say "-". */
		return next_word(&from, device) && *rest_of(from) == '-';
	}
	if (!next_word(&at, used) || !next_number(&at, &available) || !next_word(&at, percent))
		return false;
	json_t *disk = json_object_get(a->disks, rest_of(at));
	if (disk == NULL || total == 0)
		return true;
	json_object_set_new(disk, "inodes", json_integer(total));
	return json_object_set_new(disk, "inodes_free", json_integer(available)) == 0;
}

/* ---- what davit keeps ---- */

static bool read_open(struct answer *a, const char *at)
{
	static const char *const shown[] = {"deployment", "host", "user", "made_ms", "commit", "mark"};
	_cleanup_json_ json_t *record = NULL;
	char scope[WORD_MAX];
	int64_t renewed = 0;
	if (!next_word(&at, scope) || !is_sound(scope))
		return false;
	at = rest_of(at);
	if (*at == '-')
		at++;
	else if (!next_number(&at, &renewed))
		return false;
	at = rest_of(at);
	json_t *one = json_pack("{s:s}", "scope", scope);
	if (renewed > 0)
		json_object_set_new(one, "renewed_s", json_integer(renewed));
	bool readable = json_parse(at, strlen(at), LINE_MAX_BYTES, &record, NULL) == 0;
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		json_t *value = json_object_get(record, shown[i]);
		if (json_is_string(value) || json_is_integer(value))
			json_object_set(one, shown[i], value);
	}
	add(a, "open", OPEN_MAX, one);
	return readable;
}

static bool read_snapshot(struct answer *a, const char *at)
{
	_cleanup_(strv_done) struct strv parts = {0};
	_cleanup_free_ char *top = xasprintf("%s/snapshots/", a->base), *path = NULL;
	int64_t made;
	if (!next_number(&at, &made))
		return false;
	at = rest_of(at);
	if (!str_starts(at, top))
		return false;
	path = xstrdup(at + strlen(top));
	char *left = path;
	for (char *part; (part = strsep(&left, "/")) != NULL;)
		strv_add(&parts, part);
	if (parts.count != 4 || !is_sound(parts.items[0]) || !is_sound(parts.items[1]) || !is_sound(parts.items[2]))
		return false;
	return add(a, "snapshots", SNAPSHOTS_MAX,
	           json_pack("{s:s, s:s, s:s, s:I}", "scope", parts.items[0], "deployment", parts.items[1], "place",
	                     parts.items[2], "made_s", (json_int_t)made));
}

/* The link `current` of a compose project: "ID.json". */
static bool read_deployed(struct answer *a, const char *at)
{
	static const char ending[] = ".json";
	char project[WORD_MAX], link[WORD_MAX];
	if (!next_word(&at, project) || !is_sound(project) || !next_word(&at, link) || !str_ends(link, ending))
		return false;
	link[strlen(link) - strlen(ending)] = '\0';
	return lock_id_is_sound(link) &&
	       add(a, "deployed", DEPLOYED_MAX, json_pack("{s:s, s:s}", "project", project, "deployment", link));
}

/* ---- the engine ---- */

static bool read_docker(struct answer *a, const char *at)
{
	static const char *const states[] = {"ok", "none", "failed"};
	char state[WORD_MAX];
	bool known = false;
	if (!next_word(&at, state))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		known |= strcmp(state, states[i]) == 0;
	if (!known)
		return false;
	json_t *docker = json_pack("{s:s}", "state", state);
	at = rest_of(at);
	_cleanup_free_ char *reason = shown_text(at, strlen(at), SHOWN_MAX);
	if (*reason != '\0')
		json_set_string(docker, "error", reason);
	return json_object_set_new(a->target, "docker", docker) == 0;
}

static bool read_container(struct answer *a, const char *at)
{
	_cleanup_json_ json_t *said = NULL;
	at = rest_of(at);
	if (json_parse(at, strlen(at), LINE_MAX_BYTES, &said, NULL) < 0)
		return false;
	json_t *container = status_container(said, a->host_now_s);
	if (container == NULL)
		return false;
	if (json_array_size(list_of(a, "containers")) < STATUS_CONTAINERS_MAX)
		json_object_set(a->by_id, json_get_string(container, "id"), container);
	return add(a, "containers", STATUS_CONTAINERS_MAX, container);
}

/* "shop/web@sha256:…": the digest. */
static bool read_digest(struct answer *a, const char *at)
{
	_cleanup_json_ json_t *said = NULL;
	at = rest_of(at);
	if (json_parse(at, strlen(at), LINE_MAX_BYTES, &said, NULL) < 0)
		return false;
	const char *id = json_get_string(said, "id");
	const char *name = json_string_value(json_array_get(json_get_array(said, "digests"), 0));
	const char *digest = name != NULL ? strrchr(name, '@') : NULL;
	if (id == NULL)
		return false;
	if (digest != NULL && str_starts(digest + 1, "sha256:") && json_object_size(a->digests) < STATUS_CONTAINERS_MAX)
		json_object_set_new(a->digests, id, json_string(digest + 1));
	return true;
}

static bool read_log(struct answer *a, const char *at)
{
	char id[WORD_MAX];
	if (!next_word(&at, id))
		return false;
	json_t *container = json_object_get(a->by_id, id), *log = json_object_get(container, "log");
	if (container == NULL)
		return false;
	if (log == NULL) {
		log = json_array();
		json_object_set_new(container, "log", log);
	}
	at += *at == ' ';
	_cleanup_free_ char *line = shown_text(at, strlen(at), SHOWN_MAX);
	if (json_array_size(log) < STATUS_LOG_LINES)
		json_array_append_new(log, json_string_lossy(line, strlen(line)));
	return true;
}

static bool read_end(struct answer *a, const char *at)
{
	a->ended = *rest_of(at) == '\0';
	return a->ended;
}

/* ---- all of it ---- */

static const struct {
	const char *word;
	bool (*read)(struct answer *a, const char *at);
} kinds[] = {
	{"now", read_now},           {"load", read_load},     {"uptime", read_uptime},
	{"cpus", read_cpus},         {"memory", read_memory}, {"disk", read_disk},
	{"inodes", read_inodes},     {"open", read_open},     {"snapshot", read_snapshot},
	{"deployed", read_deployed}, {"docker", read_docker}, {"container", read_container},
	{"digest", read_digest},     {"log", read_log},       {"end", read_end},
};

static bool read_line(struct answer *a, const char *line)
{
	size_t len = strcspn(line, " ");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i].word) == len && strncmp(kinds[i].word, line, len) == 0)
			return kinds[i].read(a, line + len);
	return false;
}

static int by_service(const void *a, const void *b)
{
	static const char *const keys[] = {"project", "service", "name"};
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *x = json_get_string(*(json_t *const *)a, keys[i]),
			   *y = json_get_string(*(json_t *const *)b, keys[i]);
		int r = strcmp(x != NULL ? x : "", y != NULL ? y : "");
		if (r != 0)
			return r;
	}
	return 0;
}

static void sort_containers(struct answer *a)
{
	json_t *list = json_object_get(a->target, "containers"), *sorted = json_array();
	size_t count = json_array_size(list);
	_cleanup_free_ json_t **items = xcalloc(count + 1, sizeof(json_t *));
	for (size_t i = 0; i < count; i++)
		items[i] = json_array_get(list, i);
	qsort(items, count, sizeof(json_t *), by_service);
	for (size_t i = 0; i < count; i++)
		json_array_append(sorted, items[i]);
	if (count > 0)
		json_object_set(a->target, "containers", sorted);
	json_decref(sorted);
}

static void put_together(struct answer *a)
{
	const char *key;
	json_t *disk, *container;
	size_t i;
	sort_containers(a);
	json_object_foreach(a->disks, key, disk) json_array_append(list_of(a, "disks"), disk);
	json_array_foreach(json_object_get(a->target, "containers"), i, container)
	{
		const char *image = json_get_string(container, "image");
		json_t *digest = image != NULL ? json_object_get(a->digests, image) : NULL;
		if (digest != NULL)
			json_object_set(container, "digest", digest);
	}
}

void status_answer(const char *text, size_t len, const char *base, int64_t now_s, json_t *target)
{
	struct answer a = {.target = target,
	                   .disks = json_object(),
	                   .by_id = json_object(),
	                   .digests = json_object(),
	                   .base = base,
	                   .now_s = now_s,
	                   .host_now_s = now_s};
	int64_t unexpected = 0;
	for (const char *end = text + len; text < end;) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t length = (size_t)((newline != NULL ? newline : end) - text);
		_cleanup_free_ char *line = xstrndup(text, MIN(length, (size_t)LINE_MAX_BYTES));
		if (*line != '\0' && !read_line(&a, line))
			unexpected++;
		text += length + 1;
	}
	put_together(&a);
	if (!a.ended)
		json_object_set_new(target, "incomplete", json_true());
	if (unexpected > 0)
		json_object_set_new(target, "unexpected", json_integer(unexpected));
	json_decref(a.disks);
	json_decref(a.by_id);
	json_decref(a.digests);
}
