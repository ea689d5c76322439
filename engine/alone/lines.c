/* The lines of a target that goes back alone, from the records of the changes. Each value is a word of sh, whatever its bytes are. */
#include "engine/alone/alone.h"
#include "engine/target/target.h"

#include <inttypes.h>
#include <string.h>

static void word(struct str *out, const char *text)
{
	str_append_c(out, ' ');
	str_append_shell(out, text ? text : "");
}

static void node_words(const json_t *node, bool digests_aside, struct str *out)
{
	const bool file = node_type_of(node) == NODE_FILE;
	const char *what = node_type_of(node) == NODE_LINK ? json_get_string(node, "link")
	                   : !file                         ? NULL
	                   : digests_aside                 ? "+"
	                                                   : json_get_string(node, "digest");
	long mode = node_mode(node);
	str_appendf(out, " %s ", node_type_name(node));
	if (mode >= 0)
		str_appendf(out, "%lo", (unsigned long)mode);
	else
		str_append(out, "''");
	word(out, json_get_string(node, "owner"));
	word(out, json_get_string(node, "group"));
	word(out, what);
}

void alone_line_restore(const struct change *c, bool digests_aside, struct str *out)
{
	_cleanup_free_ char *beside = target_fresh_name(c->path, "undo");
	str_appendf(out, "restore %" PRId64, c->id);
	word(out, c->path);
	word(out, beside);
	node_words(c->before, digests_aside, out);
	node_words(c->after, digests_aside, out);
	str_append_c(out, '\n');
}

void alone_line_back(const struct change *c, const char *to, struct str *out)
{
	str_appendf(out, "back %" PRId64, c->id);
	word(out, c->path);
	word(out, to);
	str_append_c(out, '\n');
}

void alone_line_stays(const struct change *c, bool blind, struct str *out)
{
	str_appendf(out, "stays %" PRId64, c->id);
	word(out, blind ? "" : c->path);
	str_append_c(out, '\n');
}

void alone_line_command(const char *what, int64_t id, const struct alone_command *c, struct str *out)
{
	str_appendf(out, "%s %" PRId64, what, id);
	word(out, c->cwd ? c->cwd : "/");
	str_appendf(out, " %" PRId64, (c->timeout_ms + 999) / 1000);
	if (c->script) {
		str_append(out, " /bin/sh -c");
		word(out, c->script);
		str_append(out, " sh");
	}
	for (const char *const *a = c->argv; a && *a; a++)
		word(out, *a);
	str_append_c(out, '\n');
}
