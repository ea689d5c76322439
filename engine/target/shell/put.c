/* The shell target: files, directories and links that are made whole and then renamed.
 *
 * The directory may belong to another user, who may change any name in it at any moment, and a shell opens by name only. So the
 * shell enters a directory of its own beside the path, made with mode 700, and checks that it is in that one: there
 * nobody else can change a name. A new entry is moved to "..", which is the right directory whatever its name is by now. Below
 * BASE, which is ours alone, the name is known in advance instead. */
#include "engine/target/shell/shell.h"
#include "base/sys/fs.h"
#include "engine/target/shell/line_delta.h"

/* Up to this many bytes of content are put into the script itself: an incomplete script is not run at all. */
enum { INLINE_MAX = 4 * 1024, SCRIPT_MAX = 256 * 1024, TRIES = 3 };

static bool is_ours_alone(const struct shell_target *s, const char *path)
{
	const char *base = s->t.view.facts.base;
	return base != NULL && (fs_below(base, path) || fs_below(path, base));
}

/* From here on $q is the new entry, and $p the path; x ends with an error. */
static void begin(const struct shell_target *s, const char *path, bool alone, struct str *out)
{
	const char *name = strrchr(path, '/') + 1;
	if (is_ours_alone(s, path)) {
		_cleanup_free_ char *private_name = target_private_name(path);
		shell_assign(out, "p", path);
		shell_assign(out, "q", private_name);
		str_append(
			out,
			"x() { rm -rf -- \"$q\"; exit 1; }; z() { :; }\n! v \"$q\" || rm -rf -- \"$q\" || exit 1\nset -C\n");
		return;
	}
	_cleanup_free_ char *directory = name - path == 1 ? xstrdup("/") : xstrndup(path, (size_t)(name - path - 1));
	_cleanup_free_ char *known = target_private_name(name);
	shell_assign(out, "f", directory);
	str_append(out, "cd -P -- \"$f\" 2>/dev/null || { stat -c '' -- \"$f/.\" >/dev/null; exit 1; }; w=$PWD\n");
	/* Removes leftovers of a broken connection: its shell has ended by now. */
	str_appendf(out, "for o in ./%s-*; do [ -d \"$o\" ] && [ -O \"$o\" ] && rm -rf -- \"$o\"; done\nfor o in",
	            known);
	for (int i = 0; i < TRIES; i++) {
		_cleanup_free_ char *fresh = target_fresh_name(name, "new");
		str_appendf(out, " %s", fresh);
	}
	/* busybox's mkdir -m sets the mode by name, behind which a link may lie by then: there the mode is set from within. */
	str_appendf(out,
	            "; do mkdir %s-- \"$o\" || exit 1\n"
	            "cd -P -- \"./$o\" 2>/dev/null && [ \"$PWD\" = \"${w%%/}/$o\" ] && [ -O . ] && %sbreak\n",
	            s->has_cp_parents ? "-m 700 " : "",
	            s->has_cp_parents ? "" : "[ -z \"$(ls -A)\" ] && chmod u=rwx,go= . && ! v new && ");
	str_append(out,
	           "o=; cd -P -- \"$w\" || exit 1; done\n"
	           "[ -n \"$o\" ] || { echo 'somebody else changes the directory: Permission denied' >&2; exit 1; }\n"
	           "z() { cd .. && rmdir -- \"$o\" 2>/dev/null; :; }\nx() { rm -rf -- ./new; z; exit 1; }\n");
	_cleanup_free_ char *there = xasprintf("../%s", name);
	shell_assign(out, "p", there);
	str_append(out, "q=./new\n");
	if (!alone) {
		/* busybox loses the set-group-id bit, which the directory passes on, where it sets a mode. */
		str_append(out, "[ ! -g \"$w\" ] || [ -g . ] || chmod g+s . || x\n");
		return;
	}
	/* Drops attributes inherited from the directory. */
	if (s->t.view.facts.has_setfacl)
		str_append(out, "setfacl -b -k . 2>/dev/null\n");
	str_append(out, "[ ! -g . ] || chmod 00700 . || x\n");
}

/* Text that is written by the shell's own printf: no process, and never an argument of one. */
bool shell_fits_in_script(const struct shell_target *s, const void *data, size_t len)
{
	return s->has_printf && len <= INLINE_MAX && (len == 0 || memchr(data, '\0', len) == NULL);
}

void shell_assign_content(struct str *out, const void *data, size_t len)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(INLINE_MAX + 1);
	str_append_n(&text, data, len);
	shell_assign(out, "c", str_peek(&text));
}

/* ---- attributes ---- */

static void readers_text(const struct node_attr *attr, const char *word, struct str *out)
{
	if (attr->acl == NULL)
		return;
	str_append(out, " && setfacl -m ");
	str_append_shell(out, attr->acl);
	str_appendf(out, " -- %s", word);
}

/* Refuses the directory's access list if there is no setfacl to remove it: the group bits would be its mask. */
static void alone_text(const struct shell_target *s, const struct node_attr *attr, struct str *out)
{
	if (!attr->alone || s->t.view.facts.has_setfacl || (attr->mode & 0070) == 0)
		return;
	str_append(
		out,
		"case $(ls -ld -- \"$q\") in ??????????+*) echo 'its directory has a default ACL, and there is no setfacl "
		"to take it away (package acl)' >&2; x;; esac\n");
}

/* Keeps attributes of the replaced file that nobody named: ACL, extended attributes, capabilities. After the content and the
 * owner, which clear capabilities, and before the mode, which is the ACL's mask. */
static void keep_text(const struct shell_target *s, const struct node_attr *attr, struct str *out)
{
	if (s->has_cp_parents)
		str_append(
			out,
			"[ -z \"$f\" ] || cp -a --attributes-only --no-preserve=timestamps,ownership,links -- \"$f\" \"$q\" || x\n");
	else if (s->t.view.facts.has_setfacl)
		str_append(
			out,
			"[ -z \"$f\" ] || { getfacl -p -- \"$f\" 2>/dev/null | setfacl --set-file=- -- \"$q\" || x; }\n");
	if (attr->alone && s->t.view.facts.has_setfacl)
		str_append(out, "[ -z \"$f\" ] || setfacl -b -- \"$q\" 2>/dev/null\n");
	/* It was looked at by name: checks that it is still a file of ours. */
	str_append(out, "[ -f \"$q\" ] && [ ! -L \"$q\" ] || { echo 'it was changed meanwhile' >&2; x; }\n");
}

/* The attributes of "$q", which was made 0600 and ours, and whose size must be `size` (-1: known to be right). A replaced
 * file keeps attributes that are not set. */
static void put_attr_text(const struct shell_target *s, const struct node_attr *attr, bool beside, int64_t size,
                          struct str *out)
{
	str_append(out, "m=0644 u= o2= f=\n");
	if (!attr->fresh)
		str_append(out, "if [ -f \"$p\" ] && [ ! -L \"$p\" ]; then f=$p; fi\n");
	if (size >= 0)
		str_appendf(
			out,
			"set -- $(stat -c '%%s %%a %%u %%g' -- \"$q\" ${f:+\"$f\"}); [ \"$1\" = %lld ] || { echo 'the content "
			"came only in part' >&2; x; }\n"
			"[ $# -lt 8 ] || { m=$6 u=$7 o2=$8; }\n",
			(long long)size);
	else if (!attr->fresh)
		str_append(out, "[ -z \"$f\" ] || { set -- $(stat -c '%a %u %g' -- \"$f\"); m=$1 u=$2 o2=$3; }\n");
	if (attr->owner == NULL)
		str_appendf(out, "[ -z \"$u\" ] || [ \"$u\" = %u ] || chown \"$u\" \"$q\" || x\n", (unsigned)s->uid);
	if (attr->group == NULL)
		str_appendf(out, "[ -z \"$o2\" ] || { [ \"$o2\" = %u ]%s; } || chown \":$o2\" \"$q\" || x\n",
		            (unsigned)s->gid, beside ? " && [ ! -g . ]" : "");
	struct node_attr owner = {.owner = attr->owner, .group = attr->group}, rest = *attr;
	rest.owner = rest.group = NULL;
	str_append(out, "true");
	shell_attr_text(s, out, "\"$q\"", &owner);
	str_append(out, " || x\n");
	if (!attr->fresh)
		keep_text(s, attr, out);
	/* A new file of ours is 0600 already if nothing is inherited. */
	if (attr->fresh && attr->alone && rest.set_mode && (rest.mode & 07777) == 0600 && attr->owner == NULL &&
	    attr->group == NULL && s->t.view.facts.has_setfacl)
		rest.set_mode = false;
	str_append(out, "true");
	if (attr->set_mtime)
		rest.set_mtime = false;
	shell_attr_text(s, out, "\"$q\"", &rest);
	if (!attr->set_mode)
		str_append(out, " && chmod \"$m\" \"$q\"");
	readers_text(attr, "\"$q\"", out);
	const struct node_attr time = {.set_mtime = attr->set_mtime, .mtime_ns = attr->mtime_ns};
	shell_attr_text(s, out, "\"$q\"", &time);
	str_append(out, " || x\n");
	alone_text(s, attr, out);
}

static const struct node_attr nothing_set = {0};

/* size: -1 if it cannot differ. */
static void end_put(const struct shell_target *s, const char *path, const struct node_attr *attr, int64_t size,
                    struct str *out)
{
	put_attr_text(s, attr != NULL ? attr : &nothing_set, !is_ours_alone(s, path), size, out);
	str_appendf(out, "%s mv -fT -- \"$q\" \"$p\" || x; z", s->t.view.facts.has_sync_f ? "sync -- \"$q\" &&" : "");
}

/* ---- files ---- */

void shell_put_text(const struct shell_target *s, const char *path, const void *data, size_t len,
                    const struct node_attr *attr, struct str *out)
{
	bool in_script = shell_fits_in_script(s, data, len);
	begin(s, path, attr != NULL && attr->alone, out);
	if (in_script) {
		/* The shell's own message for a full disk is poor: cat gives a better one. */
		shell_assign_content(out, data, len);
		str_append(out, "printf %s \"$c\" >\"$q\" 2>/dev/null || { rm -f -- \"$q\"; printf %s \"$c\" | cat "
		                ">\"$q\"; } || x\n");
	} else {
		str_append(out, "cat >\"$q\" || x\n");
	}
	end_put(s, path, attr, in_script ? -1 : (int64_t)len, out);
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
	return shell_change_one(t, path, &script, &input, "write", err);
}

/* Reads the instructions of engine/target/shell/line_delta.h. */
static const char patcher[] =
	"open F,\"<\",$ARGV[0] or die;binmode $_ for*F,*STDIN,*STDOUT;while(<STDIN>){my@w=split;my $b;"
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
	    line_delta(str_peek(from_data), from_data->len, str_peek(data), data->len, &delta) > data->len / 2)
		return shell_put(t, path, str_peek(data), data->len, attr, err);
	begin(s, path, attr != NULL && attr->alone, &script);
	shell_assign(&script, "f", from);
	str_append(&script, "perl -e ");
	str_append_shell(&script, patcher);
	str_append(&script, " \"$f\" >\"$q\" || x\n");
	end_put(s, path, attr, (int64_t)data->len, &script);
	const struct shell_input input = {.data = str_peek(&delta), .len = delta.len};
	r = shell_change_one(t, path, &script, &input, "write", err);
	if (r != ERR_IO && r != ERR_NOT_FOUND)
		return r;
	/* The other file has changed: then this one is sent as a whole. */
	err_clear(err);
	return shell_put(t, path, str_peek(data), data->len, attr, err);
}

/* ---- directories and links ---- */

void shell_mkdir_text(const struct shell_target *s, const char *path, const struct node_attr *attr, struct str *out)
{
	const struct node_attr given = attr != NULL ? *attr : nothing_set;
	if (is_ours_alone(s, path) && given.owner == NULL && given.group == NULL && !given.set_mtime &&
	    given.acl == NULL) {
		shell_assign(out, "p", path);
		str_appendf(out, "mkdir -m %04o -- \"$p\"", given.set_mode ? (unsigned)given.mode & 07777 : 0755);
		return;
	}
	/* Made with all its attributes, then renamed: it exists completely or not at all. */
	struct node_attr rest = given;
	rest.set_mtime = false;
	begin(s, path, given.alone, out);
	str_append(out, "! v \"$p\" || { echo 'File exists' >&2; x; }\n");
	/* Without a mode of its own it gets its directory's default, or 0755. */
	str_append(out, given.set_mode ? "mkdir -m 700 -- \"$q\"" : "(umask 022; mkdir -- \"$q\")");
	shell_attr_text(s, out, "\"$q\"", &rest);
	readers_text(&given, "\"$q\"", out);
	const struct node_attr time = {.set_mtime = given.set_mtime, .mtime_ns = given.mtime_ns};
	shell_attr_text(s, out, "\"$q\"", &time);
	str_append(out, " || x\n");
	alone_text(s, &given, out);
	str_append(out, "mv -T -- \"$q\" \"$p\" || x; z");
}

int shell_mkdir(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	shell_mkdir_text((struct shell_target *)t, path, attr, &script);
	return shell_change_one(t, path, &script, NULL, "make the directory", err);
}

int shell_symlink(struct target *t, const char *path, const char *link, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	begin((struct shell_target *)t, path, false, &script);
	shell_assign(&script, "l", link);
	str_append(&script, "[ -L \"$p\" ] || [ ! -e \"$p\" ] || { echo 'File exists but is not a link' >&2; x; }\n"
	                    "ln -s -- \"$l\" \"$q\" && mv -fT -- \"$q\" \"$p\" || x; z");
	return shell_change_one(t, path, &script, NULL, "make the link", err);
}

/* ---- existing entries ---- */

/* Enters the directory; $p is the name in it, or "." once we are in the directory itself. */
static void enter_text(const char *path, struct str *out)
{
	const char *name = strrchr(path, '/') + 1;
	_cleanup_free_ char *directory = name - path == 1 ? xstrdup("/") : xstrndup(path, (size_t)(name - path - 1));
	_cleanup_free_ char *here = xasprintf("./%s", name);
	shell_assign(out, "f", directory);
	shell_assign(out, "p", here);
	str_append(
		out,
		"cd -P -- \"$f\" 2>/dev/null || { stat -c '' -- \"$f/.\" >/dev/null; exit 1; }\n"
		"v \"$p\" || { echo 'No such file' >&2; exit 1; }\n"
		"if [ -d \"$p\" ] && [ ! -L \"$p\" ]; then w=${PWD%/}; cd -P -- \"$p\" && [ \"$PWD\" = \"$w/${p#./}\" ] || "
		"{ echo 'it was changed meanwhile' >&2; exit 1; }; p=.; fi\n");
}

int shell_set_attr(struct target *t, const char *path, const struct node_attr *attr, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	struct node_attr rest = *attr;
	rest.set_mtime = false;
	const struct node_attr time = {.set_mtime = attr->set_mtime, .mtime_ns = attr->mtime_ns};
	enter_text(path, &script);
	str_append(&script, "true");
	shell_attr_text((struct shell_target *)t, &script, "\"$p\"", &rest);
	readers_text(attr, "\"$p\"", &script);
	shell_attr_text((struct shell_target *)t, &script, "\"$p\"", &time);
	return shell_change_one(t, path, &script, NULL, "set the attributes of", err);
}

int shell_dress_like(struct target *t, const char *path, const char *from, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX);
	int r = shell_open(&t->view, err);
	if (r < 0)
		return r;
	enter_text(path, &script);
	shell_assign(&script, "f", from);
	str_append(&script,
	           "set -- $(stat -c '%u %g %a' -- \"$f\") $(stat -c '%u %g' -- \"$p\") && [ $# = 5 ] || exit 1\n"
	           "[ \"$1:$2\" = \"$4:$5\" ] || chown \"$1:$2\" \"$p\" || exit 1\n");
	if (t->view.facts.has_setfacl)
		str_append(&script, "{ getfacl -p -- \"$f\" | setfacl --set-file=- -- \"$p\"; } 2>/dev/null || "
		                    "[ \"$(ls -ld -- \"$f\" | cut -c 11)\" != + ] || exit 1\n");
	str_append(&script, "chmod \"0000$3\" \"$p\" && touch -c -m -r \"$f\" \"$p\"");
	return shell_change_one(t, path, &script, NULL, "set the attributes of", err);
}
