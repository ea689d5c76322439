#include "providers/s3/keeper.h"

#include "base/core/mem.h"
#include "providers/s3/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LOCK_TRIES = 6, LISTED_MAX = 10000 };

static struct s3 *service_of(const struct keeper *k)
{
	return s3_of_target(k->of);
}

static char *key_of(const struct keeper *k, const char *what)
{
	return xasprintf("%sstate/%s/%s", s3_prefix_of_target(k->of), k->name, what);
}

static char *copy_of(const struct keeper *k, int64_t serial)
{
	return xasprintf("%sstate/%s/versions/%" PRId64 ".json", s3_prefix_of_target(k->of), k->name, serial);
}

static char *place(const struct keeper *k)
{
	_cleanup_free_ char *key = key_of(k, "state.json");
	return xasprintf("s3://%s/%s", s3_bucket(service_of(k)), key);
}

/* ---- conditional writes ---- */

/* 412 or 409: somebody was there before, or the service has no such condition in this form. */
static int put_if(struct keeper *k, const char *key, const char *data, size_t len, const char *condition,
                  struct err *err)
{
	const struct s3_call call = {
		.method = "PUT", .key = key, .header = condition, .body = data, .body_len = len, .once = true};
	_cleanup_(http_response_done) struct http_response answer = {0};
	_cleanup_free_ char *what = xasprintf("put '%s'", key);
	int r = s3_send(service_of(k), &call, k->wait, &answer, err);
	return r < 0 || answer.status == 200 ? r : s3_refused(service_of(k), &answer, what, err);
}

static bool has_no_condition(const struct err *why)
{
	return why->foreign == 501;
}

/* The tag without its quotes. */
static char *bare_of(const char *tag)
{
	size_t len = strlen(tag);
	return len >= 2 && tag[0] == '"' && tag[len - 1] == '"' ? xstrndup(tag + 1, len - 2) : xstrdup(tag);
}

static int still_is(struct keeper *k, const char *key, const char *tag, struct err *err)
{
	_cleanup_(str_done) struct str there = STR_INIT(KEEPER_MAX + 1);
	char now[S3_ETAG] = "";
	int r = s3_get(service_of(k), key, KEEPER_MAX, &there, now, k->wait, err);
	if (r < 0)
		return r;
	return strcmp(now, tag) == 0 ? 0 : err_set(err, ERR_CONFLICT, "'%s' was replaced meanwhile", key);
}

/* Over what has this tag, by whatever the service has for that. A service that has nothing is asked right before: the lock is ours, so that nobody
 * else who keeps to it writes. */
static int put_over(struct keeper *k, const char *key, const char *data, size_t len, const char *tag, struct err *err)
{
	enum s3_if_match form = s3_quirks(service_of(k))->if_match;
	_cleanup_free_ char *bare = bare_of(tag), *as_quoted = xasprintf("if-match: %s", tag),
			    *as_bare = xasprintf("if-match: %s", bare);
	struct err why = ERR_INIT;
	int r = ERR_CONFLICT;
	if (form != S3_IF_MATCH_NONE) {
		r = put_if(k, key, data, len, form == S3_IF_MATCH_BARE ? as_bare : as_quoted, &why);
		if (r == 0)
			return 0;
		if (r != ERR_CONFLICT && !has_no_condition(&why)) {
			*err = why;
			return r;
		}
	}
	int same = still_is(k, key, tag, err);
	if (same < 0)
		return same;
	if (r == ERR_CONFLICT && form == S3_IF_MATCH_QUOTED) {
		r = put_if(k, key, data, len, as_bare, &why);
		if (r == 0 || !has_no_condition(&why)) {
			*err = why;
			return r;
		}
	}
	return s3_put(service_of(k), key, data, len, k->wait, err);
}

/* ---- the document ---- */

static int s3_keeper_read(struct keeper *k, struct str *ret, char tag[KEEPER_TAG], struct err *err)
{
	_cleanup_free_ char *key = key_of(k, "state.json");
	char etag[S3_ETAG] = "";
	int r = s3_get(service_of(k), key, KEEPER_MAX, ret, etag, k->wait, err);
	/* A bucket that is not there is no empty state. */
	if (r == ERR_NOT_FOUND && s3_ask(service_of(k), key, k->wait, err) < 0)
		return ERR_INVALID;
	if (r == 0)
		snprintf(tag, KEEPER_TAG, "%s", etag);
	return r;
}

static int s3_keeper_write(struct keeper *k, const struct str *text, const char *tag, const json_t *lock,
                           struct err *err)
{
	_cleanup_free_ char *key = key_of(k, "state.json");
	(void)lock;
	return *tag == '\0' ? put_if(k, key, str_peek(text), text->len, "if-none-match: *", err)
	                    : put_over(k, key, str_peek(text), text->len, tag, err);
}

/* ---- copies ---- */

static int s3_keeper_keep(struct keeper *k, int64_t serial, const struct str *text, struct err *err)
{
	_cleanup_free_ char *key = copy_of(k, serial);
	return s3_put(service_of(k), key, str_peek(text), text->len, k->wait, err);
}

static int s3_keeper_former(struct keeper *k, int64_t serial, struct str *ret, struct err *err)
{
	_cleanup_free_ char *key = copy_of(k, serial);
	char etag[S3_ETAG];
	return s3_get(service_of(k), key, KEEPER_MAX, ret, etag, k->wait, err);
}

static int s3_keeper_drop(struct keeper *k, int64_t serial, struct err *err)
{
	_cleanup_free_ char *key = copy_of(k, serial);
	return s3_delete(service_of(k), key, k->wait, err);
}

static bool serial_of(const char *key, size_t prefix_len, int64_t *ret)
{
	size_t len = strlen(key);
	long long serial;
	if (len < prefix_len + 6 || !str_ends(key, ".json"))
		return false;
	_cleanup_free_ char *digits = xstrndup(key + prefix_len, len - prefix_len - 5);
	bool sound = str_parse_i64(digits, 0, INT64_MAX, &serial);
	*ret = sound ? serial : 0;
	return sound;
}

static int ascending(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static int s3_keeper_serials(struct keeper *k, int64_t *ret, size_t max, size_t *ret_count, struct err *err)
{
	_cleanup_free_ char *prefix = key_of(k, "versions/");
	struct strv keys _cleanup_(strv_done) = {0};
	size_t count = 0;
	int r = s3_list(service_of(k), prefix, LISTED_MAX, &keys, k->wait, err);
	if (r < 0)
		return r;
	_cleanup_free_ int64_t *all = xcalloc(keys.count + 1, sizeof(*all));
	for (size_t i = 0; i < keys.count; i++)
		count += serial_of(keys.items[i], strlen(prefix), &all[count]);
	qsort(all, count, sizeof(*all), ascending);
	*ret_count = MIN(count, max);
	memcpy(ret, all + count - *ret_count, *ret_count * sizeof(*ret));
	return 0;
}

/* ---- the lock ---- */

static int read_lock(struct keeper *k, const char *key, json_t **ret, char etag[S3_ETAG], struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(KEEPER_HOLDER_MAX + 1);
	struct err why = ERR_INIT;
	int r = s3_get(service_of(k), key, KEEPER_HOLDER_MAX, &text, etag, k->wait, err);
	if (r < 0)
		return r;
	/* Whatever lies there locks it. */
	if (json_parse(str_peek(&text), text.len, KEEPER_HOLDER_MAX, ret, &why) < 0 || !json_is_object(*ret)) {
		json_decref(*ret);
		*ret = json_object();
	}
	return 0;
}

static bool same_id(const json_t *a, const json_t *b)
{
	const char *x = json_get_string(a, "ID"), *y = json_get_string(b, "ID");
	return x != NULL && y != NULL && strcmp(x, y) == 0;
}

static int no_lock(const struct keeper *k, struct err *err)
{
	err_set(err, ERR_UNSUPPORTED,
	        "'%s' does not honour conditional writes: two could hold the lock of one state at a time",
	        s3_host(service_of(k)));
	return err_hint(err, ERR_UNSUPPORTED,
	                "keep the state at another service, or in a journal that is shared: davit journal use");
}

/* It is ours: now the same again must be refused. */
static int prove_lock(struct keeper *k, const char *key, const char *text, struct err *err)
{
	struct err why = ERR_INIT;
	int r = put_if(k, key, text, strlen(text), "if-none-match: *", &why);
	if (r == ERR_CONFLICT)
		return 0;
	if (r < 0) {
		*err = why;
		return r;
	}
	s3_delete(service_of(k), key, k->wait, NULL);
	return no_lock(k, err);
}

static int lock_once(struct keeper *k, const char *key, const json_t *record, json_t **ret_holder, struct err *err)
{
	_cleanup_free_ char *text = json_text(record);
	_cleanup_json_ json_t *there = NULL;
	char etag[S3_ETAG];
	struct err why = ERR_INIT;
	int made = put_if(k, key, text, strlen(text), "if-none-match: *", &why);
	if (made == 0)
		return prove_lock(k, key, text, err);
	if (has_no_condition(&why))
		return no_lock(k, err);
	/* 412, 409, or a reply that was lost: what lies there says whose it is. */
	if (made != ERR_CONFLICT && made != ERR_NETWORK && made != ERR_TIMEOUT) {
		*err = why;
		return made;
	}
	int r = read_lock(k, key, &there, etag, err);
	if (r < 0)
		return r == ERR_NOT_FOUND ? ERR_UNKNOWN : r;
	if (same_id(there, record))
		return 0;
	*ret_holder = TAKE(there);
	return err_set(err, ERR_LOCKED, "'%s' is there", key);
}

static int s3_keeper_lock(struct keeper *k, const json_t *record, json_t **ret_holder, struct err *err)
{
	_cleanup_free_ char *key = key_of(k, "lock");
	if (!s3_quirks(service_of(k))->locks)
		return no_lock(k, err);
	int r = ERR_UNKNOWN;
	/* Freed between the two, or not made: again. What does not answer was asked several times already. */
	for (int i = 0; i < LOCK_TRIES && r == ERR_UNKNOWN; i++) {
		if (i > 0 && wait_ms(k->wait, 100 << i, NULL) < 0)
			break;
		r = lock_once(k, key, record, ret_holder, err);
	}
	return r;
}

static int s3_keeper_renew(struct keeper *k, const json_t *record, struct err *err)
{
	_cleanup_free_ char *key = key_of(k, "lock"), *text = json_text(record);
	_cleanup_json_ json_t *there = NULL;
	char etag[S3_ETAG] = "";
	int r = read_lock(k, key, &there, etag, err);
	if (r == ERR_NOT_FOUND)
		return err_set(err, ERR_FENCED, "the lock of the state is gone");
	if (r < 0)
		return r;
	if (!same_id(there, record))
		return err_set(err, ERR_FENCED, "the lock of the state was taken over");
	return put_over(k, key, text, strlen(text), etag, err);
}

static int s3_keeper_unlock(struct keeper *k, const json_t *record, struct err *err)
{
	_cleanup_free_ char *key = key_of(k, "lock");
	_cleanup_json_ json_t *there = NULL;
	char etag[S3_ETAG];
	struct err why = ERR_INIT;
	int r = read_lock(k, key, &there, etag, &why);
	if (r == ERR_NOT_FOUND)
		return 0;
	if (r < 0) {
		*err = why;
		return r;
	}
	/* One without an ID is nobody's: it is freed by who names it as it lies there. */
	if (!same_id(there, record) && !json_equal(there, record))
		return err_set(err, ERR_FENCED, "the lock of the state is another's");
	return s3_delete(service_of(k), key, k->wait, err);
}

const struct keeper_type s3_keeper = {
	.name = "s3",
	.place = place,
	.read = s3_keeper_read,
	.write = s3_keeper_write,
	.keep = s3_keeper_keep,
	.former = s3_keeper_former,
	.serials = s3_keeper_serials,
	.drop = s3_keeper_drop,
	.lock = s3_keeper_lock,
	.renew = s3_keeper_renew,
	.unlock = s3_keeper_unlock,
};
