/* Paths, disk space, inodes and commands of a target. */
#include "steps/preflight/preflight.h"
#include "engine/run/needs.h"

#include "steps/common/paths.h"

#include <ctype.h>

/* "2G", "500M", bytes. */
bool preflight_read_size(const char *text, int64_t *ret)
{
	char *end;
	if (!isdigit((unsigned char)*text))
		return false;
	unsigned long long n = strtoull(text, &end, 10);
	int shift = 0;
	switch (toupper((unsigned char)*end)) {
	case 'K':
		shift = 10;
		break;
	case 'M':
		shift = 20;
		break;
	case 'G':
		shift = 30;
		break;
	case 'T':
		shift = 40;
		break;
	case '\0':
		break;
	default:
		return false;
	}
	if (shift != 0)
		end++;
	if (toupper((unsigned char)*end) == 'B' && shift != 0)
		end++;
	if (*end != '\0' || n > (unsigned long long)INT64_MAX >> shift)
		return false;
	*ret = (int64_t)(n << shift);
	return true;
}

/* The nearest existing directory, and whether it can be written. */
static const char path_script[] =
	"p=$P\n"
	"if [ -e \"$p\" ] && [ ! -d \"$p\" ]; then echo \"is not a directory\"; exit 1; fi\n"
	"while [ ! -d \"$p\" ]; do p=${p%/*}; [ -n \"$p\" ] || p=/; done\n"
	"[ -w \"$p\" ] && [ -x \"$p\" ] && exit 0\n"
	"[ \"$p\" = \"$P\" ] && echo \"cannot be written\" || echo \"cannot be made: $p cannot be written\"\n"
	"exit 1\n";

static int check_path(struct view *v, const char *path, const char *pointer, struct faults *faults, struct err *err)
{
	const struct field_pair env[] = {{"P", path}};
	_cleanup_(str_done) struct str out = STR_INIT(64 << 10);
	int r = step_ask(v, path_script, env, 1, NULL, &out, err);
	if (r <= 0)
		return r;
	while (out.len > 0 && out.data[out.len - 1] == '\n')
		str_truncate(&out, out.len - 1);
	faults_add(faults, NULL, pointer, "'%s' on '%s' %s by '%s'", path, v->name,
	           out.len > 0 ? out.data : "cannot be used", v->facts.user);
	faults_hint(faults, "%s", needs_way_to_write(v));
	return 0;
}

static int check_disk(struct view *v, const struct field_pair *wanted, struct faults *faults, struct err *err)
{
	int64_t need = 0, have = 0;
	_cleanup_(str_done) struct str at = STR_INIT(1024);
	preflight_at_key(&at, "disk", wanted->key);
	if (!preflight_read_size(wanted->value, &need))
		return 0;
	/* The nearest existing directory tells the file system. */
	_cleanup_free_ char *path = xstrdup(wanted->key);
	for (;;) {
		struct node node = {0};
		int r = host_stat(v, path, &node, err);
		if (r < 0)
			return r;
		bool there = node.type != NODE_ABSENT;
		node_done(&node);
		char *slash = strrchr(path, '/');
		if (there || slash == NULL)
			break;
		slash[slash == path] = '\0';
		if (strcmp(path, "/") == 0)
			break;
	}
	int r = host_space(v, path, &have, err);
	if (r < 0)
		return r;
	if (have >= need)
		return 0;
	faults_add(faults, NULL, str_peek(&at), "'%s' on '%s' has %lld MiB free, %s are wanted", wanted->key, v->name,
	           (long long)(have >> 20), wanted->value);
	faults_hint(faults, "make room there, or ask for less");
	return 0;
}

static int check_tools(struct view *v, const struct field_strings *tools, struct faults *faults, struct err *err)
{
	for (size_t i = 0; i < tools->count; i++) {
		const struct field_pair env[] = {{"T", tools->items[i]}};
		_cleanup_(str_done) struct str at = STR_INIT(256);
		preflight_at_index(&at, "tools", i);
		int r = step_ask(v, "command -v -- \"$T\" >/dev/null 2>&1 || command -v \"$T\" >/dev/null 2>&1", env, 1,
		                 NULL, NULL, err);
		if (r < 0)
			return r;
		if (r != 0) {
			faults_add(faults, NULL, str_peek(&at), "the command '%s' is not on '%s'", tools->items[i],
			           v->name);
			faults_hint(faults, "install it there, or give its directory to the PATH of '%s'",
			            v->facts.user);
		}
	}
	return 0;
}

/* FREE INODES of the nearest directory; nothing where the file system does not count them. */
static const char inodes_script[] =
	"p=$P\nwhile [ ! -d \"$p\" ]; do p=${p%/*}; [ -n \"$p\" ] || p=/; done\n"
	"df -Pi -- \"$p\" 2>/dev/null | { read -r _; read -r _ all _ free _; [ \"${all:-0}\" != 0 ] && echo \"$free\"; }\n:\n";

static int check_inodes(struct view *v, const struct field_pair *wanted, struct faults *faults, struct err *err)
{
	const struct field_pair env[] = {{"P", wanted->key}};
	_cleanup_(str_done) struct str out = STR_INIT(64 << 10), at = STR_INIT(1024);
	char *end;
	int r = step_ask(v, inodes_script, env, 1, NULL, &out, err);
	if (r < 0)
		return r;
	long long have = strtoll(str_peek(&out), &end, 10);
	if (end == str_peek(&out) || have >= strtoll(wanted->value, NULL, 10))
		return 0;
	preflight_at_key(&at, "inodes", wanted->key);
	faults_add(faults, NULL, str_peek(&at), "'%s' on '%s' has %lld inodes free, %s are wanted", wanted->key,
	           v->name, have, wanted->value);
	faults_hint(faults, "remove files there: many small ones use up inodes before space");
	return 0;
}

int preflight_check_files(const struct preflight_in *in, struct view *v, struct faults *faults, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < in->paths.count; i++) {
		_cleanup_(str_done) struct str at = STR_INIT(256);
		preflight_at_index(&at, "paths", i);
		r = check_path(v, in->paths.items[i], str_peek(&at), faults, err);
	}
	for (size_t i = 0; r == 0 && i < in->disk.count; i++)
		r = check_disk(v, &in->disk.items[i], faults, err);
	for (size_t i = 0; r == 0 && i < in->inodes.count; i++)
		r = check_inodes(v, &in->inodes.items[i], faults, err);
	return r == 0 ? check_tools(v, &in->tools, faults, err) : r;
}
