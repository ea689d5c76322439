/* The shell target: looking at single things. */
#include "engine/target/shell/shell.h"

#include <stdio.h>
#include <sys/stat.h>

enum { NAMES_MAX = 256 << 20, LINK_MAX_BYTES = 64 * 1024 };

/* "1700000000.123456789" */
static int64_t parse_time(const char *text)
{
	long long seconds = strtoll(text, NULL, 10);
	int64_t ns = 0;
	const char *dot = strchr(text, '.');
	for (int i = 0; i < 9; i++)
		ns = ns * 10 + (dot != NULL && dot[1] >= '0' && dot[1] <= '9' ? *++dot - '0' : 0);
	return (int64_t)seconds * 1000000000 + ns;
}

bool shell_parse_node(const char *text, struct node *n, int *ret_end)
{
	unsigned mode, uid, gid;
	long long size;
	char time[48], owner[64], group[64];
	if (sscanf(text, "%x %u %u %lld %47s %63s %63s%n", &mode, &uid, &gid, &size, time, owner, group, ret_end) != 7)
		return false;
	*ret_end += text[*ret_end] == ' ';
	n->type = S_ISREG(mode) ? NODE_FILE : S_ISDIR(mode) ? NODE_DIR : S_ISLNK(mode) ? NODE_LINK : NODE_OTHER;
	n->mode = mode & 07777;
	n->uid = uid;
	n->gid = gid;
	n->size = size;
	n->mtime_ns = parse_time(time);
	if (strcmp(owner, "UNKNOWN") == 0)
		snprintf(n->owner, sizeof(n->owner), "%u", uid);
	else
		memcpy(n->owner, owner, sizeof(owner));
	if (strcmp(group, "UNKNOWN") == 0)
		snprintf(n->group, sizeof(n->group), "%u", gid);
	else
		memcpy(n->group, group, sizeof(group));
	return true;
}

static int parse_stat(const struct shell_result *said, struct node *n)
{
	const char *line = str_peek(&said->out);
	int end;
	if (!shell_parse_node(line, n, &end))
		return ERR_PROTOCOL;
	if (n->type == NODE_LINK) {
		const char *link = strchr(line, '\n');
		size_t len = link != NULL ? said->out.len - (size_t)(link + 1 - line) : 0;
		if (len == 0)
			return ERR_PROTOCOL;
		n->link = xstrndup(link + 1, len - 1);
	}
	return 0;
}

int shell_stat(struct view *v, const char *path, struct node *ret, struct err *err)
{
	struct shell_target *s = (struct shell_target *)v;
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(LINK_MAX_BYTES);
	_cleanup_(str_done) struct str script = STR_INIT(64 * 1024);
	struct node n = {0};
	int r = shell_open(v, err);
	if (r < 0)
		return r;
	str_append(&script, "p=");
	str_append_shell(&script, path);
	str_appendf(&script,
	            "; stat -c '%%f %%u %%g %%s %s %%U %%G' -- \"$p\" || exit 1; [ ! -L \"$p\" ] || readlink -- \"$p\"",
	            s->has_stat_ns ? "%.9Y" : "%Y");
	r = shell_look(v, str_peek(&script), &said, err);
	if (r < 0)
		return r;
	if (said.status != 0) {
		if (shell_code_of(str_peek(&said.err)) != ERR_NOT_FOUND)
			return shell_fail(&said, err, "look at '%s'", path);
		*ret = n;
		return 0;
	}
	r = parse_stat(&said, &n);
	if (r < 0)
		return err_set(err, r, "look at '%s': unexpected reply", path);
	*ret = n;
	return 0;
}

static void read_text(const char *path, size_t max, struct str *out)
{
	str_append(out, "p=");
	str_append_shell(out, path);
	/* A pipe or device there would not end. */
	str_appendf(out,
	            "; if [ -d \"$p\" ] || [ ! -e \"$p\" ] || [ -f \"$p\" ]; then cat -- \"$p\" | head -c %zu\n"
	            "[ -r \"$p\" ] && [ ! -d \"$p\" ]; else echo 'not a file' >&2; false; fi",
	            max + 1);
}

typedef int (*look_fn)(struct view *v, const char *script, struct shell_result *ret, struct err *err);

static int read_by(struct view *v, look_fn look, const struct str *script, const char *path, size_t max,
                   struct str *out, struct err *err)
{
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(max + 2);
	said.out.wipe = out->wipe;
	int r = look(v, str_peek(script), &said, err);
	if (r < 0)
		return r;
	if (said.status == SHELL_NOT_SYNCED)
		return shell_fail(&said, err, "sync on '%s'", v->name);
	if (said.status != 0)
		return shell_fail(&said, err, "read '%s'", path);
	if (said.out.len > max)
		return err_set(err, ERR_LIMIT, "'%s' is larger than %zu bytes", path, max);
	if (!str_append_n(out, str_peek(&said.out), said.out.len))
		return err_set(err, ERR_LIMIT, "'%s' is larger than %zu bytes", path, out->max);
	return 0;
}

int shell_read(struct view *v, const char *path, size_t max, struct str *out, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(64 * 1024);
	read_text(path, max, &script);
	return read_by(v, shell_look, &script, path, max, out, err);
}

int shell_barrier_read(struct target *t, const char *const *paths, size_t count, const char *path, size_t max,
                       struct str *out, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(SIZE_MAX / 2);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	str_append(&script, "(\n");
	shell_barrier_text(t, paths, count, &script);
	str_appendf(&script, "\n) || exit %d\n", SHELL_NOT_SYNCED);
	read_text(path, max, &script);
	return read_by(&t->view, shell_look_long, &script, path, max, out, err);
}

int shell_list(struct view *v, const char *path, struct strv *ret, struct err *err)
{
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(NAMES_MAX);
	_cleanup_(str_done) struct str script = STR_INIT(64 * 1024);
	str_append(&script, "p=");
	str_append_shell(&script, path);
	/* dash's cd does not say why it fails; stat and ls do. */
	str_append(&script,
	           "; [ -d \"$p\" ] || { stat -c '' -- \"$p\" >/dev/null && echo 'Not a directory' >&2; exit 1; }\n"
	           "cd -- \"$p\" 2>/dev/null && [ -r . ] || { ls -- \"$p\" >/dev/null; exit 1; }\n"
	           "for f in * .[!.]* ..?*; do ! v \"$f\" || printf '%s\\000' \"$f\"; done");
	int r = shell_look(v, str_peek(&script), &said, err);
	if (r < 0)
		return r;
	if (said.status != 0)
		return shell_fail(&said, err, "list '%s'", path);
	struct strv names = {0};
	for (size_t at = 0; at < said.out.len; at += strlen(said.out.data + at) + 1)
		strv_add(&names, said.out.data + at);
	strv_sort(&names);
	*ret = names;
	return 0;
}

static int need_sha256(struct view *v, struct err *err)
{
	int r = shell_open(v, err);
	if (r < 0 || v->facts.has_sha256sum)
		return r;
	return err_hint(err, err_set(err, ERR_UNSUPPORTED, "'%s' has no sha256sum", v->name),
	                "install coreutils there");
}

int shell_digest(struct view *v, const char *path, char hex[65], struct err *err)
{
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(SHELL_MESSAGE_MAX);
	_cleanup_(str_done) struct str script = STR_INIT(64 * 1024);
	int r = need_sha256(v, err);
	if (r < 0)
		return r;
	str_append(&script, "p=");
	str_append_shell(&script, path);
	str_append(&script, "; [ ! -L \"$p\" ] || { echo 'a link' >&2; exit 1; }; [ -f \"$p\" ] || { stat -c '' -- "
	                    "\"$p\" >/dev/null && echo 'not a file' >&2; exit 1; }\n"
	                    "sha256sum <\"$p\"");
	r = shell_look_long(v, str_peek(&script), &said, err);
	if (r < 0)
		return r;
	if (said.status != 0)
		return shell_fail(&said, err, "digest of '%s'", path);
	if (said.out.len < 64 || strspn(said.out.data, "0123456789abcdef") != 64)
		return err_set(err, ERR_PROTOCOL, "digest of '%s': unexpected reply", path);
	memcpy(hex, said.out.data, 64);
	hex[64] = '\0';
	return 0;
}

int shell_space(struct view *v, const char *path, int64_t *ret_free_bytes, struct err *err)
{
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(SHELL_MESSAGE_MAX);
	_cleanup_(str_done) struct str script = STR_INIT(64 * 1024);
	long long blocks, size;
	str_append(&script, "p=");
	str_append_shell(&script, path);
	str_append(&script, "; while [ ! -e \"$p\" ] && [ \"$p\" != / ]; do p=${p%/*}; p=${p:-/}; done; stat -f -c '%a "
	                    "%S' -- \"$p\"");
	int r = shell_look(v, str_peek(&script), &said, err);
	if (r < 0)
		return r;
	if (said.status != 0)
		return shell_fail(&said, err, "find the free space of '%s'", path);
	if (sscanf(str_peek(&said.out), "%lld %lld", &blocks, &size) != 2)
		return err_set(err, ERR_PROTOCOL, "free space of '%s': unexpected reply", path);
	*ret_free_bytes = (int64_t)blocks * (int64_t)size;
	return 0;
}

/* ---- trees ---- */

static mode_t type_bits(char letter)
{
	return letter == 'f' ? S_IFREG : letter == 'd' ? S_IFDIR : letter == 'l' ? S_IFLNK : 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct tree_entry *)a)->path, ((const struct tree_entry *)b)->path);
}

/* "644 f 12 1700000000.5 a/b" */
static int parse_entry(const char *line, const char *link, struct tree *t, const char *root, struct err *err)
{
	unsigned mode;
	char letter, time[48];
	long long size;
	int at = 0;
	/* A name may begin with blanks: only one of them is the separator. */
	if (sscanf(line, "%o %c %lld %47s%n", &mode, &letter, &size, time, &at) != 4 || at == 0 || line[at++] != ' ')
		return err_set(err, ERR_PROTOCOL, "'%s': unexpected list", root);
	if (type_bits(letter) == 0) {
		int r = err_set(err, ERR_INVALID, "'%s/%s' is a device, pipe or socket", root, line + at);
		return err_hint(err, r, "only files, directories and links are handled");
	}
	t->entries = xgrow(t->entries, &t->cap, t->count + 1, sizeof(t->entries[0]));
	struct tree_entry *e = &t->entries[t->count++];
	*e = (struct tree_entry){
		.path = xstrdup(line + at), .mode = type_bits(letter) | (mode & 07777), .mtime_ns = parse_time(time)};
	if (letter == 'f') {
		e->size = size;
		t->bytes += size;
	}
	if (letter == 'l')
		e->link = xstrdup(link);
	return 0;
}

static int parse_digest(const char *line, struct tree *t, const char *root, struct err *err)
{
	size_t root_len = strcmp(root, "/") == 0 ? 0 : strlen(root);
	struct tree_entry key;
	if (strlen(line) < 66 + root_len + 1)
		return err_set(err, ERR_PROTOCOL, "'%s': unexpected digests", root);
	key.path = (char *)(uintptr_t)(line + 66 + root_len + 1);
	struct tree_entry *e = bsearch(&key, t->entries, t->count, sizeof(key), by_path);
	/* A file that appeared in between: the next look sees it. */
	if (e != NULL && !tree_entry_set_hex(e, line))
		return err_set(err, ERR_PROTOCOL, "'%s': unexpected digests", root);
	return 0;
}

static int parse_tree(const struct str *said, const char *root, struct tree *t, struct err *err)
{
	const char *p = str_peek(said), *end = p + said->len;
	int r = 0;
	while (r == 0 && p < end && *p != '\001') {
		const char *link = p + strlen(p) + 1;
		if (link >= end)
			return err_set(err, ERR_PROTOCOL, "'%s': the list is cut", root);
		r = parse_entry(p, link, t, root, err);
		p = link + strlen(link) + 1;
	}
	if (t->count > 0)
		qsort(t->entries, t->count, sizeof(t->entries[0]), by_path);
	if (p < end)
		p += strlen(p) + 1;
	for (; r == 0 && p < end; p += strlen(p) + 1)
		r = parse_digest(p, t, root, err);
	return r;
}

int shell_tree(struct view *v, const char *path, bool digests, struct tree *ret, struct err *err)
{
	struct shell_target *s = (struct shell_target *)v;
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(NAMES_MAX);
	_cleanup_(str_done) struct str script = STR_INIT(64 * 1024);
	_cleanup_(tree_done) struct tree tree = {0};
	int r = digests ? need_sha256(v, err) : shell_open(v, err);
	if (r < 0)
		return r;
	if (!s->has_find_printf || (digests && !s->has_sum_z))
		return err_hint(err,
		                err_set(err, ERR_UNSUPPORTED,
		                        "'%s' cannot list a tree: its find or sha256sum is too small", v->name),
		                "install findutils and coreutils (GNU) there");
	str_append(&script, "p=");
	str_append_shell(&script, path);
	str_append(&script, "; [ ! -L \"$p\" ] && [ -d \"$p\" ] || { stat -c '' -- \"$p\" >/dev/null && echo 'not a "
	                    "directory itself' >&2; exit 1; }\n"
	                    "find \"$p\" -mindepth 1 -printf '%m %y %s %T@ %P\\0%l\\0' || exit 1");
	if (digests)
		str_append(
			&script,
			"\nprintf '\\001\\000'; find \"$p\" -mindepth 1 -type f -print0 | xargs -0 -r sha256sum -z --");
	r = shell_look_long(v, str_peek(&script), &said, err);
	if (r < 0)
		return r;
	if (said.status != 0)
		return shell_fail(&said, err, "walk '%s'", path);
	r = parse_tree(&said.out, path, &tree, err);
	if (r < 0)
		return r;
	*ret = tree;
	tree = (struct tree){0};
	return 0;
}
