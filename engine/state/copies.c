/* Former versions of a state: at its place, or where that keeps none in DAVIT_STATE/states/NAME.ENVIRONMENT/SERIAL.json. */
#include "base/core/mem.h"
#include "base/sys/fs.h"
#include "engine/state/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *folder_of(const struct keeper *k)
{
	return xasprintf("%s/states/%s", k->dir, k->name);
}

static char *file_of(const struct keeper *k, int64_t serial)
{
	return xasprintf("%s/states/%s/%" PRId64 ".json", k->dir, k->name, serial);
}

int state_copy_keep(struct keeper *k, int64_t serial, const struct str *text, struct err *err)
{
	if (k->type->keep != NULL)
		return k->type->keep(k, serial, text, err);
	if (k->dir == NULL)
		return 0;
	_cleanup_free_ char *folder = folder_of(k), *file = file_of(k, serial);
	int r = fs_mkdirs(AT_FDCWD, folder, 0700, err);
	if (r == 0)
		r = fs_write_atomic(AT_FDCWD, file, str_peek(text), text->len, 0600, err);
	return r < 0 ? err_wrap(err, r, "keep a copy of the state") : 0;
}

int state_copy_read(struct keeper *k, int64_t serial, struct str *ret, struct err *err)
{
	if (k->type->former != NULL)
		return k->type->former(k, serial, ret, err);
	if (k->dir == NULL)
		return err_set(err, ERR_NOT_FOUND, "no copies are kept");
	_cleanup_free_ char *file = file_of(k, serial);
	return fs_read_plain(AT_FDCWD, file, STATE_MAX, ret, err);
}

static int ascending(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* The newest `max`, ascending. */
static void add_serial(int64_t *ret, size_t max, size_t *count, int64_t serial)
{
	if (*count < max)
		ret[(*count)++] = serial;
	else if (serial > ret[0])
		ret[0] = serial;
	else
		return;
	qsort(ret, *count, sizeof(*ret), ascending);
}

static int local_serials(struct keeper *k, int64_t *ret, size_t max, size_t *ret_count, struct err *err)
{
	_cleanup_free_ char *folder = folder_of(k);
	DIR *dir = opendir(folder);
	if (dir == NULL)
		return errno == ENOENT ? 0 : err_errno(err, errno, "read '%s'", folder);
	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
		long long serial;
		size_t len = strlen(entry->d_name);
		if (len < 6 || !str_ends(entry->d_name, ".json"))
			continue;
		_cleanup_free_ char *digits = xstrndup(entry->d_name, len - 5);
		if (str_parse_i64(digits, 0, INT64_MAX, &serial))
			add_serial(ret, max, ret_count, serial);
	}
	closedir(dir);
	return 0;
}

int state_copy_serials(struct keeper *k, int64_t ret[STATE_KEPT + 1], size_t *ret_count, struct err *err)
{
	*ret_count = 0;
	if (k->type->serials != NULL)
		return k->type->serials(k, ret, STATE_KEPT + 1, ret_count, err);
	return k->dir != NULL ? local_serials(k, ret, STATE_KEPT + 1, ret_count, err) : 0;
}

static int drop(struct keeper *k, int64_t serial)
{
	struct err ignored = ERR_INIT;
	if (k->type->drop != NULL)
		return k->type->drop(k, serial, &ignored);
	_cleanup_free_ char *file = file_of(k, serial);
	return unlink(file) < 0 && errno != ENOENT ? ERR_IO : 0;
}

void state_copy_sweep(struct keeper *k)
{
	int64_t serials[STATE_KEPT + 1];
	size_t count = 0;
	/* One at most is new since the last sweep, but one that failed leaves more. */
	struct err ignored = ERR_INIT;
	while (state_copy_serials(k, serials, &count, &ignored) == 0 && count > STATE_KEPT)
		if (drop(k, serials[0]) < 0)
			return;
}
