#include "agent/listener/records.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/service/registration.h"
#include "agent/service/urls.h"
#include "agent/listener/trust.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/secret/digest.h"
#include "base/secret/seal.h"
#include "base/sys/fs.h"
#include "engine/journal/state_dir.h"

static const char credentials[] = "credentials";

enum {
	RECORD_MAX = 1 << 20,
	KEY_MAX = 64 << 10,
	SESSION_MAX = 4096,
	RUNNING_MAX = 16 << 20,
	HOLDER_BYTES = 16,
	HOLD_MS = 5 * 60 * 1000,
	HOLD_SAID_MS = 1000,
	HOLD_LOOK_MS = 50,
	ROOM = 64 << 10
};

static char *agent_dir(struct err *err)
{
	const char *state = getenv("DAVIT_STATE");
	if ((state == NULL || *state == '\0') && geteuid() == 0)
		return xstrdup("/var/lib/davit-agent");
	_cleanup_free_ char *dir = state_dir(err);
	return dir == NULL ? NULL : fs_join(dir, "agent");
}

/* Keys lie here: nobody else may have made the directory or be able to change it. */
static int check_dir(const char *dir, struct err *err)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open the agent's directory %s", dir);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at the agent's directory %s", dir);
	if (st.st_uid != geteuid() || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		err_set(err, ERR_PERMISSION, "the agent's directory %s belongs to somebody else or is open to others",
		        dir);
		return err_hint(err, ERR_PERMISSION,
		                "it holds private keys: chown it to the agent's user and chmod it to 0700");
	}
	if (fs_is_network(fd))
		return err_set(err, ERR_REFUSED, "the agent's directory %s lies on a network file system", dir);
	return 0;
}

/* A directory that jobs can exchange would let them choose whom the next job runs as. */
static int check_way(const char *dir, struct err *err)
{
	int r = trust_check(dir, err);
	if (r < 0) {
		err_wrap(err, r, "the agent's directory %s", dir);
		err_hint(err, r,
		         "give that directory to root (what a worker's user keeps lies in DAVIT_STATE/users/USER), or "
		         "name another one by DAVIT_STATE");
	}
	return r;
}

int records_open(bool make, struct records *ret, struct err *err)
{
	_cleanup_free_ char *dir = agent_dir(err);
	if (dir == NULL)
		return err->code;
	int way = check_way(dir, err);
	if (way < 0)
		return way;
	_cleanup_free_ char *registrations = fs_join(dir, "registrations");
	if (make) {
		int r = fs_mkdirs(AT_FDCWD, registrations, 0700, err);
		if (r < 0)
			return err_hint(err, r, "name a directory that this user may make by DAVIT_STATE");
	} else if (access(registrations, F_OK) < 0) {
		/* A directory that cannot be read is not the same as one without registrations. */
		if (errno == ENOENT)
			return err_set(err, ERR_NOT_FOUND, "no registration in %s", dir);
		int r = err_set(err, errno == EACCES ? ERR_PERMISSION : ERR_IO,
		                "look into the agent's directory %s: %s", dir, strerror(errno));
		return err_hint(err, r, "run it as the agent's user, or name another directory by DAVIT_STATE");
	}
	int r = check_dir(dir, err);
	if (r < 0)
		return r;
	ret->dir = TAKE(dir);
	return 0;
}

void records_done(struct records *s)
{
	free(s->dir);
	s->dir = NULL;
}

static char *path_of(const struct records *s, const char *id, const char *name)
{
	return xasprintf("%s/registrations/%s%s%s", s->dir, id, name ? "/" : "", name ? name : "");
}

bool records_has(const struct records *s, const char *id)
{
	_cleanup_free_ char *path = path_of(s, id, "registration.json");
	return fs_exists(AT_FDCWD, path);
}

static void closedirp(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

int records_list(const struct records *s, struct strv *ret, struct err *err)
{
	_cleanup_free_ char *path = fs_join(s->dir, "registrations");
	_cleanup_(closedirp) DIR *dir = opendir(path);
	if (dir == NULL)
		return errno == ENOENT ? 0 : err_errno(err, errno, "list %s", path);
	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		if (entry->d_name[0] != '.' && records_has(s, entry->d_name))
			strv_add(ret, entry->d_name);
	strv_sort(ret);
	return 0;
}

static int64_t written_ns(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec : 0;
}

bool records_changed(const struct records *s, const char *id, const struct registration *since)
{
	_cleanup_free_ char *path = path_of(s, id, "registration.json");
	int64_t now_ns = written_ns(path);
	return now_ns != 0 && now_ns != since->kept_ns;
}

/* A registration that cannot be read can neither be used nor removed by davit. */
static int broken(const struct records *s, const char *id, int code, struct err *err)
{
	if (code == ERR_UNSUPPORTED)
		return err_hint(err, code, "use the davit that wrote it, or a newer one");
	_cleanup_free_ char *dir = path_of(s, id, NULL);
	return err_hint(err, code,
	                "remove the directory %s and the runner in the service's settings, then configure it again",
	                dir);
}

int records_load(const struct records *s, const char *id, struct registration *ret, struct err *err)
{
	_cleanup_free_ char *path = path_of(s, id, "registration.json");
	_cleanup_(str_done) struct str text = STR_INIT(RECORD_MAX);
	_cleanup_json_ json_t *record = NULL;
	int64_t kept_ns = written_ns(path);
	int r = fs_read(AT_FDCWD, path, RECORD_MAX, &text, err);
	if (r >= 0)
		r = json_parse(str_peek(&text), text.len, RECORD_MAX, &record, err);
	if (r >= 0)
		r = registration_from_json(record, ret, err);
	if (r >= 0)
		ret->kept_ns = kept_ns;
	if (r >= 0 && ret->url == NULL) {
		registration_done(ret);
		r = err_set(err, ERR_INVALID, "the registration lacks 'url'");
	}
	return r < 0 ? broken(s, id, err_wrap(err, r, "read %s", path), err) : 0;
}

int records_load_key(const struct records *s, const char *id, struct str *out, struct err *err)
{
	_cleanup_free_ char *path = path_of(s, id, "key.pem");
	int r = fs_read(AT_FDCWD, path, KEY_MAX, out, err);
	return r < 0 ? broken(s, id, r, err) : r;
}

int records_room(const struct records *s, struct err *err)
{
	static const char zeros[ROOM];
	_cleanup_free_ char *path = fs_join(s->dir, "room");
	int r = fs_write_replace(AT_FDCWD, path, zeros, sizeof(zeros), 0600, err);
	(void)unlink(path);
	return r < 0 ? err_wrap(err, r, "nothing was asked for, since a registration could not be kept") : 0;
}

int records_save(const struct records *s, const char *id, const struct registration *reg, const struct str *key,
                 struct err *err)
{
	_cleanup_free_ char *dir = path_of(s, id, NULL), *key_path = path_of(s, id, "key.pem");
	_cleanup_free_ char *record_path = path_of(s, id, "registration.json");
	_cleanup_json_ json_t *record = registration_to_json(reg);
	_cleanup_free_ char *text = json_pretty(record);
	int r = fs_mkdirs(AT_FDCWD, dir, 0700, err);
	if (r >= 0)
		r = fs_write_atomic(AT_FDCWD, key_path, str_peek(key), key->len, 0600, err);
	if (r >= 0)
		r = fs_write_atomic(AT_FDCWD, record_path, text, strlen(text), 0600, err);
	return r < 0 ? err_wrap(err, r, "keep the registration") : 0;
}

int records_save_credential(const struct records *s, const char *id, const struct credential *c, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(256 << 10);
	if (c->app_id == NULL && c->secret.len == 0)
		return seal_erase_at(s->dir, credentials, id, err);
	credential_write(c, &text);
	int r = seal_write_at(s->dir, credentials, id, str_peek(&text), text.len, err);
	return r < 0 ? err_wrap(err, r, "keep the credential") : 0;
}

int records_load_credential(const struct records *s, const char *id, struct credential *ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(256 << 10);
	int r = seal_read_at(s->dir, credentials, id, &text, err);
	if (r >= 0)
		r = credential_read(str_peek(&text), text.len, ret, err);
	return r < 0 ? err_wrap(err, r, "the credential that is kept for this registration") : 0;
}

int records_delete(const struct records *s, const char *id, struct err *err)
{
	int r = seal_erase_at(s->dir, credentials, id, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *dir = path_of(s, id, NULL);
	return fs_remove_tree(AT_FDCWD, dir, err);
}

/* Keeps the characters that are safe in a file's name; everything else, other alphabets included, becomes "_". */
static char *file_name(const char *text)
{
	char *name = xstrdup(text);
	for (char *p = name; *p != '\0'; p++)
		*p = isalnum((unsigned char)*p) || strchr("-.", *p) != NULL ? (char)tolower((unsigned char)*p) : '_';
	return name;
}

/* Adds a digest of all that the name does not tell: where one part ends and the next begins, and what became "_". */
static char *with_digest(const char *shown, const char *url, const char *name)
{
	_cleanup_free_ char *whole = xasprintf("%s\n%s", url, name);
	char hex[DIGEST_HEX];
	for (char *p = whole; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	digest_of(whole, strlen(whole), hex);
	return xasprintf("%s-%.8s", shown, hex);
}

char *records_id(const char *url, const char *name, struct err *err)
{
	_cleanup_(github_url_done) struct github_url u = {0};
	if (github_url_parse(url, &u, err) < 0)
		return NULL;
	_cleanup_free_ char *whole = xasprintf("%s_%s_%s", u.authority, u.path, name), *shown = file_name(whole);
	return with_digest(shown, u.url, name);
}

int records_find(const struct records *s, const char *url, const char *name, char **ret_id, struct err *err)
{
	_cleanup_(github_url_done) struct github_url wanted = {0};
	_cleanup_(strv_done) struct strv ids = {0};
	int r = github_url_parse(url, &wanted, err);
	if (r >= 0)
		r = records_list(s, &ids, err);
	for (size_t i = 0; r >= 0 && i < ids.count && *ret_id == NULL; i++) {
		struct registration reg = {0};
		/* An unreadable one is reported by the code that needs it. */
		if (records_load(s, ids.items[i], &reg, NULL) < 0)
			continue;
		if (strcasecmp(reg.url, wanted.url) == 0 && strcasecmp(reg.name, name) == 0)
			*ret_id = xstrdup(ids.items[i]);
		registration_done(&reg);
	}
	if (r >= 0 && *ret_id == NULL)
		r = ERR_NOT_FOUND;
	return r;
}

char *records_area(const struct registration *reg)
{
	const char *url = reg->url != NULL ? reg->url : reg->server_url != NULL ? reg->server_url : "";
	const char *slash = strrchr(url, '/');
	_cleanup_free_ char *shown = file_name(reg->url == NULL || slash == NULL ? "jit" : slash + 1);
	return with_digest(shown, url, reg->name);
}

static json_t *read_object(const char *path, size_t max)
{
	_cleanup_(str_done) struct str text = STR_INIT(max);
	json_t *object = NULL;
	if (fs_read(AT_FDCWD, path, max, &text, NULL) < 0 ||
	    json_parse(str_peek(&text), text.len, max, &object, NULL) < 0)
		return NULL;
	return object;
}

void records_write_state(const struct records *s, const char *id, const char *state, const char *text)
{
	char since[CLOCK_TEXT_SIZE];
	_cleanup_json_ json_t *record = json_object();
	json_object_set_new(record, "state", json_string(state));
	if (text != NULL)
		json_object_set_new(record, "text", json_string_lossy(text, strlen(text)));
	json_object_set_new(record, "since", json_string(clock_rfc3339(clock_wall_ms(), since)));
	json_object_set_new(record, "pid", json_integer(getpid()));
	_cleanup_free_ char *path = path_of(s, id, "state.json"), *line = json_text(record);
	/* Only `agent status` reads it; the agent works without it. */
	(void)fs_write_replace(AT_FDCWD, path, line, strlen(line), 0600, NULL);
}

json_t *records_read_state(const struct records *s, const char *id)
{
	_cleanup_free_ char *path = path_of(s, id, "state.json");
	return read_object(path, RECORD_MAX);
}

void records_write_session(const struct records *s, const char *id, const char *session)
{
	_cleanup_free_ char *path = path_of(s, id, "session");
	/* Without it a restart after a crash waits for the service to drop the old session. */
	if (session != NULL)
		(void)fs_write_replace(AT_FDCWD, path, session, strlen(session), 0600, NULL);
	else
		(void)unlink(path);
}

char *records_read_session(const struct records *s, const char *id)
{
	_cleanup_free_ char *path = path_of(s, id, "session");
	_cleanup_(str_done) struct str text = STR_INIT(SESSION_MAX);
	if (fs_read(AT_FDCWD, path, SESSION_MAX, &text, NULL) < 0 || text.len == 0)
		return NULL;
	return str_take(&text);
}

void records_write_running(const struct records *s, const json_t *running)
{
	_cleanup_free_ char *path = fs_join(s->dir, "running.json"), *text = json_text(running);
	(void)fs_write_replace(AT_FDCWD, path, text, strlen(text), 0600, NULL);
}

json_t *records_read_running(const struct records *s)
{
	_cleanup_free_ char *path = fs_join(s->dir, "running.json");
	return read_object(path, RUNNING_MAX);
}

static int hold(const struct records *s, int how, int *ret_fd)
{
	_cleanup_free_ char *path = fs_join(s->dir, "registrations");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (flock(fd, how) < 0)
		if (errno != EINTR)
			return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

int records_hold(const struct records *s, struct wait *w, int *ret_fd, struct err *err)
{
	int64_t begun = clock_mono_ms();
	bool said = false;
	int r;
	while ((r = hold(s, LOCK_EX | LOCK_NB, ret_fd)) == -EWOULDBLOCK) {
		int64_t waited = clock_mono_ms() - begun;
		if (waited >= registration_pace(HOLD_MS)) {
			r = err_set(err, ERR_LOCKED, "another davit configures or removes a registration in %s",
			            s->dir);
			return err_hint(err, r, "let it end: it may wait at a question on another terminal");
		}
		if (!said && waited >= registration_pace(HOLD_SAID_MS)) {
			log_info("agent", "another davit configures or removes a registration; waiting for it");
			said = true;
		}
		r = wait_ms(w, HOLD_LOOK_MS, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? err_errno(err, -r, "lock the registrations in %s", s->dir) : 0;
}

bool records_are_held(const struct records *s)
{
	_cleanup_close_ int fd = -1;
	return hold(s, LOCK_SH | LOCK_NB, &fd) == -EWOULDBLOCK;
}

static pid_t read_holder(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	long long pid;
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return str_parse_i64(text, 1, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

int records_lock(const struct records *s, int *ret_fd, struct err *err)
{
	_cleanup_free_ char *path = fs_join(s->dir, "lock");
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_errno(err, errno, "open %s", path);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		err_set(err, ERR_LOCKED, "another agent (process %d) listens for these registrations already",
		        (int)read_holder(fd));
		return err_hint(err, ERR_LOCKED, "stop it first, or give this one its own DAVIT_STATE");
	}
	char text[HOLDER_BYTES] = {0};
	(void)snprintf(text, sizeof(text), "%d", (int)getpid());
	/* In its place, so that it needs no room; without it only the number is not known, and the agent starts on a full disk too. */
	if (pwrite(fd, text, sizeof(text), 0) != (ssize_t)sizeof(text))
		log_warning("listen", "write %s: %s; `agent status` does not show that this agent runs", path,
		            strerror(errno));
	*ret_fd = take_fd(&fd);
	return 0;
}

pid_t records_holder(const struct records *s)
{
	_cleanup_free_ char *path = fs_join(s->dir, "lock");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	/* Tests the lock without taking it: a query must not keep an agent from starting. */
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	return read_holder(fd);
}
