/* What the requests carry: one token, or for each owner one of a GitHub App's installation there, which is got anew before it ends. */
#include "agent/api/api_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/service/credential.h"
#include "agent/service/registration.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"

enum { TOKEN_MAX = 8192, KEY_MAX = 32 << 10, HEADER_MAX = 80 << 10, EARLY_MS = 10 * 60 * 1000, OWNERS_MAX = 1000 };

/* The token of one owner. */
struct grant {
	char *owner;
	struct str header;
	int64_t renew_mono_ms;
};

struct access {
	struct http *http;
	char *base;
	struct str header;      /* of the one token */
	struct credential *app; /* NULL: there is one token */
	json_t *rights;
	char *rights_shown;
	char *owner;
	struct grant *grants;
	size_t count;
};

/* ---- what is given ---- */

/* Of its owner alone: nobody else may read it. */
static int read_private(const char *path, const char *what, size_t max, struct str *ret, struct err *err)
{
	struct stat st;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "open the %s's file %s", what, path);
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
		int r = err_set(err, ERR_PERMISSION, "the %s's file %s can be read by others", what, path);
		return err_hint(err, r, "chmod 600 %s", path);
	}
	int r = fs_read_fd(fd, path, max, ret, err);
	if (r == 0 && ret->len == 0)
		r = err_set(err, ERR_INVALID, "the %s's file %s is empty", what, path);
	return r;
}

static int read_token(const char *path, struct str *ret, struct err *err)
{
	const char *given = getenv("GITHUB_TOKEN");
	if (path == NULL && given != NULL && *given != '\0') {
		str_append(ret, given);
	} else if (path == NULL) {
		int r = err_set(err, ERR_INVALID, "there is no token");
		return err_hint(err, r,
		                "name a file that holds one (0600), or an App and its key, or set GITHUB_TOKEN");
	} else {
		int r = read_private(path, "token", TOKEN_MAX, ret, err);
		if (r < 0)
			return r;
	}
	str_truncate(ret, strcspn(str_peek(ret), " \t\r\n"));
	return ret->len > 0 ? 0 : err_set(err, ERR_INVALID, "the token is empty");
}

static int take_app(struct access *a, const struct api_access *given, struct err *err)
{
	_cleanup_(str_done) struct str shown = STR_INIT(4096);
	json_t *permissions = json_object();
	a->rights = json_pack("{s:o}", "permissions", permissions);
	for (const char *const *right = given->rights; right != NULL && *right != NULL; right += 2) {
		json_set_string(permissions, right[0], right[1]);
		str_appendf(&shown, "%s%s: %s", shown.len > 0 ? ", " : "", right[0], right[1]);
	}
	a->rights_shown = str_take(&shown);
	a->app = xcalloc(1, sizeof(*a->app));
	*a->app = (struct credential)CREDENTIAL_INIT;
	a->app->app_id = xstrdup(given->app_id);
	return read_private(given->app_key, "App's private key", KEY_MAX, &a->app->secret, err);
}

int access_new(struct http *http, const char *base, const struct api_access *given, struct access **ret,
               struct err *err)
{
	struct access *a = xcalloc(1, sizeof(*a));
	*a = (struct access){.http = http, .base = xstrdup(base), .header = STR_SECRET_INIT(HEADER_MAX)};
	int r;
	if ((given->app_id == NULL) != (given->app_key == NULL)) {
		r = err_set(err, ERR_INVALID, "an App's id and the file of its private key belong together");
	} else if (given->app_id != NULL && given->token_file != NULL) {
		r = err_set(err, ERR_INVALID, "a token and an App exclude each other");
	} else if (given->app_id != NULL) {
		r = take_app(a, given, err);
	} else {
		_cleanup_(str_done) struct str token = STR_SECRET_INIT(TOKEN_MAX);
		r = read_token(given->token_file, &token, err);
		str_appendf(&a->header, "Authorization: Bearer %s", str_peek(&token));
	}
	if (r < 0)
		access_free(TAKE(a));
	*ret = a;
	return r;
}

void access_free(struct access *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < a->count; i++) {
		free(a->grants[i].owner);
		str_done(&a->grants[i].header);
	}
	if (a->app != NULL)
		credential_done(a->app);
	free(a->app);
	free(a->grants);
	str_done(&a->header);
	json_decref(a->rights);
	free(a->rights_shown);
	free(a->owner);
	free(a->base);
	free(a);
}

bool access_is_app(const struct access *a)
{
	return a->app != NULL;
}

void access_set_owner(struct access *a, const char *owner)
{
	free(a->owner);
	a->owner = xstrdup(owner);
}

/* ---- of an App ---- */

/* "/repos/OWNER/REPO/…" → OWNER, "repos/OWNER/REPO". Another path: the owner that was set; *ret_place NULL. */
static char *owner_of(const struct access *a, const char *path, char **ret_place)
{
	static const char repos[] = "/repos/";
	*ret_place = NULL;
	if (!str_starts(path, repos))
		return xstrdup(a->owner);
	const char *owner = path + strlen(repos), *name = owner + strcspn(owner, "/?");
	if (*name != '/')
		return xstrdup(a->owner);
	*ret_place = xasprintf("repos/%.*s", (int)(name + 1 + strcspn(name + 1, "/?") - owner), owner);
	return xstrndup(owner, (size_t)(name - owner));
}

static struct grant *grant_of(struct access *a, const char *owner)
{
	for (size_t i = 0; i < a->count; i++)
		if (strcasecmp(a->grants[i].owner, owner) == 0)
			return &a->grants[i];
	if (a->count == OWNERS_MAX)
		return NULL;
	a->grants = xrealloc(a->grants, (a->count + 1) * sizeof(*a->grants));
	struct grant *g = &a->grants[a->count++];
	*g = (struct grant){.owner = xstrdup(owner), .header = STR_SECRET_INIT(HEADER_MAX)};
	return g;
}

static int ask(struct access *a, const char *name, struct wait *w, struct credential_token *ret, struct err *err)
{
	const struct credential_place place = {.api = a->base, .name = name, .rights_shown = a->rights_shown};
	return credential_app_token(a->http, a->app, &place, a->rights, w, ret, err);
}

static int renew(struct access *a, struct grant *g, const char *place, struct wait *w, struct err *err)
{
	_cleanup_(credential_token_done) struct credential_token token = CREDENTIAL_TOKEN_INIT;
	_cleanup_free_ char *organisation = xasprintf("orgs/%s", g->owner), *person = xasprintf("users/%s", g->owner);
	int r = ask(a, place != NULL ? place : organisation, w, &token, err);
	if (r == ERR_NOT_FOUND && place == NULL) {
		err_clear(err);
		r = ask(a, person, w, &token, err);
	}
	if (r < 0)
		return r;
	int64_t early = registration_pace(EARLY_MS);
	str_clear(&g->header);
	str_appendf(&g->header, "Authorization: Bearer %s", str_peek(&token.text));
	g->renew_mono_ms = clock_mono_ms() + MAX(token.life_ms - early, token.life_ms / 2);
	return 0;
}

int access_header(struct access *a, const char *path, struct wait *w, const char **ret, struct err *err)
{
	*ret = str_peek(&a->header);
	if (a->app == NULL)
		return 0;
	_cleanup_free_ char *place = NULL, *owner = owner_of(a, path, &place);
	struct grant *g = owner != NULL ? grant_of(a, owner) : NULL;
	if (owner == NULL)
		return err_set(err, ERR_INVALID, "the request names no owner, at whom the App is installed");
	if (g == NULL)
		return err_set(err, ERR_LIMIT, "an App serves at most %d owners", OWNERS_MAX);
	int r = g->header.len == 0 || clock_mono_ms() >= g->renew_mono_ms ? renew(a, g, place, w, err) : 0;
	*ret = str_peek(&g->header);
	return r;
}

bool access_refused(struct access *a, const char *path)
{
	_cleanup_free_ char *place = NULL, *owner = a->app != NULL ? owner_of(a, path, &place) : NULL;
	struct grant *g = owner != NULL ? grant_of(a, owner) : NULL;
	if (g == NULL)
		return false;
	str_clear(&g->header);
	return true;
}
