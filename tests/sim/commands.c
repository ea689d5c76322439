/* What a simulated target does with a command: a service that runs with what it was started with, one that writes a file, the tools for
 * ACLs, and the questions that secret-write asks about users. A command is a process of its own: it outlives the one that gave it. */
#include "sim/effects.h"

#include <stdio.h>
#include <string.h>

enum { WORDS = 8 };

/* ---- the service ---- */

const char *const sim_service_reads[SIM_SERVICE_READS] = {"/srv/etc/app.conf", "/srv/etc/app.env", "/srv/etc/swap",
                                                          "/srv/data/db"};

void fx_restart(struct starget *t)
{
	const struct snode *current = stree_find(&t->now, "/app/current");
	snprintf(t->serving, sizeof(t->serving), "%s",
	         current && current->type == NODE_LINK ? (const char *)current->content->data : "none");
	for (int i = 0; i < SIM_SERVICE_READS; i++) {
		const struct snode *n = stree_find(&t->now, sim_service_reads[i]);
		t->runs_with[i] = n ? n->content : NULL;
	}
	t->restarts++;
}

/* NULL: it runs with what lies on its target. */
const char *sim_service_differs(const struct starget *t)
{
	for (int i = 0; i < SIM_SERVICE_READS; i++) {
		const struct snode *n = stree_find((struct stree *)(uintptr_t)&t->now, sim_service_reads[i]);
		const struct blob *is = t->runs_with[i], *lies = n ? n->content : NULL;
		if (sim_is_persons((int)(t - world->targets), sim_service_reads[i]))
			continue;
		if (is != lies &&
		    (is == NULL || lies == NULL || is->len != lies->len || memcmp(is->data, lies->data, is->len) != 0))
			return sim_service_reads[i];
	}
	return NULL;
}

/* ---- commands that change ---- */

/* As a database would: what it wrote is durable. */
static void write_file(struct starget *t, const char *path, const char *text)
{
	const struct snode *n = stree_find(&t->now, path);
	uint16_t mode = n ? n->mode : 0644;
	uint32_t uid = n ? n->uid : 0, gid = n ? n->gid : 0;
	if (!fx_parent_ok(t, path))
		return;
	struct snode *made = stree_set(&t->now, path, NODE_FILE, mode, sim_blob(text, strlen(text)));
	made->uid = uid;
	made->gid = gid;
	made->synced = made->content;
	stree_make_durable(t, made);
}

/* One after the other, as words behind NULs. */
static int split(const struct blob *words, const char *argv[WORDS])
{
	int count = 0;
	for (size_t at = 0; at < words->len && count < WORDS - 1; at += strlen((const char *)words->data + at) + 1)
		argv[count++] = (const char *)words->data + at;
	argv[count] = NULL;
	return count;
}

/* all: to its end; else what it does in its first half. */
int sim_command_acts(struct starget *t, const struct blob *words, bool all)
{
	const char *argv[WORDS] = {NULL};
	int count = split(words, argv);
	if (count == 3 && strcmp(argv[2], "start") == 0 && (!all || sim_alone_starts(t, argv[1])))
		return 0;
	if (count == 1 && strcmp(argv[0], "restart") == 0) {
		if (all)
			fx_restart(t);
	} else if (count == 3 && strcmp(argv[0], "write") == 0) {
		char half[SIM_TEXT];
		snprintf(half, sizeof(half), "%.*s", (int)(strlen(argv[2]) / 2), argv[2]);
		write_file(t, argv[1], all ? argv[2] : half);
	} else if (count == 2 && strcmp(argv[0], "tell") == 0) {
		if (strstr(argv[1], "${{"))
			sim_violation("a command was given the expression '%s' as a text", argv[1]);
	} else {
		sim_violation("no target knows the command '%s'", count ? argv[0] : "");
		return 127;
	}
	return 0;
}

const struct blob *sim_command_words(const struct target_command *command)
{
	char text[4096];
	size_t len = 0;
	for (size_t i = 0; command->argv && command->argv[i]; i++)
		len += (size_t)snprintf(text + len, len < sizeof(text) ? sizeof(text) - len : 0, "%s",
		                        command->argv[i]) +
		       1;
	if (command->argv == NULL)
		len = (size_t)snprintf(text, sizeof(text), "%s", command->script) + 1;
	if (len >= sizeof(text))
		sim_violation("a command is too long for the world");
	return sim_blob(text, len < sizeof(text) ? len : 0);
}

/* ---- questions ---- */

static const char *value_of(const struct target_command *command, const char *name)
{
	for (size_t i = 0; i < command->env_count; i++)
		if (strcmp(command->env[i].key, name) == 0)
			return command->env[i].value;
	return "";
}

/* Of users and groups: "u7", "7", and root. */
static const char *number_of(const char *name, char text[16])
{
	if (strcmp(name, "root") == 0)
		return "0";
	snprintf(text, 16, "%s", name[0] == 'u' || name[0] == 'g' ? name + 1 : name);
	return text;
}

/* The reader's uid, its groups, the owner's uid and the group's gid. */
static int tell_ids(const struct target_command *command, struct target_result *ret)
{
	char reader[16], owner[16], group[16];
	const char *r = number_of(value_of(command, "R"), reader);
	str_appendf(&ret->out, "%s\n%s\n%s\n%s\n", r, r, number_of(value_of(command, "O"), owner),
	            number_of(value_of(command, "G"), group));
	return 0;
}

static bool may(const struct snode *n, unsigned uid, uint16_t bit)
{
	char entry[40];
	if (uid == 0)
		return true;
	if (n->uid == uid)
		return (n->mode & (bit << 6)) != 0;
	snprintf(entry, sizeof(entry), "user:%u:r%s", uid, bit == 1 ? "-x" : "");
	if (n->acl && strstr((const char *)n->acl->data, entry))
		return (n->mode & (bit << 3)) != 0;
	return (n->mode & (n->gid == uid ? bit << 3 : bit)) != 0;
}

static const char *way_is_barred(struct starget *t, const char *path, unsigned uid, char dir[SIM_PATH])
{
	snprintf(dir, SIM_PATH, "%s", path);
	for (char *slash = strrchr(dir, '/'); slash && slash != dir; slash = strrchr(dir, '/')) {
		*slash = '\0';
		const struct snode *n = stree_find(&t->now, dir);
		if (n && !may(n, uid, 1))
			return dir;
	}
	return NULL;
}

static int act_as(struct starget *t, const struct target_command *command, struct target_result *ret)
{
	char dir[SIM_PATH];
	const char *path = value_of(command, "P");
	unsigned uid = (unsigned)strtoul(value_of(command, "U"), NULL, 10);
	const char *barred = way_is_barred(t, path, uid, dir);
	const struct snode *n = stree_find(&t->now, path);
	bool reads = strncmp(value_of(command, "S"), "cat ", 4) == 0;
	if (barred)
		str_append(&ret->out, barred);
	return barred || (reads && (n == NULL || !may(n, uid, 4))) ? 1 : 0;
}

static int tell_acl(struct starget *t, const char *path, struct target_result *ret)
{
	const struct snode *n = stree_find(&t->now, path);
	if (n == NULL)
		return 1;
	str_append(&ret->out, "user::rw-\n");
	if (n->acl)
		str_appendf(&ret->out, "%sgroup::---\nmask::r--\n", (const char *)n->acl->data);
	else
		str_appendf(&ret->out, "group::%s\n", n->mode & 0040 ? "r--" : "---");
	str_append(&ret->out, "other::---\n");
	return 0;
}

int sim_question(struct starget *t, const struct target_command *command, struct target_result *ret)
{
	if (command->argv && strcmp(command->argv[0], "getfacl") == 0)
		return tell_acl(t, command->argv[3], ret);
	/* Of what a plan needs of its target: every user is there, and root may write anywhere. */
	if (command->input)
		return 0;
	if (*value_of(command, "R"))
		return tell_ids(command, ret);
	if (*value_of(command, "U"))
		return act_as(t, command, ret);
	sim_violation("no target knows the question '%.80s'", command->argv ? command->argv[0] : command->script);
	return 127;
}

/* ---- secrets ---- */

/* At no moment wider than asked: nobody but the owner, and who has an entry of their own. davit's own folder is closed as a whole. */
void sim_watch_secrets(const struct starget *t)
{
	for (int i = 0; i < t->now.count; i++) {
		const struct snode *n = &t->now.nodes[i];
		uint16_t allowed = n->acl ? 0740 : 0700;
		if (n->type != NODE_FILE || n->content == NULL || is_within("/var/lib/davit", n->path))
			continue;
		if ((n->mode & ~allowed) != 0 && strstr((const char *)n->content->data, SIM_SECRET))
			sim_violation("the secret in %s has the mode %04o", n->path, n->mode);
	}
}
