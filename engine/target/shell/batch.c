/* The shell target: several things in one round trip. */
#include "engine/target/shell/shell.h"
#include "base/sys/fs.h"

#include <stdio.h>

enum { MANY_MAX = 64 << 20, SCRIPT_MAX = 256 * 1024, FEW = 32, MUCH = 16 << 20 };

/* Each ended by NUL. */
static void append_list(struct str *out, const char *prefix, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		str_append(out, prefix);
		str_append_n(out, words[i], strlen(words[i]) + 1);
	}
}

static void append_words(struct str *out, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		str_append(out, " ");
		str_append_shell(out, words[i]);
	}
}

/* ---- stat ---- */

static void free_nodes(struct node *nodes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		node_done(&nodes[i]);
}

/* The index of a path from *from on: answers come in the order of the questions. */
static bool find_path(const char *const *paths, size_t count, const char *path, size_t *from)
{
	while (*from < count && strcmp(paths[*from], path) != 0)
		++*from;
	return *from < count;
}

/* One turn's answers: "NODE PATH\0" for each existing path, then "/PATH\0LINK\0" for each link. A long list takes
 * several turns. */
static bool take_nodes(const struct str *said, const char *const *paths, size_t count, struct node *ret)
{
	size_t node = 0, linked = 0;
	for (const char *p = str_peek(said), *end = p + said->len; p < end; p += strlen(p) + 1) {
		if (*p == '/') {
			const char *link = p + strlen(p) + 1;
			if (link >= end || !find_path(paths, count, p, &linked) || ret[linked].type != NODE_LINK)
				return false;
			ret[linked++].link = xstrdup(link);
			p = link;
			continue;
		}
		int at = 0;
		struct node n = {0};
		if (!shell_parse_node(p, &n, &at) || !find_path(paths, count, p + at, &node))
			return false;
		ret[node++] = n;
	}
	for (size_t i = 0; i < count; i++)
		if (ret[i].type == NODE_LINK && ret[i].link == NULL)
			return false;
	return true;
}

/* True if each error line says that something does not exist. */
static bool only_absent(const char *words)
{
	for (const char *line = words; *line != '\0';) {
		size_t len = strcspn(line, "\n");
		_cleanup_free_ char *text = xstrndup(line, len);
		if (len > 0 && shell_code_of(text) != ERR_NOT_FOUND)
			return false;
		line += len + (line[len] == '\n');
	}
	return true;
}

static const char stat_turn[] =
	"stat --printf '%f %u %g %s %.9Y %U %G %n\\0' -- \"$@\"\n"
	"for p do [ ! -L \"$p\" ] || { printf '%s\\000' \"$p\"; readlink -z -- \"$p\"; }; done; :";

int shell_stat_all(struct view *v, const char *const *paths, size_t count, struct node *ret, struct err *err)
{
	struct shell_target *s = (struct shell_target *)v;
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(MANY_MAX);
	_cleanup_(str_done) struct str script = STR_INIT(SIZE_MAX / 2);
	int r = shell_open(v, err);
	if (r < 0)
		return r;
	if (!s->has_stat_ns || count < 2)
		return target_stat_each(v, paths, count, ret, err);
	if (count <= FEW) {
		str_append(&script, "set --");
		append_words(&script, paths, count);
		str_appendf(&script, "\n%s", stat_turn);
		r = shell_look(v, str_peek(&script), &said, err);
	} else {
		_cleanup_(str_done) struct str list = STR_INIT(SIZE_MAX / 2);
		append_list(&list, "", paths, count);
		str_append(&script, "{ xargs -0 -r sh -c ");
		str_append_shell(&script, stat_turn);
		/* Missing paths would fill the buffer for errors. */
		str_append(
			&script,
			" sh 2>&1 >&3 3>&- | grep -v -e ': No such file or directory$' -e ': Not a directory$' >&2; } 3>&1; :");
		r = shell_look_at(v, str_peek(&script), &list, &said, err);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		ret[i] = (struct node){0};
	/* Another error than "not found", or a link removed meanwhile: separate calls give better errors. */
	if (said.err.len < SHELL_MESSAGE_MAX - 1 && only_absent(str_peek(&said.err)) &&
	    take_nodes(&said.out, paths, count, ret))
		return 0;
	free_nodes(ret, count);
	return target_stat_each(v, paths, count, ret, err);
}

/* ---- digests ---- */

/* A name is never taken as an option or standard input; a link is not followed, and a pipe does not block. */
static const char only_files[] = "for p do [ -L \"$p\" ] || [ -d \"$p\" ] || { [ -e \"$p\" ] && [ ! -f \"$p\" ]; } || "
				 "printf '%s\\000' \"$p\"; done";

static int ask_digests(struct view *v, const char *dir, const char *const *names, size_t count, const char *program,
                       struct shell_result *said, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX), list = STR_INIT(SIZE_MAX / 2);
	str_append(&script, "cd -- ");
	str_append_shell(&script, dir);
	/* By xargs: a list of any length. */
	str_append(&script, " || exit 1\nxargs -0 -r sh -c ");
	str_append_shell(&script, only_files);
	str_appendf(&script, " sh | xargs -0 -r %s; :", program);
	append_list(&list, "./", names, count);
	return shell_look_at(v, str_peek(&script), &list, said, err);
}

/* "DIGEST *./NAME" and `end`, in the order of the names; missing files are left out. */
static bool take_digests(const struct str *said, char end, const char *const *names, size_t count, char (*hex)[65])
{
	size_t i = 0;
	for (size_t n = 0; n < count; n++)
		hex[n][0] = '\0';
	for (const char *p = str_peek(said), *stop = p + said->len; p < stop;) {
		const char *next = memchr(p, end, (size_t)(stop - p));
		size_t len = next != NULL ? (size_t)(next - p) : 0;
		if (len < 68 || strspn(p, "0123456789abcdef") != 64)
			return false;
		while (i < count && (strlen(names[i]) != len - 68 || memcmp(names[i], p + 68, len - 68) != 0))
			i++;
		if (i == count)
			return false;
		memcpy(hex[i], p, 64);
		hex[i++][64] = '\0';
		p = next + 1;
	}
	return true;
}

static bool has_line_feed(const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strchr(names[i], '\n') != NULL)
			return true;
	return false;
}

/* OpenSSL starts slower than sha256sum but is up to five times as fast. If its answer is bad, sha256sum is used. */
static bool digests_by_openssl(struct view *v, const char *dir, const char *const *names, size_t count, char (*hex)[65],
                               int *ret, struct err *err)
{
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(MANY_MAX);
	*ret = ask_digests(v, dir, names, count, "openssl dgst -sha256 -r", &said, err);
	return *ret < 0 || (said.status == 0 && said.err.len == 0 && take_digests(&said.out, '\n', names, count, hex));
}

int shell_digests(struct view *v, const char *dir, const char *const *names, size_t count, int64_t bytes,
                  char (*hex)[65], struct err *err)
{
	struct shell_target *s = (struct shell_target *)v;
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(MANY_MAX);
	int r = shell_open(v, err);
	if (r < 0)
		return r;
	if (!s->has_sum_z)
		return target_digests_each(v, dir, names, count, hex, err);
	if (s->has_openssl && bytes >= MUCH && !has_line_feed(names, count) &&
	    digests_by_openssl(v, dir, names, count, hex, &r, err))
		return r;
	r = ask_digests(v, dir, names, count, "sha256sum -b -z --", &said, err);
	if (r < 0)
		return r;
	if (said.status != 0 || !only_absent(str_peek(&said.err)))
		return shell_fail(&said, err, "digests of files in '%s'", dir);
	if (!take_digests(&said.out, '\0', names, count, hex))
		return err_set(err, ERR_PROTOCOL, "digests of files in '%s': unexpected reply", dir);
	return 0;
}

/* ---- changes ---- */

/* Continues only when the test is true. */
static void add_test(struct str *out, const char *test, const char *path)
{
	str_append(out, test);
	str_append_shell(out, path);
	str_append(out, *test == '[' ? " ] || exit 0\n" : " || exit 0\n");
}

static int op_text(const struct shell_target *s, const struct target_op *op, struct str *out, struct err *err)
{
	switch (op->kind) {
	case TARGET_MKDIR:
		/* An existing directory does not need a process. */
		if (op->fine == ERR_EXISTS)
			add_test(out, "[ ! -d ", op->path);
		shell_mkdir_text(s, op->path, op->attr, out);
		return 0;
	case TARGET_PUT:
		shell_put_text(s, op->path, op->data, op->len, op->attr, out);
		return 0;
	case TARGET_LINK_NEW:
		shell_link_new_text(op->from, op->path, out);
		return 0;
	case TARGET_REMOVE:
		if (op->fine == ERR_NOT_FOUND)
			add_test(out, "v ", op->path);
		shell_remove_text(op->path, out);
		return 0;
	case TARGET_REMOVE_TREE:
		return shell_remove_tree_text(s, op->path, out, err);
	}
	return err_set(err, ERR_INTERNAL, "an operation of kind %d", (int)op->kind);
}

/* The message that shell_code_of maps to this error. */
static void add_fine(int code, struct str *frame)
{
	if (code == ERR_EXISTS)
		str_append(frame, "*'File exists'*|*'Directory not empty'*) br=0;; ");
	else if (code == ERR_NOT_FOUND)
		str_append(frame, "*'No such file'*|*'Not a directory'*) br=0;; ");
}

/* Removes consecutive trees together. Returns the number of operations in *out. */
static size_t trees_text(const struct shell_target *s, const struct target_op *ops, size_t count, struct str *out)
{
	size_t n = 0;
	while (n < count && ops[n].kind == TARGET_REMOVE_TREE && strcmp(ops[n].path, "/") != 0 &&
	       shell_may_change(&s->t, ops[n].path, NULL) == 0)
		n++;
	if (n < 2 || !s->has_one_fs)
		return 0;
	str_append(out, "rm -rf --one-file-system --");
	for (size_t i = 0; i < n; i++) {
		str_append(out, " ");
		str_append_shell(out, ops[i].path);
	}
	return n;
}

/* One operation: br is the status so far, bi the index of the one that failed, bk is set when the lock is not ours. */
static int add_op(const struct shell_target *s, const struct target_op *ops, size_t count, size_t index,
                  size_t *ret_taken, struct str *frame, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_SECRET_INIT(SCRIPT_MAX);
	const struct target_op *op = &ops[index];
	*ret_taken = trees_text(s, op, count - index, &script);
	int r = *ret_taken > 0 ? 0 : shell_may_change(&s->t, op->path, err);
	if (r == 0 && *ret_taken == 0) {
		r = op_text(s, op, &script, err);
		*ret_taken = 1;
	}
	if (r < 0)
		return r;
	if (script.failed)
		return err_set(err, ERR_LIMIT, "'%s': the name is too long", op->path);
	str_append(frame, "if [ $br = 0 ]; then if ");
	shell_guard_text(&s->t, frame);
	str_appendf(frame, "; then be=$( (umask 077\n%s\n) </dev/null 2>&1 >/dev/null); br=$?; bi=%zu\n",
	            str_peek(&script), index);
	str_append(frame, "case $br.$be in 0.*) ;; ");
	add_fine(op->fine, frame);
	add_fine(op->also_fine, frame);
	if (op->may_stay)
		str_append(frame, "*) br=0;; esac\n");
	else
		str_append(frame, "*) printf '%s\\n' \"$be\" >&2;; esac\n");
	str_append(frame, "else bk=1 br=1; fi; fi\n");
	return 0;
}

static bool can_be_joined(const struct shell_target *s, const struct target_op *op)
{
	return op->kind != TARGET_PUT || shell_fits_in_script(s, op->data, op->len);
}

static const char *verb_of(const struct target_op *op)
{
	static const char *const verbs[] = {[TARGET_MKDIR] = "make the directory",
	                                    [TARGET_PUT] = "write",
	                                    [TARGET_LINK_NEW] = "make the hard link",
	                                    [TARGET_REMOVE] = "remove",
	                                    [TARGET_REMOVE_TREE] = "remove the tree"};
	return verbs[op->kind];
}

static int do_joined(struct target *t, const struct target_op *ops, size_t count, struct err *err)
{
	struct shell_target *s = (struct shell_target *)t;
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(SHELL_MESSAGE_MAX);
	_cleanup_(str_done) struct str frame = STR_SECRET_INIT(SIZE_MAX / 2);
	size_t failed = 0, taken;
	str_append(&frame, "br=0 bi=0 bk=\n");
	for (size_t i = 0; i < count; i += taken) {
		int r = add_op(s, ops, count, i, &taken, &frame, err);
		if (r < 0)
			return r;
	}
	str_append(&frame, "if [ -n \"$bk\" ]; then d \"$Q\" 0; else [ $br = 0 ] || echo $bi; d r $br; fi");
	int r = shell_change_frame(t, str_peek(&frame), &said, err);
	if (r < 0)
		return err_wrap(err, r, "%s '%s'%s", verb_of(&ops[0]), ops[0].path, count > 1 ? " and more" : "");
	if (said.status == 0)
		return 0;
	if (sscanf(str_peek(&said.out), "%zu", &failed) != 1 || failed >= count)
		failed = 0;
	return shell_fail(&said, err, "%s '%s'", verb_of(&ops[failed]), ops[failed].path);
}

int shell_do_all(struct target *t, const struct target_op *ops, size_t count, struct err *err)
{
	struct shell_target *s = (struct shell_target *)t;
	int r = shell_open(&t->view, err);
	for (size_t i = 0; i < count && r == 0;) {
		size_t n = 0;
		while (i + n < count && can_be_joined(s, &ops[i + n]))
			n++;
		if (n > 0) {
			r = do_joined(t, ops + i, n, err);
		} else {
			r = shell_put(t, ops[i].path, ops[i].data, ops[i].len, ops[i].attr, err);
			if (r < 0 && (r == ops[i].fine || r == ops[i].also_fine)) {
				err_clear(err);
				r = 0;
			}
			n = 1;
		}
		i += n;
	}
	return r;
}
