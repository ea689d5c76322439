/* What a journal is wherever its rows lie: the state directory, its id and its owner. */
#include "engine/journal/store_priv.h"

#include "base/core/rand.h"
#include "base/sys/fs.h"
#include "base/sys/host.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

enum { RESERVE_BYTES = 1 << 20 };

static const char *const state_names[] = {"preparing", "refused",   "open",   "undoing",
                                          "held",      "committed", "undone", "parked"};

const char *deployment_state_name(enum deployment_state s)
{
	return state_names[s];
}

static int make_store_id(const char *path, struct err *err)
{
	char id[33];
	rand_hex(id, 32);
	_cleanup_json_ json_t *o = json_pack("{s:s, s:s}", "id", id, "machine_id", host_machine_id());
	_cleanup_free_ char *text = json_text(o);
	return fs_write_atomic(AT_FDCWD, path, text, strlen(text), 0600, err);
}

/* The id is bound to the machine: a directory that was copied to another one (a cloned disk) gets an id of its own there, so
 * that the copy never takes itself for the owner of the original's locks. */
int store_load_place(struct store *s, struct err *err)
{
	_cleanup_free_ char *path = fs_join(s->dir, "store-id");
	for (int i = 0; i < 3; i++) {
		_cleanup_(str_done) struct str text = STR_INIT(4096);
		_cleanup_json_ json_t *o = NULL;
		int r = fs_read(AT_FDCWD, path, 4096, &text, err);
		if (r == 0)
			r = json_parse(str_peek(&text), text.len, 4096, &o, err);
		const char *id = json_get_string(o, "id"), *machine = json_get_string(o, "machine_id");
		if (r == 0 && id && machine && strcmp(machine, host_machine_id()) == 0) {
			s->place = xstrdup(id);
			return 0;
		}
		if ((r < 0 && r != ERR_NOT_FOUND) || s->readonly)
			return r < 0 ? err_wrap(err, r, "read '%s'", path) : 0;
		r = make_store_id(path, err);
		if (r < 0)
			return r;
	}
	return err_set(err, ERR_IO, "'%s' does not keep what is written", path);
}

/* A missing reserve is no reason to refuse: the previous undo may have given it up. */
void store_make_reserve(const char *dir)
{
	_cleanup_free_ char *path = fs_join(dir, "reserve");
	if (fs_exists(AT_FDCWD, path))
		return;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 && posix_fallocate(fd, 0, RESERVE_BYTES) != 0)
		unlink(path);
}

void store_give_up_reserve(struct store *s)
{
	_cleanup_free_ char *path = fs_join(s->dir, "reserve");
	unlink(path);
}

int store_check_owner(const char *dir, struct err *err)
{
	struct stat st;
	if (stat(dir, &st) < 0 || st.st_uid == 0 || st.st_uid == geteuid())
		return 0;
	const struct passwd *entry = getpwuid(st.st_uid);
	_cleanup_free_ char *owner = entry ? xstrdup(entry->pw_name) : xasprintf("%lld", (long long)st.st_uid);
	err_set(err, ERR_PERMISSION,
	        "the state directory '%s' belongs to %s: what it says to undo or to run would be done with the rights of another user",
	        dir, owner);
	return err_hint(err, ERR_PERMISSION, "run it as %s (sudo -u %s), or name another directory by DAVIT_STATE",
	                owner, owner);
}

int store_prepare_dir(const char *dir, struct err *err)
{
	int r = fs_mkdirs(AT_FDCWD, dir, 0700, err);
	if (r < 0)
		return err_wrap(err, r, "the state directory");
	r = store_check_owner(dir, err);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open the state directory '%s'", dir);
	if (fs_is_network(fd)) {
		err_set(err, ERR_REFUSED,
		        "the state directory '%s' lies on a network file system, where locks cannot be relied on", dir);
		return err_hint(err, ERR_REFUSED, "set DAVIT_STATE to a directory on a local disk");
	}
	struct stat st;
	if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0 && fchmod(fd, 0700) != 0)
		return err_errno(err, errno, "close the state directory '%s' to others", dir);
	_cleanup_free_ char *owners = fs_join(dir, "owners");
	return fs_mkdirs(AT_FDCWD, owners, 0700, err);
}

void store_close(struct store *s)
{
	if (s == NULL)
		return;
	s->type->close(s);
	free(s->dir);
	free(s->id);
	free(s->place);
	free(s);
}

void store_closep(struct store **s)
{
	store_close(*s);
}

const char *store_id(const struct store *s)
{
	return s->id ? s->id : "";
}

bool store_is_there(const char *dir)
{
	_cleanup_free_ char *own = fs_join(dir, STORE_DATABASE_FILE), *elsewhere = fs_join(dir, STORE_PLACE_FILE);
	return fs_exists(AT_FDCWD, own) || fs_exists(AT_FDCWD, elsewhere);
}

bool store_is_shared(const struct store *s)
{
	return s->type->shared;
}

const char *store_place(const struct store *s)
{
	return s->place ? s->place : "";
}

int store_claim(struct store *s, const char *id, bool *ret_elsewhere, struct err *err)
{
	*ret_elsewhere = false;
	return s->type->shared ? s->type->claim(s, id, ret_elsewhere, err) : 0;
}

int store_take_over(struct store *s, const char *id, struct err *err)
{
	return s->type->shared ? s->type->take_over(s, id, err) : 0;
}

int store_check_claim(struct store *s, const char *id, struct err *err)
{
	return s->type->shared ? s->type->check_claim(s, id, err) : 0;
}

void store_release(struct store *s, const char *id)
{
	if (s->type->shared)
		s->type->release(s, id);
}

const char *store_dir(const struct store *s)
{
	return s->dir;
}
