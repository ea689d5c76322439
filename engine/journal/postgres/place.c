#include "engine/journal/postgres/place.h"

#include "base/core/mem.h"
#include "base/core/str.h"
#include "base/sys/fs.h"
#include "engine/journal/store_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { URL_MAX = 4096 };

void journal_place_done(struct journal_place *p)
{
	free(p->url);
	free(p->name);
	*p = (struct journal_place){0};
}

static void options_free(PQconninfoOption **options)
{
	PQconninfoFree(*options);
}

static const char *option(const PQconninfoOption *options, const char *name)
{
	for (; options->keyword; options++)
		if (strcmp(options->keyword, name) == 0)
			return options->val && *options->val ? options->val : NULL;
	return NULL;
}

/* A socket of this machine, or loopback: nobody is in between. */
static bool is_near(const char *host)
{
	return host == NULL || host[0] == '/' || host[0] == '@' || strcmp(host, "localhost") == 0 ||
	       strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0;
}

int journal_place_parse(const char *url, struct journal_place *ret, struct err *err)
{
	char *why = NULL;
	if (!str_starts(url, "postgresql://") && !str_starts(url, "postgres://")) {
		err_set(err, ERR_INVALID, "the journal's place is no URL of PostgreSQL");
		return err_hint(err, ERR_INVALID,
		                "as in postgresql://davit@db.example/davit?passfile=/etc/davit/pgpass");
	}
	PQconninfoOption *options _cleanup_(options_free) = PQconninfoParse(url, &why);
	/* libpq's own words may hold what stands in the URL, a password too. */
	PQfreemem(why);
	if (options == NULL)
		return err_set(err, ERR_INVALID, "the URL of the journal cannot be read");
	if (option(options, "password") || option(options, "sslpassword")) {
		err_set(err, ERR_INVALID, "the URL of the journal holds a password");
		return err_hint(
			err, ERR_INVALID,
			"put it into a file (0600) that passfile= names, a line HOST:PORT:DATABASE:USER:PASSWORD");
	}
	const char *host = option(options, "host"), *address = option(options, "hostaddr"),
		   *port = option(options, "port"), *database = option(options, "dbname"),
		   *service = option(options, "service");
	bool checked = option(options, "sslmode") != NULL || service != NULL || (is_near(host) && is_near(address));
	ret->url = checked ? xstrdup(url) : xasprintf("%s%csslmode=verify-full", url, strchr(url, '?') ? '&' : '?');
	ret->name = service ? xasprintf("service %s", service)
	                    : xasprintf("%s%s%s/%s",
	                                host      ? host
	                                : address ? address
	                                          : "local",
	                                port ? ":" : "", port ? port : "", database ? database : "");
	return 0;
}

int journal_place_read(const char *dir, struct journal_place *ret, struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, STORE_PLACE_FILE);
	_cleanup_(str_done) struct str text = STR_INIT(URL_MAX);
	int r = fs_read(AT_FDCWD, path, URL_MAX - 1, &text, err);
	if (r < 0)
		return r;
	char *end = strchr(text.data, '\n');
	if (end)
		*end = '\0';
	r = journal_place_parse(str_peek(&text), ret, err);
	return r < 0 ? err_wrap(err, r, "'%s'", path) : 0;
}

int journal_place_write(const char *dir, const char *url, struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, STORE_PLACE_FILE), *line = xasprintf("%s\n", url);
	return fs_write_atomic(AT_FDCWD, path, line, strlen(line), 0600, err);
}

int journal_place_remove(const char *dir, struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, STORE_PLACE_FILE);
	if (unlink(path) != 0 && errno != ENOENT)
		return err_errno(err, errno, "remove '%s'", path);
	return fs_sync_dir(AT_FDCWD, dir, err);
}

void journal_place_drop_environment(void)
{
	const char *job = getenv("GITHUB_ACTIONS");
	if (job == NULL || strcmp(job, "true") != 0)
		return;
	PQconninfoOption *options _cleanup_(options_free) = PQconndefaults();
	for (const PQconninfoOption *o = options; o && o->keyword; o++)
		if (o->envvar)
			unsetenv(o->envvar);
	/* Read by libpq beside its options. */
	unsetenv("PGSERVICEFILE");
	unsetenv("PGSYSCONFDIR");
}
