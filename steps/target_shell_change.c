/* The shell target: changes of single names. */
#include "steps/target_shell.h"
#include "steps/text_delta.h"

#include <inttypes.h>

/* Up to this many bytes of text stand in the script itself: a script that arrives half is not run at all. */
enum { INLINE_MAX = 4 * 1024, SCRIPT_MAX = 256 * 1024 };

void shell_attr_text(const struct shell_target *s, struct str *out, const char *word, const struct node_attr *attr)
{
	if (attr == NULL)
		return;
	if (attr->owner != NULL || attr->group != NULL) {
		/* First: it clears setuid. */
		str_append(out, " && chown -h ");
		if (attr->owner != NULL)
			str_append_shell(out, attr->owner);
		if (attr->group != NULL) {
			str_append(out, ":");
			str_append_shell(out, attr->group);
		}
		str_appendf(out, " %s", word);
	}
	if (attr->set_mode)
		str_appendf(out, " && { [ -L %s ] || chmod %04o %s; }", word, (unsigned)attr->mode & 07777, word);
	if (attr->set_mtime) {
		uint64_t ns = attr->mtime_ns < 0 ? -(uint64_t)attr->mtime_ns : (uint64_t)attr->mtime_ns;
		/* A touch that is not GNU's knows whole seconds only. */
		str_appendf(out, " && touch -h -c -m -d '@%s%" PRIu64, attr->mtime_ns < 0 ? "-" : "", ns / 1000000000);
		if (s->has_stat_ns)
			str_appendf(out, ".%09" PRIu64, ns % 1000000000);
		str_appendf(out, "' %s", word);
	}
}

/* NAME='quoted' */
static void assign(struct str *out, const char *name, const char *value)
{
	str_appendf(out, "%s=", name);
	str_append_shell(out, value);
	str_append(out, "\n");
}

static int change(struct target *t, const char *path, const struct str *script, const struct shell_input *input,
		  const char *what, struct err *err)
{
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(SHELL_MESSAGE_MAX);
	if (script->failed)
		return err_set(err, ERR_LIMIT, "%s '%s': the name is too long", what, path);
	int r = shell_change(t, path, script->data, input, &said, err);
	if (r < 0)
		return err_wrap(err, r, "%s '%s'", what, path);
	return said.status == 0 ? 0 : shell_fail(&said, err, "%s '%s'", what, path);
}

#define SCRIPT(name) _cleanup_(str_done) struct str name = STR_INIT(SCRIPT_MAX)
static const char refuse_existing[] = "! v \"$p\" || { echo 'File exists' >&2; exit 1; }\n";

void shell_mkdir_text(const struct shell_target *s, const char *path, const struct node_attr *attr, struct str *out)
{
	struct node_attr given = attr != NULL ? *attr : (struct node_attr){0};
	unsigned mode = given.set_mode ? (unsigned)given.mode & 07777 : 0755;
	assign(out, "p", path);
	if (given.owner == NULL && given.group == NULL && !given.set_mtime) {
		str_appendf(out, "mkdir -m %04o -- \"$p\"", mode);
		return;
	}
	/* Made under the private name with all its attributes, then renamed: there, or not there. */
	_cleanup_free_ char *private_name = target_private_name(path);
	given.set_mode = true;
	given.mode = mode;
	assign(out, "q", private_name);
	str_append(out, refuse_existing);
	str_append(out, "rm -rf -- \"$q\"; mkdir -m 700 -- \"$q\"");
	shell_attr_text(s, out, "\"$q\"", &given);
	str_append(out, " && mv -T -- \"$q\" \"$p\" || { rmdir -- \"$q\" 2>/dev/null; exit 1; }");
}

int shell_mkdir(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	SCRIPT(script);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	shell_mkdir_text((struct shell_target *)t, path, attr, &script);
	return change(t, path, &script, NULL, "make the directory", err);
}

/* Text that is written by the shell's own printf: no process, and never an argument of one. */
bool shell_fits_in_script(const struct shell_target *s, const void *data, size_t len)
{
	return s->has_printf && len <= INLINE_MAX && (len == 0 || memchr(data, '\0', len) == NULL);
}

static void assign_content(struct str *out, const void *data, size_t len)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(INLINE_MAX + 1);
	str_append_n(&text, data, len);
	assign(out, "c", str_peek(&text));
}

/* The attributes of "$q", which was made 0600 and ours, and whose size must be `size` (-1: known to be right). A file
 * that is replaced keeps what is not set. */
static void put_attr_text(const struct shell_target *s, const struct node_attr *attr, int64_t size, struct str *out)
{
	bool keeps = !attr->set_mode || attr->owner == NULL || attr->group == NULL;
	str_append(out, "m=0644 u= o=\n");
	if (keeps)
		str_append(out, "if [ -f \"$p\" ] && [ ! -L \"$p\" ]; then f=$p; else f=; fi\n");
	if (size >= 0)
		str_appendf(out,
			    "set -- $(stat -c '%%s %%a %%u %%g' -- \"$q\"%s); [ \"$1\" = %lld ] || { echo 'the content "
			    "came only in part' >&2; x; }\n"
			    "[ $# -lt 8 ] || { m=$6 u=$7 o=$8; }\n",
			    keeps ? " ${f:+\"$f\"}" : "", (long long)size);
	else if (keeps)
		str_append(out, "[ -z \"$f\" ] || { set -- $(stat -c '%a %u %g' -- \"$f\"); m=$1 u=$2 o=$3; }\n");
	if (attr->owner == NULL)
		str_appendf(out, "[ -z \"$u\" ] || [ \"$u\" = %u ] || chown \"$u\" \"$q\" || x\n", (unsigned)s->uid);
	if (attr->group == NULL)
		str_appendf(out, "[ -z \"$o\" ] || [ \"$o\" = %u ] || chown \":$o\" \"$q\" || x\n", (unsigned)s->gid);
	/* Owner first, mode behind it. A new file of ours is 0600 already. */
	struct node_attr given = *attr;
	bool as_made = given.set_mode && (given.mode & 07777) == 0600 && given.owner == NULL && given.group == NULL;
	if (as_made)
		given.set_mode = false;
	str_append(out, "true");
	shell_attr_text(s, out, "\"$q\"", &given);
	if (!attr->set_mode)
		str_append(out, " && chmod \"$m\" \"$q\"");
}

/* set -C: the private name is made, never followed. */
static void begin_put(const char *path, struct str *out)
{
	_cleanup_free_ char *private_name = target_private_name(path);
	assign(out, "p", path);
	assign(out, "q", private_name);
	str_append(out, "x() { rm -f -- \"$q\"; exit 1; }\n! v \"$q\" || rm -f -- \"$q\" || exit 1\nset -C\n");
}

/* size: -1 where it cannot be another one. */
static void end_put(const struct shell_target *s, const struct node_attr *attr, int64_t size, struct str *out)
{
	const struct node_attr given = attr != NULL ? *attr : (struct node_attr){0};
	put_attr_text(s, &given, size, out);
	str_appendf(out, "%s && mv -fT -- \"$q\" \"$p\" || x",
		    s->t.view.facts.has_sync_f ? " && sync -- \"$q\"" : "");
}

void shell_put_text(const struct shell_target *s, const char *path, const void *data, size_t len,
		    const struct node_attr *attr, struct str *out)
{
	bool in_script = shell_fits_in_script(s, data, len);
	begin_put(path, out);
	if (in_script) {
		/* The shell's own words for a full disk are poor: cat finds better ones. */
		assign_content(out, data, len);
		str_append(out, "printf %s \"$c\" >\"$q\" 2>/dev/null || { rm -f -- \"$q\"; printf %s \"$c\" | cat "
				">\"$q\"; } || x\n");
	} else {
		str_append(out, "cat >\"$q\" || x\n");
	}
	end_put(s, attr, in_script ? -1 : (int64_t)len, out);
}

int shell_put(struct target *t, const char *path, const void *data, size_t len, const struct node_attr *attr,
	      struct err *err)
{
	struct shell_target *s = (struct shell_target *)t;
	_cleanup_(str_done) struct str script = STR_SECRET_INIT(SCRIPT_MAX);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	struct shell_input input = {.data = data, .len = shell_fits_in_script(s, data, len) ? 0 : len};
	shell_put_text(s, path, data, len, attr, &script);
	return change(t, path, &script, &input, "write", err);
}

/* Reads the instructions of steps/text_delta.h. */
static const char patcher[] = "open F,\"<\",$ARGV[0] or die;binmode $_ for*F,*STDIN,*STDOUT;while(<STDIN>){my@w=split;my $b;"
			      "if($w[0]eq\"c\"){seek F,$w[1],0;read(F,$b,$w[2])==$w[2]or die}"
			      "else{read(STDIN,$b,$w[1])==$w[1]or die}print $b or die}close STDOUT or die";

int shell_put_like(struct target *t, const char *path, const struct str *data, const struct node_attr *attr,
		   const char *from, const struct str *from_data, struct err *err)
{
	struct shell_target *s = (struct shell_target *)t;
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX), delta = STR_INIT(SIZE_MAX / 2);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	if (!s->has_perl || data->len <= INLINE_MAX ||
	    text_delta(str_peek(from_data), from_data->len, str_peek(data), data->len, &delta) > data->len / 2)
		return shell_put(t, path, str_peek(data), data->len, attr, err);
	begin_put(path, &script);
	assign(&script, "f", from);
	str_append(&script, "perl -e ");
	str_append_shell(&script, patcher);
	str_append(&script, " \"$f\" >\"$q\" || x\n");
	end_put(s, attr, (int64_t)data->len, &script);
	const struct shell_input input = {.data = str_peek(&delta), .len = delta.len};
	r = change(t, path, &script, &input, "write", err);
	if (r != ERR_IO && r != ERR_NOT_FOUND)
		return r;
	/* The other file is not what it was: then this one is sent as a whole. */
	err_clear(err);
	return shell_put(t, path, str_peek(data), data->len, attr, err);
}

int shell_append(struct target *t, const char *path, const void *data, size_t len, struct err *err)
{
	struct shell_target *s = (struct shell_target *)t;
	_cleanup_(str_done) struct str script = STR_SECRET_INIT(SCRIPT_MAX);
	int r = shell_open(&t->view, err);
	if (r < 0 || len == 0)
		return r;
	bool in_script = shell_fits_in_script(s, data, len);
	assign(&script, "p", path);
	str_append(&script, "[ ! -L \"$p\" ] || { echo 'a link' >&2; exit 1; }\n");
	if (in_script) {
		assign_content(&script, data, len);
		str_append(&script, "[ -e \"$p\" ] || : >>\"$p\" || exit 1\nprintf %s \"$c\" >>\"$p\"");
	} else {
		/* Whole on the target before the first byte is appended, and then in one write. */
		_cleanup_free_ char *private_name = target_private_name_for(path, "part");
		assign(&script, "q", private_name);
		str_appendf(&script,
			    "rm -f -- \"$q\"; (set -C; cat >\"$q\") && [ \"$(wc -c <\"$q\")\" -eq %zu ] || { rm -f -- "
			    "\"$q\"; exit 1; }\n",
			    len);
		str_appendf(&script,
			    "dd status=none bs=%zu if=\"$q\" iflag=fullblock oflag=append conv=notrunc of=\"$p\"; "
			    "r=$?; rm -f -- \"$q\"; exit $r",
			    len);
	}
	struct shell_input input = {.data = data, .len = in_script ? 0 : len};
	return change(t, path, &script, &input, "append to", err);
}

int shell_symlink(struct target *t, const char *path, const char *link, struct err *err)
{
	SCRIPT(script);
	_cleanup_free_ char *private_name = target_private_name(path);
	assign(&script, "p", path);
	assign(&script, "q", private_name);
	assign(&script, "l", link);
	str_append(
		&script,
		"[ -L \"$p\" ] || [ ! -e \"$p\" ] || { echo 'File exists, and it is no link' >&2; exit 1; }\n"
		"rm -f -- \"$q\"; ln -s -- \"$l\" \"$q\" && mv -fT -- \"$q\" \"$p\" || { rm -f -- \"$q\"; exit 1; }");
	return change(t, path, &script, NULL, "make the link", err);
}

void shell_link_new_text(const char *from, const char *to, struct str *out)
{
	assign(out, "p", to);
	assign(out, "f", from);
	str_append(out, refuse_existing);
	str_append(out, "ln -T -- \"$f\" \"$p\"");
}

int shell_link_new(struct target *t, const char *from, const char *to, struct err *err)
{
	SCRIPT(script);
	shell_link_new_text(from, to, &script);
	return change(t, to, &script, NULL, "make the hard link", err);
}

int shell_rename(struct target *t, const char *from, const char *to, struct err *err)
{
	SCRIPT(script);
	assign(&script, "p", to);
	assign(&script, "f", from);
	/* mv copies from one file system to another, which is no rename. */
	str_append(&script,
		   "d=${p%/*}; set -- $(stat -c %d -- \"$f\" \"${d:-/}\") || exit 1; [ $# = 2 ] || exit 1\n"
		   "[ \"$1\" = \"$2\" ] || { echo 'on another file system' >&2; exit 1; }; mv -fT -- \"$f\" \"$p\"");
	return change(t, to, &script, NULL, "rename to", err);
}

void shell_remove_text(const char *path, struct str *out)
{
	assign(out, "p", path);
	str_append(out, "if [ -d \"$p\" ] && [ ! -L \"$p\" ]; then rmdir -- \"$p\"; else rm -- \"$p\"; fi");
}

int shell_remove(struct target *t, const char *path, struct err *err)
{
	SCRIPT(script);
	shell_remove_text(path, &script);
	return change(t, path, &script, NULL, "remove", err);
}

int shell_remove_tree_text(const struct shell_target *s, const char *path, struct str *out, struct err *err)
{
	if (strcmp(path, "/") == 0)
		return err_set(err, ERR_INTERNAL, "the root folder was to be removed");
	assign(out, "p", path);
	str_append(out, s->has_one_fs ? "rm -rf --one-file-system -- \"$p\""
				      : "! v \"$p\" || find \"$p\" -xdev -depth \\( -type d -exec rmdir -- {} \\; "
					"-o -exec rm -f -- {} \\; \\); ! v \"$p\"");
	return 0;
}

int shell_remove_tree(struct target *t, const char *path, struct err *err)
{
	SCRIPT(script);
	int r = shell_open(&t->view, err);
	if (r == 0)
		r = shell_remove_tree_text((struct shell_target *)t, path, &script, err);
	if (r < 0)
		return r;
	const struct shell_input slow = {.timeout_ms = SHELL_LONG_MS};
	return change(t, path, &script, &slow, "remove the tree", err);
}

int shell_set_attr(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	struct shell_target *s = (struct shell_target *)t;
	SCRIPT(script);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	assign(&script, "p", path);
	str_append(&script, "v \"$p\" || { echo 'No such file' >&2; exit 1; }\ntrue");
	shell_attr_text(s, &script, "\"$p\"", attr);
	return change(t, path, &script, NULL, "set the attributes of", err);
}

void shell_barrier_text(const struct target *t, const char *const *paths, size_t count, struct str *out)
{
	if (!t->view.facts.has_sync_f) {
		str_append(out, "sync");
		return;
	}
	str_append(out, "set --\nfor p in");
	for (size_t i = 0; i < count; i++) {
		str_append(out, " ");
		str_append_shell(out, paths[i]);
	}
	/* Each file system once, where that is worth asking which they are. */
	str_append(out, "; do while [ ! -e \"$p\" ] && [ \"$p\" != / ]; do p=${p%/*}; p=${p:-/}; done; set -- \"$@\" \"$p\"; done\n"
			"if [ $# -gt 2 ]; then l=$(stat -L -c %d -- \"$@\") || exit 1; d=; for n in $l; do\n"
			"case \" $d \" in *\" $n \"*) ;; *) d=\"$d $n\"; set -- \"$@\" \"$1\";; esac; shift; done; fi\n"
			"sync -f -- \"$@\"");
}

int shell_barrier(struct target *t, const char *const *paths, size_t count, struct err *err)
{
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(SHELL_MESSAGE_MAX);
	_cleanup_(str_done) struct str script = STR_INIT(SIZE_MAX / 2);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	shell_barrier_text(t, paths, count, &script);
	/* Syncing changes nothing, but a lost reply leaves open whether all is durable: the caller asks again. */
	r = shell_look_long(&t->view, str_peek(&script), &said, err);
	if (r < 0)
		return err_wrap(err, r, "sync on '%s'", t->view.name);
	return said.status == 0 ? 0 : shell_fail(&said, err, "sync on '%s'", t->view.name);
}
