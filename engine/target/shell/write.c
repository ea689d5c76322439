/* The shell target: changes of single names. Entries that are made whole and then renamed: put.c. */
#include "engine/target/shell/shell.h"

#include <inttypes.h>

enum { SCRIPT_MAX = 256 * 1024 };

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
		str_appendf(out, " && { [ -L %s ] || chmod %05o %s; }", word, (unsigned)attr->mode & 07777, word);
	if (attr->set_mtime) {
		uint64_t ns = attr->mtime_ns < 0 ? -(uint64_t)attr->mtime_ns : (uint64_t)attr->mtime_ns;
		/* A touch that is not GNU's supports whole seconds only. */
		str_appendf(out, " && touch -h -c -m -d '@%s%" PRIu64, attr->mtime_ns < 0 ? "-" : "", ns / 1000000000);
		if (s->has_stat_ns)
			str_appendf(out, ".%09" PRIu64, ns % 1000000000);
		str_appendf(out, "' %s", word);
	}
}

void shell_assign(struct str *out, const char *name, const char *value)
{
	str_appendf(out, "%s=", name);
	str_append_shell(out, value);
	str_append(out, "\n");
}

int shell_change_one(struct target *t, const char *path, const struct str *script, const struct shell_input *input,
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

int shell_append(struct target *t, const char *path, const void *data, size_t len, struct err *err)
{
	struct shell_target *s = (struct shell_target *)t;
	_cleanup_(str_done) struct str script = STR_SECRET_INIT(SCRIPT_MAX);
	int r = shell_open(&t->view, err);
	if (r < 0 || len == 0)
		return r;
	bool in_script = shell_fits_in_script(s, data, len);
	shell_assign(&script, "p", path);
	str_append(&script, "[ ! -L \"$p\" ] || { echo 'a link' >&2; exit 1; }\n");
	if (in_script) {
		shell_assign_content(&script, data, len);
		str_append(&script, "[ -e \"$p\" ] || : >>\"$p\" || exit 1\nprintf %s \"$c\" >>\"$p\"");
	} else {
		/* Whole on the target before the first byte is appended, and then in one write. */
		_cleanup_free_ char *private_name = target_private_name_for(path, "part");
		shell_assign(&script, "q", private_name);
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
	return shell_change_one(t, path, &script, &input, "append to", err);
}

void shell_link_new_text(const char *from, const char *to, struct str *out)
{
	shell_assign(out, "p", to);
	shell_assign(out, "f", from);
	str_append(out, refuse_existing);
	str_append(out, "ln -T -- \"$f\" \"$p\"");
}

int shell_link_new(struct target *t, const char *from, const char *to, struct err *err)
{
	SCRIPT(script);
	shell_link_new_text(from, to, &script);
	return shell_change_one(t, to, &script, NULL, "make the hard link", err);
}

int shell_rename(struct target *t, const char *from, const char *to, struct err *err)
{
	SCRIPT(script);
	shell_assign(&script, "p", to);
	shell_assign(&script, "f", from);
	/* mv copies from one file system to another, which is no rename. */
	str_append(&script,
	           "d=${p%/*}; set -- $(stat -c %d -- \"$f\" \"${d:-/}\") || exit 1; [ $# = 2 ] || exit 1\n"
	           "[ \"$1\" = \"$2\" ] || { echo 'on another file system' >&2; exit 1; }; mv -fT -- \"$f\" \"$p\"");
	return shell_change_one(t, to, &script, NULL, "rename to", err);
}

void shell_remove_text(const char *path, struct str *out)
{
	shell_assign(out, "p", path);
	str_append(out, "if [ -d \"$p\" ] && [ ! -L \"$p\" ]; then rmdir -- \"$p\"; else rm -- \"$p\"; fi");
}

int shell_remove(struct target *t, const char *path, struct err *err)
{
	SCRIPT(script);
	shell_remove_text(path, &script);
	return shell_change_one(t, path, &script, NULL, "remove", err);
}

int shell_remove_tree_text(const struct shell_target *s, const char *path, struct str *out, struct err *err)
{
	if (strcmp(path, "/") == 0)
		return err_set(err, ERR_INTERNAL, "the root directory was to be removed");
	shell_assign(out, "p", path);
	/* Directories that their owner may not write to (a module cache has them) are opened up for a second try. */
	str_append(out, s->has_one_fs
	                        ? "rm -rf --one-file-system -- \"$p\" 2>/dev/null || {\n"
	                          "find \"$p\" -xdev -type d ! -perm -u=wx -exec chmod u+rwx -- {} + 2>/dev/null\n"
	                          "rm -rf --one-file-system -- \"$p\"; }"
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
	return shell_change_one(t, path, &script, &slow, "remove the tree", err);
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
	/* Each file system once, if it is worth finding out which they are. */
	str_append(
		out,
		"; do while [ ! -e \"$p\" ] && [ \"$p\" != / ]; do p=${p%/*}; p=${p:-/}; done; set -- \"$@\" \"$p\"; done\n"
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
