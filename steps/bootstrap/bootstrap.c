/* bootstrap: what a bare host needs before the first deployment. Each thing is a change of its own; one look finds them all. */
#include "steps/bootstrap/bootstrap.h"

#include "base/secret/mask.h"
#include "steps/common/paths.h"

#include <string.h>

static void describe(const struct step_context *c, struct str *out)
{
	const struct bootstrap_in *in = c->input;
	const struct {
		size_t count;
		const char *one, *many;
	} parts[] = {
		{in->packages.count, "package", "packages"},
		{in->docker ? 1 : 0, "Docker engine", "Docker engine"},
		{in->groups_count, "group", "groups"},
		{in->users_count, "user", "users"},
		{in->sudoers_count, "file of sudoers", "files of sudoers"},
		{in->directories_count, "directory", "directories"},
		{in->has_swap ? 1 : 0, "swap file", "swap file"},
		{in->timezone != NULL ? 1 : 0, "time zone", "time zone"},
		{in->firewall_count, "rule of the firewall", "rules of the firewall"},
	};
	str_append(out, "make the host ready:");
	for (size_t i = 0, shown = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].count > 0)
			str_appendf(out, "%s %zu %s", shown++ > 0 ? "," : "", parts[i].count,
			            parts[i].count == 1 ? parts[i].one : parts[i].many);
}

/* ---- validate ---- */

bool bootstrap_makes_user(const struct bootstrap_in *in, const char *name)
{
	for (size_t i = 0; i < in->users_count; i++)
		if (strcmp(in->users[i].name, name) == 0)
			return true;
	return false;
}

bool bootstrap_makes_group(const struct bootstrap_in *in, const char *name)
{
	for (size_t i = 0; i < in->groups_count; i++)
		if (strcmp(in->groups[i].name, name) == 0)
			return true;
	/* A new user brings a group of the same name, where the distribution makes one. */
	return bootstrap_makes_user(in, name);
}

/* What stands in plans, journals and command lines of the target is no secret. */
static void refuse_secret(const char *text, const char *pointer, struct faults *faults)
{
	if (text != NULL && mask_finds(mask_process(), text, strlen(text)))
		faults_add(faults, NULL, pointer, "a secret is part of it, and would stand in the journal");
}

static void validate_keys(const struct bootstrap_users *user, size_t index, struct faults *faults)
{
	_cleanup_(strv_done) struct strv keys = {0};
	for (size_t i = 0; i < user->authorized_keys.count; i++) {
		const char *line = user->authorized_keys.items[i];
		_cleanup_free_ char *at = xasprintf("/users/%zu/authorized_keys/%zu", index, i);
		_cleanup_(machine_key_line_done) struct machine_key_line read = {0};
		_cleanup_(str_done) struct str why = STR_INIT(1024);
		refuse_secret(line, at, faults);
		if (!machine_key_read(line, &read)) {
			faults_add(faults, NULL, at, "is not a line of authorized_keys");
			faults_hint(faults, "one line: options (if any), the type, the key in base64, a comment");
		} else if (!machine_key_options_fit(read.options, &why)) {
			faults_add(faults, NULL, at, "%s", str_peek(&why));
		} else if (strv_has(&keys, read.key)) {
			faults_add(faults, NULL, at, "the same key stands there twice");
		} else {
			strv_add(&keys, read.key);
		}
	}
}

static void validate_users(const struct bootstrap_in *in, struct faults *faults)
{
	for (size_t i = 0; i < in->users_count; i++) {
		const struct bootstrap_users *user = &in->users[i];
		_cleanup_free_ char *at = xasprintf("/users/%zu/home", i), *name = xasprintf("/users/%zu/name", i);
		if (user->home != NULL && machine_text_fits(user->home))
			free(step_target_path(user->home, at, faults));
		else if (user->home != NULL)
			faults_add(faults, NULL, at, "control characters cannot be part of it");
		for (size_t k = 0; k < i; k++)
			if (strcmp(in->users[k].name, user->name) == 0)
				faults_add(faults, NULL, name, "the user '%s' stands there twice", user->name);
		validate_keys(user, i, faults);
	}
	for (size_t i = 0; i < in->groups_count; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(in->groups[k].name, in->groups[i].name) == 0) {
				_cleanup_free_ char *at = xasprintf("/groups/%zu/name", i);
				faults_add(faults, NULL, at, "the group '%s' stands there twice", in->groups[i].name);
			}
}

static bool includes(const char *line)
{
	const char *p = line + strspn(line, " ");
	return str_starts(p, "@include") || str_starts(p, "#include");
}

static void validate_sudoers(const struct bootstrap_in *in, struct faults *faults)
{
	for (size_t i = 0; i < in->sudoers_count; i++) {
		for (size_t k = 0; k < in->sudoers[i].lines.count; k++) {
			const char *line = in->sudoers[i].lines.items[k];
			_cleanup_free_ char *at = xasprintf("/sudoers/%zu/lines/%zu", i, k);
			refuse_secret(line, at, faults);
			if (!machine_text_fits(line) || str_ends(line, "\\"))
				faults_add(faults, NULL, at, "is not one line");
			if (includes(line))
				faults_add(faults, NULL, at, "includes a file that nobody checks");
		}
		for (size_t k = 0; k < i; k++)
			if (strcmp(in->sudoers[k].name, in->sudoers[i].name) == 0) {
				_cleanup_free_ char *at = xasprintf("/sudoers/%zu/name", i);
				faults_add(faults, NULL, at, "'%s' stands there twice", in->sudoers[i].name);
			}
	}
}

static void validate_directories(const struct bootstrap_in *in, struct faults *faults)
{
	for (size_t i = 0; i < in->directories_count; i++) {
		const struct bootstrap_directories *d = &in->directories[i];
		_cleanup_free_ char *at = xasprintf("/directories/%zu/path", i);
		_cleanup_free_ char *mode = xasprintf("/directories/%zu/mode", i);
		for (size_t k = 0; k < i; k++)
			if (strcmp(in->directories[k].path, d->path) == 0)
				faults_add(faults, NULL, at, "'%s' stands there twice", d->path);
		free(step_target_path(d->path, at, faults));
		if (d->has_mode && (d->mode & 0002) != 0 && (d->mode & 01000) == 0)
			faults_add(faults, NULL, mode, "mode %04lo lets everybody on the target write '%s'",
			           (long)d->mode, d->path);
	}
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct bootstrap_in *in = c->input;
	validate_users(in, faults);
	validate_sudoers(in, faults);
	validate_directories(in, faults);
	if (in->has_swap) {
		free(step_target_path(in->swap.path, "/swap/path", faults));
		if (in->swap.size_bytes % (1 << 20) != 0)
			faults_add(faults, NULL, "/swap/size", "the size is whole MiB");
		if (!machine_text_fits(in->swap.path))
			faults_add(faults, NULL, "/swap/path", "control characters cannot be part of it");
	}
	for (size_t i = 0; i < in->firewall_count; i++) {
		_cleanup_free_ char *at = xasprintf("/firewall/%zu/allow", i);
		long port = strtol(in->firewall[i].allow, NULL, 10);
		if (port < 1 || port > 65535)
			faults_add(faults, NULL, at, "a port is 1 to 65535");
		const char *from = in->firewall[i].from;
		_cleanup_free_ char *network = from != NULL ? bootstrap_network(from) : NULL;
		_cleanup_free_ char *at_from = xasprintf("/firewall/%zu/from", i);
		if (from != NULL && network == NULL)
			faults_add(faults, NULL, at_from, "'%s' is no address and no network", from);
	}
}

/* ---- plan ---- */

void bootstrap_plan_done(struct bootstrap_plan *p)
{
	machine_sights_done(p->sights, p->count);
	free(p->sights);
	faults_done(&p->faults);
	node_cache_done(&p->seen);
	arena_done(&p->arena);
}

void bootstrap_want(struct bootstrap_plan *p, const struct machine_kind *kind, const char *id, const char *arg)
{
	if (bootstrap_seen(p, kind, id) != NULL)
		return;
	if (p->count == p->cap) {
		p->cap = p->cap > 0 ? p->cap * 2 : 16;
		p->sights = xrealloc(p->sights, p->cap * sizeof(*p->sights));
	}
	p->sights[p->count++] = (struct machine_sight){.kind = kind,
	                                               .id = arena_strdup(&p->arena, id),
	                                               .arg = arg != NULL ? arena_strdup(&p->arena, arg) : NULL};
}

const struct machine_sight *bootstrap_seen(const struct bootstrap_plan *p, const struct machine_kind *kind,
                                           const char *id)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->sights[i].kind == kind && strcmp(p->sights[i].id, id) == 0)
			return &p->sights[i];
	return NULL;
}

static void want_users(struct bootstrap_plan *p)
{
	for (size_t i = 0; i < p->in->groups_count; i++)
		bootstrap_want(p, &machine_group, p->in->groups[i].name, NULL);
	for (size_t i = 0; i < p->in->users_count; i++) {
		const struct bootstrap_users *user = &p->in->users[i];
		_cleanup_free_ char *home =
			user->home != NULL ? xstrdup(user->home) : xasprintf("/home/%s", user->name);
		bootstrap_want(p, &machine_user, user->name, home);
		for (size_t k = 0; k < user->groups.count; k++)
			bootstrap_want(p, &machine_group, user->groups.items[k], NULL);
		for (size_t k = 0; k < user->authorized_keys.count; k++) {
			_cleanup_(machine_key_line_done) struct machine_key_line line = {0};
			if (!machine_key_read(user->authorized_keys.items[k], &line))
				continue; /* refused already */
			_cleanup_free_ char *id = machine_key_id(user->name, line.key);
			bootstrap_want(p, &machine_key, id, line.key);
		}
	}
	/* Who shall own a directory must be there. */
	for (size_t i = 0; i < p->in->directories_count; i++) {
		const struct bootstrap_directories *d = &p->in->directories[i];
		if (d->owner != NULL && machine_text_fits(d->owner))
			bootstrap_want(p, &machine_user, d->owner, NULL);
		if (d->group != NULL && machine_text_fits(d->group))
			bootstrap_want(p, &machine_group, d->group, NULL);
	}
}

static void want_all(struct bootstrap_plan *p)
{
	bootstrap_want_packages(p);
	want_users(p);
	if (p->in->timezone != NULL)
		bootstrap_want(p, &machine_timezone, "system", p->in->timezone);
	if (p->in->has_swap)
		bootstrap_want(p, &machine_swap, p->in->swap.path, NULL);
	for (size_t i = 0; i < p->in->firewall_count; i++) {
		const struct bootstrap_firewall *rule = &p->in->firewall[i];
		_cleanup_free_ char *network = rule->from != NULL ? bootstrap_network(rule->from) : NULL;
		_cleanup_free_ char *id =
			network != NULL ? xasprintf("%s from %s", rule->allow, network) : xstrdup(rule->allow);
		bootstrap_want(p, &machine_firewall, id, NULL);
	}
}

static int plan_bootstrap(const struct step_context *c, struct view *v, struct plan *plan, struct err *err)
{
	_cleanup_(bootstrap_plan_done) struct bootstrap_plan p = {.in = c->input, .v = v, .plan = plan};
	if (!v->facts.is_root)
		return err_hint(err,
		                err_set(err, ERR_PERMISSION, "bootstrap needs root on '%s', which '%s' is not", v->name,
		                        v->facts.user != NULL ? v->facts.user : "its user"),
		                "give the target `become: sudo`, or log in as root");
	want_all(&p);
	int r = machine_look(v, p.sights, p.count, err);
	if (r == 0)
		r = bootstrap_plan_packages(&p, err);
	if (r == 0)
		r = bootstrap_plan_rest(&p, err);
	return r == 0 ? faults_to_err(&p.faults, NULL, err) : r;
}

/* ---- behind a committed deployment ---- */

static int back(const struct step_context *c, struct view *v, const struct change *former, bool force,
                struct plan *plan, struct err *err)
{
	(void)c;
	if (machine_kind_named(former->kind) == NULL)
		return err_set(err, ERR_UNSUPPORTED, "lines for sudo and directories stay");
	return machine_back(v, former, force, plan, err);
}

static const struct change_type *const kinds[] = {
	&machine_package.change,  &machine_group.change,
	&machine_user.change,     &machine_key.change,
	&machine_timezone.change, &machine_swap.change,
	&machine_firewall.change, &machine_sudoers,
	&machine_place,           NULL,
};

extern const struct step_type bootstrap_step;
const struct step_type bootstrap_step = {
	.info = &bootstrap_info,
	.kinds = kinds,
	.describe = describe,
	.validate = validate,
	.plan = plan_bootstrap,
	.back = back,
};
