#include "engine/journal/postgres/open.h"

#include "base/core/mem.h"
#include "base/core/rand.h"
#include "base/core/str.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "engine/journal/postgres/postgres.h"
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_DIGITS = 2 * POSTGRES_KEY_BYTES };

/* ---- the key of what is sealed in a shared journal ---- */

struct key {
	unsigned char bytes[POSTGRES_KEY_BYTES];
};

static void key_wipe(struct key *key)
{
	OPENSSL_cleanse(key->bytes, sizeof(key->bytes));
}

static int read_key(const char *dir, struct key *ret, struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, STORE_KEY_FILE);
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(POSTGRES_KEY_BYTES + 1);
	int r = fs_read_plain(AT_FDCWD, path, POSTGRES_KEY_BYTES, &text, err);
	if (r < 0)
		return r;
	if (text.len != POSTGRES_KEY_BYTES)
		return err_set(err, ERR_PROTOCOL, "the key '%s' is damaged: %zu bytes", path, text.len);
	memcpy(ret->bytes, text.data, POSTGRES_KEY_BYTES);
	return 0;
}

/* The journal keeps it, so that a machine with another key is found before it seals something that nobody else reads. */
static void check_of(const struct key *key, char hex[DIGEST_HEX])
{
	static const char purpose[] = "which key a journal of davit has";
	digest_hmac_hex(key->bytes, sizeof(key->bytes), purpose, strlen(purpose), hex);
}

static int check_key(const struct store *s, const char *there, struct err *err)
{
	struct key key _cleanup_(key_wipe) = {0};
	char here[DIGEST_HEX];
	int r = read_key(s->dir, &key, err);
	if (r == ERR_NOT_FOUND)
		return err_hint(
			err, err_set(err, ERR_AUTH, "'%s' has no key of the journal", s->dir),
			"`davit journal key` prints it on a machine that has it; `davit journal use URL --key FILE` keeps it here");
	if (r < 0)
		return r;
	check_of(&key, here);
	if (strcmp(here, there) == 0)
		return 0;
	err_set(err, ERR_AUTH, "the key in '%s' is not that of the journal", s->dir);
	return err_hint(err, ERR_AUTH,
	                "`davit journal key` prints the right one on a machine that works with this journal");
}

/* ---- opening ---- */

static struct store *make_store(const char *dir, struct journal_place *place, bool readonly)
{
	struct store *s = xcalloc(1, sizeof(*s));
	struct postgres *p = xcalloc(1, sizeof(*p));
	p->place = *place;
	*place = (struct journal_place){0};
	p->link = (struct postgres_link){.url = p->place.url, .name = p->place.name};
	s->type = &postgres_type;
	s->database = p;
	s->dir = xstrdup(dir);
	s->readonly = readonly;
	journal_place_drop_environment();
	return s;
}

static int connect_to(struct store *s, struct err *err)
{
	struct postgres *p = s->database;
	int r = postgres_link_open(&p->link, err);
	return r < 0 ? r : postgres_set_up(p, err);
}

static int open_postgres(const char *dir, struct journal_place *place, bool readonly, struct store **ret,
                         struct err *err)
{
	int r = readonly ? 0 : store_prepare_dir(dir, err);
	if (r < 0)
		return r;
	_cleanup_(store_closep) struct store *s = make_store(dir, place, readonly);
	r = store_load_place(s, err);
	if (r == 0)
		r = postgres_connect(s, err);
	if (r == 0 && !readonly)
		r = check_key(s, ((const struct postgres *)s->database)->key_check, err);
	if (r < 0)
		return r;
	*ret = TAKE(s);
	return 0;
}

static int open_any(const char *dir, bool readonly, struct store **ret, struct err *err)
{
	struct journal_place place _cleanup_(journal_place_done) = {0};
	int r = journal_place_read(dir, &place, err);
	if (r == 0)
		return open_postgres(dir, &place, readonly, ret, err);
	if (r != ERR_NOT_FOUND)
		return r;
	if (err)
		err_clear(err);
	return readonly ? store_open_readonly(dir, ret, err) : store_open(dir, NULL, ret, err);
}

int journal_open(const char *dir, struct store **ret, struct err *err)
{
	return open_any(dir, false, ret, err);
}

int journal_open_readonly(const char *dir, struct store **ret, struct err *err)
{
	return open_any(dir, true, ret, err);
}

char *journal_name(const struct store *s)
{
	return store_is_shared(s) ? xstrdup(((const struct postgres *)s->database)->place.name)
	                          : fs_join(s->dir, STORE_DATABASE_FILE);
}

/* ---- changing the place ---- */

/* What was begun here can be ended from here only. */
static int refuse_undecided(struct store *s, const char *place, struct err *err)
{
	_cleanup_rows_ struct sql_rows rows = {0};
	int r = sql_query(
		s, &rows, err,
		place ? "SELECT id FROM deployment WHERE owner=?1 LIMIT 1"
		      : "SELECT id FROM deployment WHERE (holds=1 OR state IN ('preparing','open','undoing','held','parked')"
			" OR (state IN ('committed','undone') AND cleaned=0)) LIMIT 1",
		place ? "s" : "", place);
	if (r == 0)
		r = sql_next(&rows, err);
	if (r <= 0)
		return r;
	err_set(err, ERR_CONFLICT, "the deployment %s is not decided", sql_text(&rows, 0));
	return err_hint(err, ERR_CONFLICT, "`davit recover` first; a held one: `davit rollback` or `davit unlock`");
}

static int refuse_open_here(const char *dir, struct err *err)
{
	_cleanup_(store_closep) struct store *s = NULL;
	int r = journal_open_readonly(dir, &s, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	return r < 0 ? r : refuse_undecided(s, store_is_shared(s) ? store_place(s) : NULL, err);
}

static int key_of(const char *dir, const char *given, struct key *ret, bool *ret_is_new, struct err *err)
{
	*ret_is_new = true;
	if (given == NULL) {
		int r = read_key(dir, ret, err);
		*ret_is_new = r == ERR_NOT_FOUND;
		if (r != ERR_NOT_FOUND)
			return r;
		err_clear(err);
		rand_fill(ret->bytes, sizeof(ret->bytes));
		return 0;
	}
	if (strlen(given) != KEY_DIGITS || !str_from_hex(given, POSTGRES_KEY_BYTES, ret->bytes))
		return err_set(err, ERR_INVALID, "a journal's key is %d hexadecimal digits", KEY_DIGITS);
	return 0;
}

/* Makes the journal where there is none. */
static int join(struct store *s, const char *key_check, bool key_was_given, struct err *err)
{
	_cleanup_free_ char *id = NULL, *there = NULL;
	int r = connect_to(s, err);
	if (r == 0)
		r = postgres_make_tables(s->database, key_check, err);
	if (r == 0)
		r = postgres_read_meta(s->database, &id, &there, err);
	if (r < 0 || strcmp(there, key_check) == 0)
		return r;
	err_set(err, ERR_AUTH,
	        key_was_given ? "the key is not that of the journal"
	                      : "there is a journal already, and this machine lacks its key");
	return err_hint(err, ERR_AUTH,
	                "`davit journal key` prints it on a machine that works with it; here: --key FILE");
}

static int keep(const char *dir, const char *url, const struct key *key, bool is_new, struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, STORE_KEY_FILE);
	int r = is_new ? fs_write_atomic(AT_FDCWD, path, key->bytes, sizeof(key->bytes), 0600, err) : 0;
	return r < 0 ? r : journal_place_write(dir, url, err);
}

int journal_use(const char *dir, const char *url, const char *given, struct err *err)
{
	struct journal_place place _cleanup_(journal_place_done) = {0};
	struct key key _cleanup_(key_wipe) = {0};
	char check[DIGEST_HEX];
	bool is_new = false;
	int r = journal_place_parse(url, &place, err);
	if (r == 0)
		r = store_prepare_dir(dir, err);
	if (r == 0)
		r = refuse_open_here(dir, err);
	if (r == 0)
		r = key_of(dir, given, &key, &is_new, err);
	if (r < 0)
		return r;
	check_of(&key, check);
	_cleanup_(store_closep) struct store *s = make_store(dir, &place, false);
	r = store_load_place(s, err);
	if (r == 0)
		r = join(s, check, given != NULL, err);
	return r < 0 ? r : keep(dir, url, &key, is_new, err);
}

int journal_leave(const char *dir, struct err *err)
{
	int r = refuse_open_here(dir, err);
	return r < 0 ? r : journal_place_remove(dir, err);
}

int journal_key(const char *dir, struct str *out, struct err *err)
{
	struct key key _cleanup_(key_wipe) = {0};
	char hex[KEY_DIGITS + 1];
	int r = read_key(dir, &key, err);
	if (r == ERR_NOT_FOUND)
		return err_set(err, r, "the journal of '%s' is not shared: it has no key", dir);
	if (r < 0)
		return r;
	str_hex(key.bytes, sizeof(key.bytes), hex);
	str_append(out, hex);
	OPENSSL_cleanse(hex, sizeof(hex));
	return 0;
}
