#include "engine/target/shell/login.h"
#include "base/sys/fs.h"
#include "base/core/log.h"
#include "base/secret/mask.h"

#include <ctype.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_FILE_MAX = 64 * 1024, BLANKS_ARE_NOTHING = true, EVERY_BYTE_COUNTS = false };

/* A copy without surrounding blanks and line ends, as in a secret made from a file. */
static char *trimmed(struct arena *a, const char *value)
{
	while (isspace((unsigned char)*value))
		value++;
	size_t len = strlen(value);
	while (len > 0 && isspace((unsigned char)value[len - 1]))
		len--;
	char *copy = arena_alloc(a, len + 1);
	memcpy(copy, value, len);
	copy[len] = '\0';
	return copy;
}

static bool is_blank(const char *value)
{
	return value[strspn(value, " \t\r\n\f\v")] == '\0';
}

/* Trimmed copies, behind what *ret already has. */
static int texts(struct arena *a, const char *name, const struct field_strings *given, const char ***ret,
                 struct err *err)
{
	size_t old = 0;
	while (*ret != NULL && (*ret)[old] != NULL)
		old++;
	const char **list = arena_alloc(a, (old + given->count + 1) * sizeof(*list));
	for (size_t i = 0; i < old; i++)
		list[i] = (*ret)[i];
	for (size_t i = 0; i < given->count; i++) {
		if (is_blank(given->items[i]))
			return err_set(err, ERR_INVALID, "ssh.%s: a text or a list of texts is wanted", name);
		list[old + i] = trimmed(a, given->items[i]);
	}
	*ret = list;
	return 0;
}

static char *text(struct arena *a, const char *value, bool trim)
{
	if (value == NULL)
		return NULL;
	char *copy = trim ? trimmed(a, value) : arena_strdup(a, value);
	return *copy != '\0' ? copy : NULL;
}

static const char *home(void)
{
	const char *named = getenv("HOME");
	if (named != NULL && *named == '/')
		return named;
	const struct passwd *me = getpwuid(geteuid());
	return me != NULL ? me->pw_dir : NULL;
}

/* A path of this machine. */
static int path(struct arena *a, const char *key, const char *given, char **ret, struct err *err)
{
	char *value = text(a, given, BLANKS_ARE_NOTHING);
	if (value == NULL || value[0] != '~') {
		*ret = value;
		return 0;
	}
	if (value[1] != '/' && value[1] != '\0')
		return err_set(err, ERR_INVALID, "ssh.%s '%s': only one's own home directory is known as `~/`", key,
		               value);
	if (home() == NULL)
		return err_set(err, ERR_INVALID, "ssh.%s '%s': there is no home directory: HOME is not set", key,
		               value);
	_cleanup_free_ char *full = xasprintf("%s%s", home(), value + 1);
	*ret = arena_strdup(a, full);
	return 0;
}

/* The user's own file, if it exists. */
static char *own_known_hosts(struct arena *a)
{
	if (home() == NULL)
		return NULL;
	_cleanup_free_ char *full = xasprintf("%s/.ssh/known_hosts", home());
	return access(full, R_OK) == 0 ? arena_strdup(a, full) : NULL;
}

/* "[::1]" and "::1" are one address. Everything else before or after a name has a setting of its own. */
static int read_host(char *host, const char **ret, struct err *err)
{
	if (host == NULL)
		return err_set(err, ERR_INVALID, "ssh.host is missing");
	size_t len = strlen(host);
	if (strstr(host, "://") != NULL)
		return err_hint(err, err_set(err, ERR_INVALID, "ssh.host '%s' is a URL", host),
		                "give the name or address alone");
	char *at = strchr(host, '@'), *colon = strrchr(host, ':');
	if (at != NULL)
		return err_hint(err, err_set(err, ERR_INVALID, "ssh.host '%s' names a user too", host),
		                "write host: %s and user: %.*s", at + 1, (int)(at - host), host);
	bool bracketed = host[0] == '[';
	bool one_colon = colon != NULL && strchr(host, ':') == colon;
	if (colon != NULL && (one_colon || (bracketed && colon > host && colon[-1] == ']')))
		return err_hint(err, err_set(err, ERR_INVALID, "ssh.host '%s' names a port too", host),
		                "write host: %.*s and port: %s", (int)(colon - host) - 2 * bracketed, host + bracketed,
		                colon[1] != '\0' ? colon + 1 : "22");
	if (bracketed && host[len - 1] != ']')
		return err_set(err, ERR_INVALID, "ssh.host '%s' has a bracket that does not end", host);
	if (bracketed) {
		host[len - 1] = '\0';
		host++;
	}
	if (*host == '\0' || host[strcspn(host, " \t\r\n[]/")] != '\0')
		return err_set(err, ERR_INVALID, "ssh.host '%s' is not a name or an address", host);
	*ret = host;
	return 0;
}

static int read_key_file(struct arena *a, const char *file, struct ssh_login *l, struct err *err)
{
	struct stat st;
	_cleanup_(str_done) struct str key = STR_SECRET_INIT(KEY_FILE_MAX + 1);
	if (l->key != NULL)
		return err_set(err, ERR_INVALID, "ssh.key and ssh.key_file are both given; one is wanted");
	int r = fs_read(AT_FDCWD, file, KEY_FILE_MAX, &key, err);
	if (r < 0)
		return err_wrap(err, r, "ssh.key_file");
	if (stat(file, &st) == 0 && (st.st_mode & 077) != 0)
		log_warning("ssh", "ssh.key_file '%s' can be read by others (mode %04o): chmod 600 '%s'", file,
		            (unsigned)(st.st_mode & 07777), file);
	/* As secret as one from the secrets of a job. */
	mask_add(mask_process(), str_peek(&key), key.len);
	l->key = arena_strdup(a, str_peek(&key));
	return 0;
}

static int read_users(struct arena *a, const struct target_ssh *config, struct ssh_login *l, struct err *err)
{
	const char **users = NULL;
	int r = texts(a, "user", &config->user, &users, err);
	if (r < 0)
		return r;
	if (users[0] == NULL) {
		const struct passwd *me = getpwuid(geteuid());
		users = arena_alloc(a, 2 * sizeof(*users));
		users[0] = arena_strdup(a, me != NULL ? me->pw_name : "root");
	}
	l->users = users;
	return 0;
}

/* What ssh-keyscan said, as people keep it in a secret, where a path is asked for. No path has a key's type within it. */
static bool is_known_hosts_text(const char *value)
{
	static const char *const types[] = {" ssh-", " ecdsa-", " sk-ssh-", " sk-ecdsa-"};
	for (size_t i = 0; value != NULL && i < ARRAY_SIZE(types); i++)
		if (strstr(value, types[i]) != NULL)
			return true;
	return false;
}

static int read_host_keys(struct arena *a, const struct target_ssh *config, struct ssh_login *l, struct err *err)
{
	const char **host_keys = NULL;
	char *file = NULL;
	int r = texts(a, "host_key", &config->host_key, &host_keys, err);
	if (r == 0)
		r = texts(a, "host_keys", &config->host_keys, &host_keys, err);
	if (r == 0)
		r = path(a, "known_hosts", config->known_hosts, &file, err);
	if (r < 0)
		return r;
	l->host_keys = host_keys;
	if (is_known_hosts_text(config->known_hosts))
		l->known_hosts_text = text(a, config->known_hosts, EVERY_BYTE_COUNTS);
	else
		l->known_hosts = file == NULL && host_keys[0] == NULL ? own_known_hosts(a) : file;
	return 0;
}

int shell_login_read(struct arena *a, const struct target_ssh *config, struct ssh_login **ret, struct err *err)
{
	struct ssh_login *l = arena_alloc(a, sizeof(*l));
	char *key_file = NULL;
	l->key = text(a, config->key, EVERY_BYTE_COUNTS);
	l->key_passphrase = text(a, config->key_passphrase, EVERY_BYTE_COUNTS);
	l->password = text(a, config->password, EVERY_BYTE_COUNTS);
	l->port = (int)config->port;
	l->connect_timeout_ms = config->connect_timeout_ms;
	int r = read_host(text(a, config->host, BLANKS_ARE_NOTHING), &l->host, err);
	if (r == 0)
		r = path(a, "key_file", config->key_file, &key_file, err);
	if (r == 0 && key_file != NULL)
		r = read_key_file(a, key_file, l, err);
	if (r == 0)
		r = read_users(a, config, l, err);
	if (r == 0)
		r = read_host_keys(a, config, l, err);
	if (r < 0)
		return r;
	/* If nothing else is given a person means the agent. */
	const char *agent = getenv("SSH_AUTH_SOCK");
	l->agent = config->has_agent ? config->agent
	                             : l->key == NULL && l->password == NULL && agent != NULL && *agent != '\0';
	if (config->jump != NULL) {
		struct ssh_login *first;
		r = shell_login_read(a, config->jump, &first, err);
		if (r < 0)
			return err_wrap(err, r, "jump");
		l->jump = first;
	}
	*ret = l;
	return 0;
}
