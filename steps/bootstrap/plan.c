/* All but packages: groups, users, keys, time zone, swap, firewall, files of sudoers, directories. */
#include "steps/bootstrap/bootstrap.h"

#include "base/secret/digest.h"
#include "steps/common/paths.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { SUDOERS_MODE = 0440, FILE_MAX = 8 << 20 };

/* What is not there and nobody makes: packages may bring it. */
static void is_missing(struct bootstrap_plan *p, const char *pointer, const char *what, const char *name)
{
	if (p->brings)
		strv_addf(&p->plan->warnings, "there is no %s '%s' on '%s' (a package may bring it)", what, name,
		          p->v->name);
	else
		faults_add(&p->faults, NULL, pointer, "there is no %s '%s' on '%s'", what, name, p->v->name);
}

static bool lacks_tools(struct bootstrap_plan *p, const struct machine_sight *seen, const char *pointer)
{
	const char *tools = json_get_string(seen->notes, "tools");
	if (tools == NULL || p->brings)
		return false;
	faults_add(&p->faults, NULL, pointer, "%s on '%s'", tools, p->v->name);
	faults_hint(&p->faults, "install it: on Alpine the package is called `shadow`");
	return true;
}

/* ---- groups and users ---- */

static void plan_groups(struct bootstrap_plan *p)
{
	for (size_t i = 0; i < p->in->groups_count; i++) {
		const struct bootstrap_groups *group = &p->in->groups[i];
		const struct machine_sight *seen = bootstrap_seen(p, &machine_group, group->name);
		_cleanup_json_ json_t *after = json_pack("{s:s}", "type", "group");
		const char *gid = json_get_string(seen->node, "gid");
		if (group->has_gid)
			json_object_set_new(after, "gid", json_stringf("%" PRId64, group->gid));
		if (gid != NULL && !machine_covers(seen->node, after)) {
			faults_add(&p->faults, NULL, "/groups",
			           "the group '%s' on '%s' has the number %s: files belong to it", group->name,
			           p->v->name, gid);
			continue;
		}
		struct change *c = machine_plan(p->plan, seen, after);
		if (c != NULL && !lacks_tools(p, seen, "/groups"))
			c->summary = group->has_gid ? xasprintf("group with the number %" PRId64, group->gid)
			                            : xstrdup("group");
	}
}

static void check_groups(struct bootstrap_plan *p, const struct bootstrap_users *user)
{
	for (size_t i = 0; i < user->groups.count; i++) {
		const char *name = user->groups.items[i];
		if (machine_is_absent(bootstrap_seen(p, &machine_group, name)->node) &&
		    !bootstrap_makes_group(p->in, name))
			is_missing(p, "/users", "group", name);
	}
}

static json_t *wanted_user(const struct bootstrap_users *user, const struct machine_sight *seen)
{
	const struct machine_user_want want = {.name = user->name,
	                                       .home = seen->arg,
	                                       .shell = user->shell,
	                                       .groups = &user->groups,
	                                       .uid = user->has_uid ? user->uid : -1};
	return machine_user_after(seen->node, &want);
}

static char *summary_of_user(const struct change *c)
{
	const char *groups = json_get_string(c->after, "groups"), *former = json_get_string(c->before, "groups");
	const char *shell = json_get_string(c->after, "shell"), *old_shell = json_get_string(c->before, "shell");
	_cleanup_(str_done) struct str text = STR_INIT(128 << 10);
	if (machine_is_absent(c->before)) {
		str_appendf(&text, "new user, home %s, shell %s, groups %s", json_get_string(c->after, "home"), shell,
		            *groups != '\0' ? groups : "none");
		return str_take(&text);
	}
	if (former != NULL && strcmp(groups, former) != 0)
		str_appendf(&text, "groups %s → %s", *former != '\0' ? former : "none", groups);
	if (shell != NULL && old_shell != NULL && strcmp(shell, old_shell) != 0)
		str_appendf(&text, "%sshell %s → %s", text.len > 0 ? ", " : "", old_shell, shell);
	return str_take(&text);
}

static void plan_key(struct bootstrap_plan *p, const struct bootstrap_users *user, const char *text)
{
	_cleanup_(machine_key_line_done) struct machine_key_line line = {0};
	if (!machine_key_read(text, &line))
		return; /* refused already */
	_cleanup_free_ char *id = machine_key_id(user->name, line.key);
	const struct machine_sight *seen = bootstrap_seen(p, &machine_key, id);
	_cleanup_json_ json_t *after = json_pack("{s:s, s:s, s:s, s:s}", "type", "key", "user", user->name, "options",
	                                         line.options, "comment", line.comment);
	const char *link = json_get_string(seen->notes, "link"), *former = json_get_string(seen->notes, "line");
	if (link != NULL) {
		faults_add(&p->faults, NULL, "/users", "'%s' on '%s' is a link: it is not followed", link, p->v->name);
		return;
	}
	struct change *c = machine_plan(p->plan, seen, after);
	if (c != NULL)
		c->summary = former != NULL ? xasprintf("%s → %s", former, text) : xasprintf("new key: %s", text);
}

static void plan_users(struct bootstrap_plan *p)
{
	for (size_t i = 0; i < p->in->users_count; i++) {
		const struct bootstrap_users *user = &p->in->users[i];
		const struct machine_sight *seen = bootstrap_seen(p, &machine_user, user->name);
		_cleanup_json_ json_t *after = wanted_user(user, seen);
		const char *uid = json_get_string(seen->node, "uid");
		check_groups(p, user);
		if (uid != NULL && user->has_uid && strcmp(uid, json_get_string(after, "uid")) != 0) {
			faults_add(&p->faults, NULL, "/users",
			           "the user '%s' on '%s' has the number %s: files belong to it", user->name,
			           p->v->name, uid);
			continue;
		}
		struct change *c = machine_plan(p->plan, seen, after);
		if (c != NULL && !lacks_tools(p, seen, "/users"))
			c->summary = summary_of_user(c);
		for (size_t k = 0; k < user->authorized_keys.count; k++)
			plan_key(p, user, user->authorized_keys.items[k]);
	}
}

/* ---- time zone, swap, firewall ---- */

static void plan_timezone(struct bootstrap_plan *p)
{
	const struct machine_sight *seen =
		p->in->timezone != NULL ? bootstrap_seen(p, &machine_timezone, "system") : NULL;
	if (seen == NULL)
		return;
	const char *type = json_get_string(seen->node, "type"), *zone = json_get_string(seen->node, "zone");
	_cleanup_json_ json_t *after = json_pack("{s:s, s:s}", "type", "timezone", "zone", p->in->timezone);
	if (json_get_string(seen->node, "named") != NULL)
		json_object_set_new(after, "named", json_string(p->in->timezone));
	if (strcmp(type, "file") == 0) {
		faults_add(&p->faults, NULL, "/timezone",
		           "/etc/localtime on '%s' does not lead into zoneinfo: nobody could put it back", p->v->name);
		return;
	}
	if (json_get_string(seen->notes, "missing") != NULL)
		is_missing(p, "/timezone", "time zone", p->in->timezone);
	struct change *c = machine_plan(p->plan, seen, after);
	if (c != NULL)
		c->summary = xasprintf("%s → %s", zone != NULL ? zone : "none", p->in->timezone);
}

static void plan_swap(struct bootstrap_plan *p)
{
	const struct machine_sight *seen = p->in->has_swap ? bootstrap_seen(p, &machine_swap, p->in->swap.path) : NULL;
	if (seen == NULL)
		return;
	const char *now = json_get_string(seen->node, "size");
	_cleanup_json_ json_t *after =
		json_pack("{s:s, s:o, s:s, s:s}", "type", "swap", "size",
	                  json_stringf("%" PRId64, p->in->swap.size_bytes), "active", "yes", "listed", "yes");
	if (strcmp(json_get_string(seen->node, "type"), "file") == 0) {
		faults_add(&p->faults, NULL, "/swap/path", "'%s' on '%s' exists but is no swap", p->in->swap.path,
		           p->v->name);
		return;
	}
	struct change *c = machine_plan(p->plan, seen, after);
	if (c == NULL)
		return;
	c->summary = xasprintf("swap of %" PRId64 " MiB%s", p->in->swap.size_bytes >> 20,
	                       now != NULL ? ", in place of another" : "");
	plan_add_room(p->plan, p->in->swap.path, p->in->swap.size_bytes, 1);
}

static void plan_firewall(struct bootstrap_plan *p)
{
	bool warned = false;
	for (size_t i = 0; i < p->count; i++) {
		const struct machine_sight *seen = &p->sights[i];
		if (seen->kind != &machine_firewall)
			continue;
		const char *by = json_get_string(seen->notes, "by");
		_cleanup_json_ json_t *after = json_pack("{s:s}", "type", "rule");
		if (by == NULL) {
			is_missing(p, "/firewall", "firewall of", "ufw or nftables");
			if (!p->brings)
				return;
		}
		const char *other = json_get_string(seen->notes, "other");
		if (other != NULL) {
			faults_add(&p->faults, NULL, "/firewall", "%s on '%s' has another rule for %s: %s", by,
			           p->v->name, seen->id, other);
			faults_hint(&p->faults, "take that rule away first, or leave this one out");
			continue;
		}
		struct change *c = machine_plan(p->plan, seen, after);
		if (c == NULL)
			continue;
		c->summary = xasprintf("let in %s%s%s", seen->id, by != NULL ? ", by " : "", by != NULL ? by : "");
		if (by != NULL && json_get_string(seen->notes, "active") == NULL && !warned)
			strv_addf(&p->plan->warnings, "%s on '%s' is not switched on: rules wait until it is", by,
			          p->v->name);
		warned = warned || by != NULL;
	}
}

/* ---- files ---- */

static char *content_of(const struct bootstrap_sudoers *file)
{
	_cleanup_(str_done) struct str text = STR_INIT(FILE_MAX);
	for (size_t i = 0; i < file->lines.count; i++)
		str_appendf(&text, "%s\n", file->lines.items[i]);
	return str_take(&text);
}

static int plan_sudoers_file(struct bootstrap_plan *p, const struct bootstrap_sudoers *file, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("/etc/sudoers.d/%s", file->name), *text = content_of(file);
	_cleanup_json_ json_t *before = NULL;
	struct err own = ERR_INIT;
	char hex[DIGEST_HEX], line[600];
	int r = node_cache_look(&p->seen, p->v, path, &before, err);
	if (r < 0)
		return r;
	json_t *after _cleanup_json_ = node_after("file", before, "root", "root", SUDOERS_MODE);
	digest_of(text, strlen(text), hex);
	json_object_set_new(after, "digest", json_string(hex));
	json_object_set_new(after, "size", json_integer((json_int_t)strlen(text)));
	enum node_type there = node_type_of(before);
	if (there != NODE_ABSENT && there != NODE_FILE)
		faults_add(&p->faults, NULL, "/sudoers", "'%s' on '%s' exists but is not a file", path, p->v->name);
	if ((there != NODE_ABSENT && there != NODE_FILE) || (there == NODE_FILE && !node_differs(before, after)))
		return 0;
	r = p->brings ? 0 : machine_sudoers_check(p->v, text, strlen(text), &own);
	if (r == ERR_FAILED)
		faults_add(&p->faults, NULL, "/sudoers", "'%s': %s", file->name, err_line(&own, line, sizeof(line)));
	else if (r < 0)
		return err_set(err, r, "%s", err_line(&own, line, sizeof(line)));
	struct change *c =
		plan_add(p->plan, &machine_sudoers, there == NODE_ABSENT ? ACTION_CREATE : ACTION_UPDATE, path);
	c->before = json_incref(before);
	c->after = json_incref(after);
	c->summary = xasprintf("lines for sudo: %zu", file->lines.count);
	str_append(&c->content, text);
	return 0;
}

static bool is_number(const char *text)
{
	return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static void check_owner(struct bootstrap_plan *p, const struct bootstrap_directories *d)
{
	const struct machine_sight *owner = d->owner != NULL ? bootstrap_seen(p, &machine_user, d->owner) : NULL;
	const struct machine_sight *group = d->group != NULL ? bootstrap_seen(p, &machine_group, d->group) : NULL;
	if (owner != NULL && machine_is_absent(owner->node) && !is_number(d->owner) &&
	    !bootstrap_makes_user(p->in, d->owner))
		is_missing(p, "/directories", "user", d->owner);
	if (group != NULL && machine_is_absent(group->node) && !is_number(d->group) &&
	    !bootstrap_makes_group(p->in, d->group))
		is_missing(p, "/directories", "group", d->group);
}

static int plan_directory(struct bootstrap_plan *p, const struct bootstrap_directories *d, struct err *err)
{
	struct faults none = {0};
	_cleanup_free_ char *path = step_target_path(d->path, "", &none);
	_cleanup_json_ json_t *before = NULL;
	faults_done(&none);
	check_owner(p, d);
	int r = node_cache_look(&p->seen, p->v, path, &before, err);
	if (r < 0)
		return r;
	enum node_type there = node_type_of(before);
	if (there != NODE_ABSENT && there != NODE_DIR) {
		faults_add(&p->faults, NULL, "/directories", "'%s' on '%s' exists but is not a directory", path,
		           p->v->name);
		return 0;
	}
	json_t *after _cleanup_json_ = node_after("dir", before, d->owner, d->group, d->has_mode ? (long)d->mode : -1);
	if (there == NODE_DIR && !node_differs(before, after))
		return 0;
	r = step_plan_parents(p->v, &p->seen, p->plan, path, err);
	if (r < 0)
		return r;
	struct change *c =
		plan_add(p->plan, &machine_place, there == NODE_ABSENT ? ACTION_CREATE : ACTION_UPDATE, path);
	c->before = json_incref(before);
	c->after = json_incref(after);
	c->summary = xstrdup("directory");
	return 0;
}

static int by_path(const void *a, const void *b)
{
	const struct bootstrap_directories *const *x = a, *const *y = b;
	return strcmp((*x)->path, (*y)->path);
}

/* A directory before those in it, in whatever order they stand. */
static int plan_directories(struct bootstrap_plan *p, struct err *err)
{
	_cleanup_free_ const struct bootstrap_directories **sorted =
		xcalloc(p->in->directories_count + 1, sizeof(*sorted));
	int r = 0;
	for (size_t i = 0; i < p->in->directories_count; i++)
		sorted[i] = &p->in->directories[i];
	qsort(sorted, p->in->directories_count, sizeof(*sorted), by_path);
	for (size_t i = 0; r == 0 && i < p->in->directories_count; i++)
		r = plan_directory(p, sorted[i], err);
	return r;
}

/* All paths in one round trip. */
static int fetch(struct bootstrap_plan *p, struct err *err)
{
	_cleanup_(strv_done) struct strv ways = {0}, files = {0};
	for (size_t i = 0; i < p->in->directories_count; i++)
		node_cache_add_way(&ways, p->in->directories[i].path);
	for (size_t i = 0; i < p->in->sudoers_count; i++)
		strv_addf(&files, "/etc/sudoers.d/%s", p->in->sudoers[i].name);
	int r = ways.count > 0 ? node_cache_fetch(&p->seen, p->v, &ways, err) : 0;
	return r == 0 && files.count > 0 ? node_cache_fetch_contents(&p->seen, p->v, &files, err) : r;
}

int bootstrap_plan_rest(struct bootstrap_plan *p, struct err *err)
{
	plan_timezone(p);
	plan_groups(p);
	plan_users(p);
	int r = fetch(p, err);
	for (size_t i = 0; r == 0 && i < p->in->sudoers_count; i++)
		r = plan_sudoers_file(p, &p->in->sudoers[i], err);
	if (r == 0)
		r = plan_directories(p, err);
	plan_swap(p);
	plan_firewall(p);
	return r;
}
