/* The shell target: copies and archives. */
#include "engine/target/shell/shell.h"
#include "base/sys/fs.h"

#include <stdio.h>

/* Chunks grow: the first ones start the work on the target early, the later ones cost it few processes. */
enum { CHUNK_FIRST = 64 * 1024, CHUNK_MAX = 1024 * 1024, BIG_CHUNK_MAX = 4 * 1024 * 1024, SCRIPT_MAX = 256 * 1024 };

static void assign(struct str *out, const char *name, const char *value)
{
	str_appendf(out, "%s=", name);
	str_append_shell(out, value);
	str_append(out, "\n");
}

int shell_copy(struct target *t, const char *from, const char *to, struct err *err)
{
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(SHELL_MESSAGE_MAX);
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX);
	const struct shell_input slow = {.timeout_ms = SHELL_LONG_MS};
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	assign(&script, "p", to);
	assign(&script, "f", from);
	str_append(&script, "! v \"$p\" || { echo 'File exists' >&2; exit 1; }\n");
	str_appendf(&script, "cp -a %s -T -- \"$f\" \"$p\" || { rm -rf -- \"$p\"; exit 1; }",
	            t->view.facts.has_reflink ? "--reflink=auto" : "");
	r = shell_change(t, to, str_peek(&script), &slow, &said, err);
	if (r < 0)
		return err_wrap(err, r, "copy '%s' to '%s'", from, to);
	return said.status == 0 ? 0 : shell_fail(&said, err, "copy '%s' to '%s'", from, to);
}

static bool leaves_its_directory(const char *path)
{
	_cleanup_free_ char *normal = NULL;
	return path[0] == '/' || path[0] == '\0' || fs_normalize(path, &normal, NULL) < 0;
}

/* Hard links by list, made by two processes, for cp takes three times as long. Arguments: a directory, and from there from and to; the names come by standard input,
 * each ended by NUL; those that could not be linked go out in the same way. A directory gets the mode of its original, and stays
 * open to its owner: the caller sets its own mode when it is filled. */
/* clang-format off */
static const char linker[] =
	"my($w,$f,$t)=@ARGV;umask 0;chdir $w or die $!;local $/;my @p=split/\\0/,<STDIN>;my $h=@p>>1;my $c=@p>999?fork:undef;\n"
	"@p=$c?@p[0..$h-1]:@p[$h..$#p] if defined $c;my %d=(\"\"=>1);\n"
	"sub d{my $x=shift;return 1 if $d{$x};my $i=rindex $x,\"/\";d($i<0?\"\":substr $x,0,$i)&&lstat \"$f/$x\"&&-d _||return 0;\n"
	"mkdir(\"$t/$x\",(lstat _)[2]&07777|0700)||-d \"$t/$x\"||return 0;$d{$x}=1}\n"
	"my $l=\"\";for(@p){my $i=rindex $_,\"/\";my $u=$i<0?\"\":substr $_,0,$i;\n"
	"($u eq $l||d($u))&&link(\"$f/$_\",\"$t/$_\")?$l=$u:syswrite STDOUT,\"$_\\0\"}\n"
	"if($c){waitpid $c,0;exit 1 if $?}exit 0";
/* clang-format on */

/* The file system may forbid a link to some file (another owner, too many): a copy is as good. */
static void link_text(const struct shell_target *s, struct str *out)
{
	static const char copy[] = "xargs -0 -r cp -dp --reflink=auto --parents -n -t \"$p\" --";
	if (!s->has_perl) {
		str_append(out, "xargs -0 -r sh -c 'cp -dl --parents -t \"$0\" -- \"$@\" 2>/dev/null || "
		                "cp -dp --reflink=auto --parents -n -t \"$0\" -- \"$@\"' \"$p\"");
		return;
	}
	/* Short paths to neighbours: path resolution is most of the cost of a link. */
	str_append(out, "q=$p; [ \"${f%/*}\" != \"${p%/*}\" ] || q=${p##*/}\n"
	                "s=$({ { perl -e ");
	str_append_shell(out, linker);
	str_appendf(out,
	            " \"${f%%/*}/\" \"${f##*/}\" \"$q\"; echo $? >&3; } | %s >&2; echo $? >&3; } 3>&1)\n"
	            "case $s in '0\n0') ;; *) exit 1;; esac",
	            copy);
}

int shell_clone_files(struct target *t, const char *from, const char *to, const struct strv *paths, bool hard_links,
                      struct err *err)
{
	struct shell_target *s = (struct shell_target *)t;
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(SHELL_MESSAGE_MAX);
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX), list = STR_INIT(SIZE_MAX / 2);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	if (!s->has_cp_parents)
		return err_hint(
			err,
			err_set(err, ERR_UNSUPPORTED, "'%s' cannot copy by list: its cp is too small", t->view.name),
			"install coreutils (GNU) there");
	for (size_t i = 0; i < paths->count; i++) {
		if (leaves_its_directory(paths->items[i]))
			return err_set(err, ERR_REFUSED, "'%s' leaves its directory", paths->items[i]);
		str_append_n(&list, paths->items[i], strlen(paths->items[i]) + 1);
	}
	if (paths->count == 0)
		return 0;
	assign(&script, "p", to);
	assign(&script, "f", from);
	str_append(&script, "{ [ -d \"$p\" ] && [ -d \"$f\" ]; } || { echo 'No such file or directory' >&2; exit 1; "
	                    "}\numask 022; cd -- \"$f\" || exit 1\n");
	if (hard_links)
		link_text(s, &script);
	else
		str_append(&script, "xargs -0 -r cp -dp --reflink=auto --parents -t \"$p\" --");
	const struct shell_input input = {.data = list.data, .len = list.len, .timeout_ms = SHELL_LONG_MS};
	r = shell_change(t, to, str_peek(&script), &input, &said, err);
	if (r < 0)
		return err_wrap(err, r, "copy files of '%s' to '%s'", from, to);
	return said.status == 0 ? 0 : shell_fail(&said, err, "copy files of '%s' to '%s'", from, to);
}

/* ---- unpack ---- */

/* The archive goes as chunks, "LENGTH\n" and that many bytes; "0" ends it, "x" gives it up. */
struct upload {
	target_produce_fn produce;
	void *context;
	struct shell_result *said; /* any output in said->out while we send: the target has failed */
	struct shell_session *session;
	struct wait *wait;
	char *chunk;
	size_t len, size, max;
	int result;
	struct err err;
};

static int send_chunk(struct upload *u, struct err *err)
{
	char head[32];
	if (u->len == 0)
		return 0;
	int n = snprintf(head, sizeof(head), "%zu\n", u->len);
	int r = session_write(u->session, head, (size_t)n, u->wait, err);
	if (r == 0)
		r = session_write(u->session, u->chunk, u->len, u->wait, err);
	u->len = 0;
	u->size = MIN(u->size * 2, u->max);
	if (r == 0 && u->said->out.len > 0)
		return err_set(err, ERR_FAILED, "the archive could not be unpacked");
	return r;
}

static int add_to_chunk(void *context, const void *data, size_t len, struct err *err)
{
	struct upload *u = context;
	const char *p = data;
	while (len > 0) {
		size_t n = MIN(len, u->size - u->len);
		memcpy(u->chunk + u->len, p, n);
		u->len += n;
		p += n;
		len -= n;
		int r = u->len == u->size ? send_chunk(u, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int upload(void *context, struct shell_session *session, struct wait *w, struct err *err)
{
	struct upload *u = context;
	u->session = session;
	u->wait = w;
	u->result = u->produce(u->context, add_to_chunk, u, &u->err);
	if (u->result == 0)
		u->result = send_chunk(u, &u->err);
	/* If the connection is lost, or there is no time to tell the target, there is nothing left to send. */
	if (u->result == ERR_NETWORK || u->result == ERR_CANCELLED || u->result == ERR_TIMEOUT) {
		if (err != NULL)
			*err = u->err;
		return u->result;
	}
	return session_write(session, u->result == 0 ? "0\n" : "x\n", 2, w, err);
}

static const char *decoder(const struct target *t, enum archive_compression compression, struct err *err)
{
	const char *name = compression == ARCHIVE_ZSTD ? "zstd" : "gzip";
	const struct target_facts *f = &t->view.facts;
	if (!f->has_tar) {
		err_hint(err, err_set(err, ERR_UNSUPPORTED, "'%s' has no tar", t->view.name), "install tar there");
		return NULL;
	}
	if (compression == ARCHIVE_NONE)
		return "";
	if (compression == ARCHIVE_ZSTD ? f->has_zstd : f->has_gzip)
		return compression == ARCHIVE_ZSTD ? "zstd -dc" : "gzip -dc";
	err_hint(err, err_set(err, ERR_UNSUPPORTED, "'%s' has no %s", t->view.name, name), "install %s there", name);
	return NULL;
}

/* GNU's head copies 8 kB at a time. */
static const char piece[] = "dd bs=131072 count=\"$c\" iflag=fullblock,count_bytes status=none";

int shell_unpack(struct target *t, const char *dir, enum archive_compression compression, target_produce_fn produce,
                 void *context, struct err *err)
{
	_cleanup_(shell_result_done) struct shell_result said = SHELL_RESULT_INIT(SHELL_MESSAGE_MAX);
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX);
	const struct shell_target *s = (const struct shell_target *)t;
	/* Without a packer at this end nothing stalls while a chunk is being sent. */
	const size_t max = compression == ARCHIVE_NONE ? BIG_CHUNK_MAX : CHUNK_MAX;
	_cleanup_free_ char *chunk = xmalloc(max);
	struct upload u = {
		.produce = produce, .context = context, .said = &said, .chunk = chunk, .size = CHUNK_FIRST, .max = max};
	static const char drain[] =
		"(while IFS= read -r c; do case $c in 0|x) exit 0;; esac; h \"$c\" || exit 8; done; exit 7) >/dev/null";
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	const char *decode = decoder(t, compression, err);
	if (decode == NULL)
		return ERR_UNSUPPORTED;
	assign(&script, "p", dir);
	_cleanup_(str_done) struct str decoding = STR_INIT(256);
	if (decode[0] != '\0')
		str_appendf(&decoding, "{ %s; echo $? >&3; } |", decode);
	/* GNU's tar reads 10 kB at a time by default. */
	/* Checks the status of both ends of the pipe. Bytes after a failure are read and dropped, so that the
	 * next frame is found. */
	str_appendf(&script,
	            "(umask 022; while IFS= read -r c; do case $c in 0) exit 0;; x) exit 9;; esac; %s || exit 8; "
	            "done; exit 7) | (\n"
	            "s=$({ %s tar -x -p -o%s -f - -C \"$p\" >&2; echo $? >&3; } 3>&1)\n"
	            "case $s in '%s0') exit 0;; *) echo failed; cat >/dev/null; exit 1;; esac)",
	            s->has_dd ? piece : "h \"$c\"", str_peek(&decoding), s->has_gnu_tar ? " -b 128" : "",
	            decode[0] != '\0' ? "0\n" : "");
	const struct shell_input input = {
		.produce = upload, .context = &u, .timeout_ms = SHELL_LONG_MS, .prepare = drain};
	r = shell_change(t, dir, str_peek(&script), &input, &said, err);
	if (r < 0)
		return err_wrap(err, r, "unpack into '%s'", dir);
	if (u.result < 0 && u.result != ERR_FAILED) {
		if (err != NULL)
			*err = u.err;
		return u.result;
	}
	return said.status == 0 && u.result == 0 ? 0 : shell_fail(&said, err, "unpack into '%s'", dir);
}
