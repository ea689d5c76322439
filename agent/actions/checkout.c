#include "agent/actions/checkout.h"

#include "base/core/str.h"
#include "base/sys/fs.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

enum { OLDEST = 4, LATEST = 7, GUARDED = 7, PARTS_MAX = 3 };

int checkout_major(const char *ref)
{
	long long major = 0;
	if (ref == NULL || ref[0] != 'v')
		return 0;
	const char *p = ref + 1;
	for (int part = 0; part < PARTS_MAX; part++) {
		size_t digits = strspn(p, "0123456789");
		_cleanup_free_ char *number = xstrndup(p, digits);
		if (digits == 0 || digits > 4 || (part == 0 && !str_parse_i64(number, OLDEST, LATEST, &major)))
			return 0;
		p += digits;
		if (*p == '\0')
			return (int)major;
		if (*p++ != '.')
			return 0;
	}
	return 0;
}

/* ---- texts as the action takes them ---- */

struct deciding {
	const struct checkout_job *job;
	int major;
	const json_t *given;
	struct checkout_inputs *in;
	char *why;
};

static void refuse(struct deciding *d, const char *name, const char *what)
{
	if (d->why == NULL)
		d->why = xasprintf("`%.60s` %s", name, what);
}

static const char *text_of(const struct deciding *d, const char *wanted)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)d->given, name,
	                    value) if (strcasecmp(name, wanted) == 0 &&
	                               json_is_string(value)) return json_string_value(value);
	return NULL;
}

static bool is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

static bool is_true(const char *text)
{
	return strcasecmp(text, "true") == 0;
}

static void pass(struct deciding *d, const char *name, const char *text)
{
	if (!is_blank(text))
		json_object_set_new(d->in->step, name, json_string(text));
}

/* ---- one input each ---- */

static void take_dropped(struct deciding *d, const char *name, const char *text)
{
	(void)d, (void)name, (void)text;
}

static void take_truth(struct deciding *d, const char *name, const char *text)
{
	pass(d, name, is_true(text) ? "true" : "false");
}

static void take_submodules(struct deciding *d, const char *name, const char *text)
{
	if (strcasecmp(text, "recursive") == 0)
		d->in->submodules = "recursive";
	else if (is_true(text))
		d->in->submodules = "true";
	if (d->in->submodules != NULL)
		pass(d, name, d->in->submodules);
}

static bool is_repository(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t owner = strspn(text, allowed);
	if (owner == 0 || text[owner] != '/' || text[0] == '.')
		return false;
	const char *name = text + owner + 1;
	return name[0] != '\0' && name[0] != '.' && name[strspn(name, allowed)] == '\0';
}

static void take_repository(struct deciding *d, const char *name, const char *text)
{
	if (!is_blank(text) && !is_repository(text))
		refuse(d, name, "has an unusual form");
	pass(d, name, text);
}

/* Names that git itself would not have, and spellings of `refs/` that only the action understands. */
static void take_ref(struct deciding *d, const char *name, const char *text)
{
	bool odd = strncasecmp(text, "refs/", 5) == 0 && strncmp(text, "refs/", 5) != 0;
	for (const char *p = text; *p != '\0'; p++)
		odd |= (unsigned char)*p <= ' ' || strchr("~^:?*[\\\x7f", *p) != NULL;
	if (odd)
		refuse(d, name, "has an unusual form");
	pass(d, name, text);
}

/* An empty one is refused by the action. */
static void take_token(struct deciding *d, const char *name, const char *text)
{
	if (is_blank(text))
		refuse(d, name, "is empty");
	d->in->token = text;
	pass(d, name, text);
}

static void take_clean(struct deciding *d, const char *name, const char *text)
{
	if (!is_blank(text) && !is_true(text) && strcasecmp(text, "false") != 0)
		refuse(d, name, "is neither true nor false");
	d->in->cleans = is_blank(text) || is_true(text);
	pass(d, name, d->in->cleans ? "true" : "false");
}

static void take_depth(struct deciding *d, const char *name, const char *text)
{
	long long depth;
	if (!is_blank(text) && !str_parse_i64(text, 0, INT_MAX, &depth))
		refuse(d, name, "is not a number that is understood here");
	pass(d, name, text);
}

static void take_tags(struct deciding *d, const char *name, const char *text)
{
	pass(d, name, is_true(text) ? "true" : "false");
}

static bool asks_for_cone(const struct deciding *d)
{
	const char *mode = text_of(d, "sparse-checkout-cone-mode");
	return mode == NULL || is_blank(mode) || is_true(mode);
}

/* What git refuses as a directory. */
static bool is_odd_directory(const char *line)
{
	_cleanup_free_ char *normal = NULL;
	struct err err = ERR_INIT;
	return line[0] == '/' || line[0] == '!' || line[0] == '-' || strpbrk(line, "*?[]\\") != NULL ||
	       fs_normalize(line, &normal, &err) < 0;
}

static void take_sparse(struct deciding *d, const char *name, const char *text)
{
	static const char blanks[] = " \t\r\n";
	struct str lines _cleanup_(str_done) = STR_INIT(1 << 20);
	bool cone = asks_for_cone(d);
	if (is_blank(text))
		return;
	for (const char *p = text + strspn(text, blanks); *p != '\0'; p += strspn(p, blanks)) {
		size_t all = strcspn(p, "\n"), len = all;
		while (len > 0 && strchr(blanks, p[len - 1]) != NULL)
			len--;
		_cleanup_free_ char *line = xstrndup(p, len);
		if (cone && is_odd_directory(line))
			refuse(d, name, "names something that is not a directory");
		str_appendf(&lines, "%s%s", lines.len > 0 ? "\n" : "", line);
		p += all;
	}
	if (lines.failed)
		refuse(d, name, "is too long");
	pass(d, name, str_peek(&lines));
	pass(d, "sparse-checkout-cone-mode", cone ? "true" : "false");
}

/* The forms that the step takes. */
static void take_filter(struct deciding *d, const char *name, const char *text)
{
	static const char blobs[] = "blob:limit=", trees[] = "tree:";
	const char *number = str_starts(text, blobs)   ? text + strlen(blobs)
	                     : str_starts(text, trees) ? text + strlen(trees)
	                                               : "";
	size_t digits = strspn(number, "0123456789");
	const char *unit = number + digits;
	bool sized = digits > 0 && digits <= (str_starts(text, blobs) ? 12 : 6) &&
	             (*unit == '\0' || (str_starts(text, blobs) && strchr("kmgKMG", *unit) != NULL && unit[1] == '\0'));
	if (!is_blank(text) && strcmp(text, "blob:none") != 0 && !sized)
		refuse(d, name, "is not carried out here");
	pass(d, name, text);
}

static void take_server(struct deciding *d, const char *name, const char *text)
{
	size_t len = strlen(text), same = strlen(d->job->server_url);
	while (len > 0 && text[len - 1] == '/')
		len--;
	if (len > 0 && (len != same || strncasecmp(text, d->job->server_url, len) != 0))
		refuse(d, name, "is another server");
}

static void take_persist(struct deciding *d, const char *name, const char *text)
{
	(void)name;
	d->in->keeps = is_true(text);
}

static void take_key(struct deciding *d, const char *name, const char *text)
{
	d->in->ssh_key = is_blank(text) ? NULL : text;
	pass(d, name, text);
}

static void take_known_hosts(struct deciding *d, const char *name, const char *text)
{
	d->in->ssh_known_hosts = text;
	pass(d, name, text);
}

/* The other inputs of SSH say nothing without a key. */
static void look_at_ssh(struct deciding *d)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	const char *strict = text_of(d, "ssh-strict"), *user = text_of(d, "ssh-user");
	if (d->in->ssh_key == NULL) {
		json_object_del(d->in->step, "ssh-known-hosts");
		return;
	}
	d->in->lax = strict != NULL && !is_blank(strict) && !is_true(strict);
	if (user != NULL && !is_blank(user) &&
	    (user[0] == '-' || user[0] == '.' || user[strspn(user, allowed)] != '\0'))
		refuse(d, "ssh-user", "has an unusual form");
	pass(d, "ssh-user", user != NULL ? user : "");
}

static void take_unsafe(struct deciding *d, const char *name, const char *text)
{
	(void)text;
	if (d->major < GUARDED)
		refuse(d, name, "is not known to that version");
}

static const struct {
	const char *name;
	void (*take)(struct deciding *d, const char *name, const char *text);
} inputs_of[] = {
	{"repository", take_repository},
	{"ref", take_ref},
	{"token", take_token},
	{"path", take_dropped}, /* take_path */
	{"clean", take_clean},
	{"fetch-depth", take_depth},
	{"fetch-tags", take_tags},
	{"github-server-url", take_server},
	{"persist-credentials", take_persist},
	{"set-safe-directory", take_dropped}, /* the action takes that back at its end */
	{"show-progress", take_dropped},
	{"sparse-checkout", take_sparse},
	{"sparse-checkout-cone-mode", take_dropped}, /* take_sparse */
	{"filter", take_filter},
	{"submodules", take_submodules},
	{"lfs", take_truth},
	{"ssh-key", take_key},
	{"ssh-known-hosts", take_known_hosts}, /* look_at_ssh */
	{"ssh-strict", take_dropped},
	{"ssh-user", take_dropped},
	{"allow-unsafe-pr-checkout", take_unsafe},
};

const char *checkout_input(size_t i)
{
	return i < ARRAY_SIZE(inputs_of) ? inputs_of[i].name : NULL;
}

/* As the action has it, an absolute path is one too, if it lies in the workspace. */
static void take_path(struct deciding *d)
{
	const char *text = text_of(d, "path");
	_cleanup_free_ char *whole = NULL;
	size_t root = strlen(d->job->workspace);
	text = text == NULL || text[0] == '\0' ? "." : text;
	if (text[0] == '/' && fs_normalize(text, &whole, NULL) >= 0 && fs_below(d->job->workspace, whole))
		text = whole[root] == '/' ? whole + root + 1 : ".";
	if (text[0] == '/' || fs_normalize(text, &d->in->below, NULL) < 0)
		d->in->below = NULL;
	pass(d, "path", d->in->below != NULL ? d->in->below : text);
}

/* From version 7 on the action refuses code of a fork where the job has the rights of the repository itself: it judges. */
static void look_for_forks(struct deciding *d)
{
	const char *repository = text_of(d, "repository"), *ref = text_of(d, "ref"),
		   *allowed = text_of(d, "allow-unsafe-pr-checkout");
	bool trusted = strcmp(d->job->event, "pull_request_target") == 0 || strcmp(d->job->event, "workflow_run") == 0;
	bool chosen = (ref != NULL && ref[0] != '\0') ||
	              (repository != NULL && repository[0] != '\0' && strcasecmp(repository, d->job->repository) != 0);
	bool let = d->major >= GUARDED && allowed != NULL && is_true(allowed);
	if (trusted && chosen && !let)
		refuse(d, repository != NULL && repository[0] != '\0' ? "repository" : "ref",
		       "may bring in the code of a fork, which the action judges");
}

void checkout_inputs_done(struct checkout_inputs *in)
{
	json_decref(in->step);
	free(in->below);
	*in = (struct checkout_inputs){.step = NULL};
}

bool checkout_honours(const struct checkout_job *job, int major, const json_t *given, struct checkout_inputs *ret,
                      char **ret_why)
{
	*ret = (struct checkout_inputs){.step = json_object(), .cleans = true, .keeps = true};
	struct deciding d = {.job = job, .major = major, .given = given, .in = ret};
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)(uintptr_t)given, name, value)
	{
		size_t i = 0;
		while (i < ARRAY_SIZE(inputs_of) && strcasecmp(inputs_of[i].name, name) != 0)
			i++;
		if (i == ARRAY_SIZE(inputs_of) || !json_is_string(value))
			refuse(&d, name, "is not known here");
		else
			inputs_of[i].take(&d, inputs_of[i].name, json_string_value(value));
	}
	take_path(&d);
	look_at_ssh(&d);
	look_for_forks(&d);
	if (d.why == NULL)
		return true;
	checkout_inputs_done(ret);
	*ret_why = d.why;
	return false;
}
