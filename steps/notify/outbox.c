/* Messages that are not sent yet, a file each: STATE/outbox/NAME.ENVIRONMENT/DIGEST.json. They hold what is to be said, and nothing that is
 * needed to say it: who sends them has a token or a secret of his own. Bounded in size, number and age. */
#include "steps/notify/notify_priv.h"
#include "base/core/clock.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { MESSAGE_MAX = 512 << 10, KEPT_MAX = 50, NAME_DIGITS = 32, DAYS_KEPT = 7, TRIES_MAX = 20 };

static const char suffix[] = ".json";

static char *directory_of(const struct step_context *c)
{
	const struct step_deployment *d = c->deployment;
	if (d->state_dir == NULL || d->name == NULL || d->environment == NULL)
		return NULL;
	return xasprintf("%s/outbox/%s.%s", d->state_dir, d->name, d->environment);
}

/* By channel and key: a newer message to the same place takes the older one's file. */
static char *file_of(const char *directory, const json_t *message)
{
	char hex[DIGEST_HEX];
	const char *channel = json_get_string(message, "channel"), *key = json_get_string(message, "key");
	_cleanup_free_ char *whole = xasprintf("%s\n%s", channel != NULL ? channel : "", key != NULL ? key : "");
	digest_of(whole, strlen(whole), hex);
	return xasprintf("%s/%.*s%s", directory, NAME_DIGITS, hex, suffix);
}

void notify_outbox_keep(const struct step_context *c, const json_t *message)
{
	_cleanup_free_ char *directory = directory_of(c);
	if (directory == NULL)
		return;
	_cleanup_free_ char *path = file_of(directory, message), *text = json_text(message);
	if (strlen(text) > MESSAGE_MAX || fs_mkdirs(AT_FDCWD, directory, 0700, NULL) < 0)
		return;
	fs_write_replace(AT_FDCWD, path, text, strlen(text), 0600, NULL);
}

void notify_outbox_drop(const struct step_context *c, const json_t *message)
{
	_cleanup_free_ char *directory = directory_of(c);
	if (directory == NULL)
		return;
	_cleanup_free_ char *path = file_of(directory, message);
	unlink(path);
}

static bool is_over(const json_t *message)
{
	int64_t age_ms = clock_wall_ms() - json_get_int(message, "made_ms", 0);
	return json_get_int(message, "format", 0) != NOTIFY_FORMAT || json_get_int(message, "tries", 0) >= TRIES_MAX ||
	       age_ms > DAYS_KEPT * INT64_C(24) * 3600 * 1000 || json_get_string(message, "key") == NULL;
}

static json_t *read_message(int dirfd, const char *name)
{
	_cleanup_(str_done) struct str text = STR_INIT(MESSAGE_MAX);
	json_t *message = NULL;
	if (fs_read_plain(dirfd, name, MESSAGE_MAX, &text, NULL) < 0 ||
	    json_parse(text.data, text.len, MESSAGE_MAX, &message, NULL) < 0)
		return NULL;
	return message;
}

static void insert_by_age(json_t *all, json_t *message)
{
	size_t at = json_array_size(all);
	while (at > 0 && json_get_int(json_array_get(all, at - 1), "made_ms", 0) > json_get_int(message, "made_ms", 0))
		at--;
	json_array_insert_new(all, at, message);
}

static void read_all(DIR *d, json_t *all)
{
	for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
		if (entry->d_name[0] == '.' || !str_ends(entry->d_name, suffix))
			continue;
		json_t *message = read_message(dirfd(d), entry->d_name);
		if (message != NULL && !is_over(message)) {
			insert_by_age(all, message);
		} else {
			json_decref(message);
			unlinkat(dirfd(d), entry->d_name, 0);
		}
	}
}

json_t *notify_outbox_list(const struct step_context *c)
{
	json_t *all = json_array();
	_cleanup_free_ char *directory = directory_of(c);
	DIR *d = directory != NULL ? opendir(directory) : NULL;
	if (d == NULL)
		return all;
	read_all(d, all);
	closedir(d);
	while (json_array_size(all) > KEPT_MAX) {
		notify_outbox_drop(c, json_array_get(all, 0));
		json_array_remove(all, 0);
	}
	return all;
}
