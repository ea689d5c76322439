#include "steps/approve/approve.h"

#include "steps/common/machine_list.h"

#include <string.h>
#include <strings.h>

enum { LOGIN_MAX_LEN = 64 };

struct entry {
	size_t name; /* in names */
	bool has_key, own;
	unsigned char key[ED25519_KEY_SIZE];
	char *login;
};

struct approvers {
	struct strv names;
	char *api; /* NULL: GitHub's own */
	struct entry *entries;
	size_t count, cap;
};

void approvers_free(struct approvers *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < a->count; i++)
		free(a->entries[i].login);
	free(a->entries);
	strv_done(&a->names);
	free(a->api);
	free(a);
}

void approvers_freep(struct approvers **a)
{
	approvers_free(*a);
	*a = NULL;
}

static size_t name_index(struct approvers *a, const char *name)
{
	for (size_t i = 0; i < a->names.count; i++)
		if (strcmp(a->names.items[i], name) == 0)
			return i;
	strv_add(&a->names, name);
	return a->names.count - 1;
}

/* Two people with one key could not be told apart. */
static int check_alone(const struct approvers *a, const struct entry *e, struct err *err)
{
	for (size_t i = 0; i < a->count; i++) {
		const struct entry *o = &a->entries[i];
		if (o->name == e->name)
			continue;
		if (e->has_key && o->has_key && memcmp(e->key, o->key, sizeof(e->key)) == 0)
			return err_set(err, ERR_INVALID, "the key is %s's already", a->names.items[o->name]);
		if (e->login && o->login && strcasecmp(e->login, o->login) == 0)
			return err_set(err, ERR_INVALID, "the login '%s' is %s's already", e->login,
			               a->names.items[o->name]);
	}
	return 0;
}

static int read_entry(struct approvers *a, const char *kind, const char *value, struct entry *e, struct err *err)
{
	int r = 0;
	if (strcmp(kind, "own") == 0 && value == NULL) {
		e->own = true;
	} else if (strcmp(kind, "github") == 0 && value != NULL) {
		if (!machine_list_is_name(value, LOGIN_MAX_LEN, "-_"))
			return err_set(err, ERR_INVALID, "'%s' is not a login of a person on GitHub", value);
		e->login = xstrdup(value);
	} else if (strcmp(kind, ed25519_name) == 0 && value != NULL) {
		e->has_key = true;
		r = ed25519_key_read(value, e->key, err);
	} else {
		r = err_set(err, ERR_INVALID,
		            "behind a name there is `ssh-ed25519 KEY`, `github LOGIN` or `own`, not '%s'", kind);
	}
	return r < 0 ? r : check_alone(a, e, err);
}

static int read_line(void *context, char *line, struct err *err)
{
	struct approvers *a = context;
	static const char blank[] = " \t\r";
	char *rest = NULL;
	const char *name = strtok_r(line, blank, &rest);
	if (name == NULL || name[0] == '#')
		return 0;
	const char *kind = strtok_r(NULL, blank, &rest), *value = strtok_r(NULL, blank, &rest);
	if (kind != NULL && strcmp(name, "api") == 0 && (str_starts(kind, "https://") || str_starts(kind, "http://"))) {
		free(a->api);
		a->api = xstrdup(kind);
		return 0;
	}
	if (!machine_list_is_name(name, MACHINE_LIST_NAME_MAX, "._@+-"))
		return err_set(err, ERR_INVALID, "'%.80s' is not a name", name);
	if (kind == NULL)
		return err_set(err, ERR_INVALID, "behind the name '%s' there is nothing", name);
	struct entry e = {.name = name_index(a, name)};
	int r = read_entry(a, kind, value, &e, err);
	a->entries = xgrow(a->entries, &a->cap, a->count + 1, sizeof(*a->entries));
	a->entries[a->count++] = e;
	return r;
}

int approvers_parse(const char *text, const char *path, struct approvers **ret, struct err *err)
{
	_cleanup_(approvers_freep) struct approvers *a = xcalloc(1, sizeof(*a));
	int r = machine_list_parse(text, path, read_line, a, err);
	if (r == 0)
		*ret = TAKE(a);
	return r;
}

int approvers_read(const char *state_dir, struct approvers **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(MACHINE_LIST_MAX);
	_cleanup_free_ char *path = NULL;
	int r = machine_list_read(state_dir, "approvers", "lines of `NAME ssh-ed25519 KEY` or `NAME github LOGIN`",
	                          &path, &text, err);
	return r < 0 ? r : approvers_parse(str_peek(&text), path, ret, err);
}

const char *approvers_of_key(const struct approvers *a, const unsigned char key[ED25519_KEY_SIZE])
{
	for (size_t i = 0; i < a->count; i++)
		if (a->entries[i].has_key && memcmp(a->entries[i].key, key, ED25519_KEY_SIZE) == 0)
			return a->names.items[a->entries[i].name];
	return NULL;
}

const char *approvers_of_login(const struct approvers *a, const char *login)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->entries[i].login && strcasecmp(a->entries[i].login, login) == 0)
			return a->names.items[a->entries[i].name];
	return NULL;
}

bool approvers_has(const struct approvers *a, const char *name)
{
	for (size_t i = 0; i < a->count; i++)
		if ((a->entries[i].has_key || a->entries[i].login) &&
		    strcmp(a->names.items[a->entries[i].name], name) == 0)
			return true;
	return false;
}

bool approvers_may_own(const struct approvers *a, const char *name)
{
	for (size_t i = 0; i < a->count; i++)
		if (a->entries[i].own && strcmp(a->names.items[a->entries[i].name], name) == 0)
			return true;
	return false;
}

bool approvers_is(const struct approvers *a, const char *name, const char *who)
{
	if (strcasecmp(name, who) == 0)
		return true;
	const char *owner = approvers_of_login(a, who);
	return owner != NULL && strcmp(owner, name) == 0;
}

const char *approvers_api(const struct approvers *a)
{
	return a->api;
}

const struct strv *approvers_names(const struct approvers *a)
{
	return &a->names;
}
