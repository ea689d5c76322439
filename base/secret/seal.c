#include "base/secret/seal.h"

#include "base/sys/fs.h"
#include "base/core/rand.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { KEY_BYTES = SEAL_KEY_BYTES, NONCE_BYTES = 12, TAG_BYTES = 16, MAX_SEALED = 16 << 20 };
static const char magic[] = "DAVITSEAL1\n";
enum { MAGIC_BYTES = sizeof(magic) - 1 };

/* The names of fs_write_atomic before the rename. */
static const char private_prefix[] = ".davit-";
static const char place_of_deployments[] = "sealed";

static void cipher_free(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}

static int check_id(const char *id, struct err *err)
{
	if (*id == '\0' || *id == '.' || strchr(id, '/') != NULL)
		return err_set(err, ERR_INVALID, "'%s' cannot name a sealed file", id);
	return 0;
}

/* Writers share the lock while their private names exist: with the exclusive lock all such names are left by dead processes. */
static int lock_folder(const char *directory, int how, struct err *err)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, errno, "open the directory '%s'", directory);
	while (flock(fd, how) != 0) {
		if (errno == EINTR)
			continue;
		int r = err_errno(err, errno, "lock the directory '%s'", directory);
		close(fd);
		return r;
	}
	return fd;
}

/* Two processes may make the first key at once: the second link fails and the first one's key is read. */
static int make_key(const char *path, const char *directory, struct err *err)
{
	unsigned char key[KEY_BYTES];
	char suffix[17];
	rand_hex(suffix, 16);
	_cleanup_free_ char *private_name = xasprintf("%s/%skey-%s", directory, private_prefix, suffix);
	rand_fill(key, sizeof(key));
	int r = fs_write_atomic(AT_FDCWD, private_name, key, sizeof(key), 0600, err);
	OPENSSL_cleanse(key, sizeof(key));
	if (r < 0)
		return r;
	if (link(private_name, path) != 0 && errno != EEXIST)
		r = err_errno(err, errno, "make the key '%s'", path);
	unlink(private_name);
	if (r < 0)
		return r;
	_cleanup_free_ char *dir = xstrdup(path);
	*strrchr(dir, '/') = '\0';
	return fs_sync_dir(AT_FDCWD, dir, err);
}

/* Whoever sweeps waits until its private name is gone. */
static int make_first_key(const char *dir, const char *path, struct err *err)
{
	_cleanup_free_ char *directory = fs_join(dir, place_of_deployments);
	int r = fs_mkdirs(AT_FDCWD, directory, 0700, err);
	if (r < 0)
		return r;
	_cleanup_close_ int lock = lock_folder(directory, LOCK_SH, err);
	return lock < 0 ? lock : make_key(path, directory, err);
}

static int read_key_file(const char *path, const char *dir, bool make, unsigned char key[KEY_BYTES], struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(KEY_BYTES + 1);
	int r = fs_read(AT_FDCWD, path, KEY_BYTES + 1, &text, NULL);
	if (r == ERR_NOT_FOUND && make) {
		r = make_first_key(dir, path, err);
		if (r < 0)
			return r;
		r = fs_read(AT_FDCWD, path, KEY_BYTES + 1, &text, err);
	}
	if (r < 0)
		return err_set(err, r, "the key '%s' cannot be read", path);
	if (text.len != KEY_BYTES)
		return err_set(err, ERR_PROTOCOL, "the key '%s' is damaged: %zu bytes", path, text.len);
	memcpy(key, text.data, KEY_BYTES);
	return 0;
}

static int read_key(const char *dir, bool make, unsigned char key[KEY_BYTES], struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, "seal.key");
	return read_key_file(path, dir, make, key, err);
}

int seal_own_key(const char *dir, bool make, unsigned char key[SEAL_KEY_BYTES], struct err *err)
{
	return read_key(dir, make, key, err);
}

static int encrypt_record(const unsigned char *key, const char *id, const void *data, size_t len, struct str *out,
                          struct err *err)
{
	_cleanup_(cipher_free) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	unsigned char nonce[NONCE_BYTES], tag[TAG_BYTES];
	rand_fill(nonce, sizeof(nonce));
	str_append_n(out, magic, MAGIC_BYTES);
	str_append_n(out, nonce, sizeof(nonce));
	char *body = str_reserve(out, len + 1);
	if (body == NULL)
		return err_set(err, ERR_LIMIT, "%zu bytes are too much to seal", len);
	int n = 0, tail = 0;
	bool ok = c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	          EVP_EncryptUpdate(c, NULL, &n, (const unsigned char *)id, (int)strlen(id)) == 1 &&
	          EVP_EncryptUpdate(c, (unsigned char *)body, &n, data, (int)len) == 1 &&
	          EVP_EncryptFinal_ex(c, (unsigned char *)body + n, &tail) == 1 &&
	          EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, tag) == 1;
	if (!ok)
		return err_set(err, ERR_INTERNAL, "AES-256-GCM failed");
	out->len += len;
	str_append_n(out, tag, sizeof(tag));
	return out->failed ? err_set(err, ERR_LIMIT, "%zu bytes are too much to seal", len) : 0;
}

int seal_bytes(const char *dir, const char *key_file, const char *id, const void *data, size_t len, struct str *out,
               struct err *err)
{
	unsigned char key[KEY_BYTES];
	_cleanup_free_ char *path = fs_join(dir, key_file);
	if (len > MAX_SEALED)
		return err_set(err, ERR_LIMIT, "%zu bytes are too much to seal", len);
	int r = read_key_file(path, dir, false, key, err);
	if (r < 0)
		return r;
	r = encrypt_record(key, id, data, len, out, err);
	OPENSSL_cleanse(key, sizeof(key));
	return r;
}

int seal_write(const char *dir, const char *id, const void *data, size_t len, struct err *err)
{
	return seal_write_at(dir, place_of_deployments, id, data, len, err);
}

int seal_write_at(const char *dir, const char *place, const char *id, const void *data, size_t len, struct err *err)
{
	if (len > MAX_SEALED)
		return err_set(err, ERR_LIMIT, "%zu bytes are too much to seal", len);
	unsigned char key[KEY_BYTES];
	_cleanup_free_ char *directory = fs_join(dir, place);
	_cleanup_free_ char *path = fs_join(directory, id);
	_cleanup_(str_done) struct str out = STR_INIT(MAX_SEALED + 1024);
	int r = check_id(id, err);
	if (r < 0)
		return r;
	r = fs_mkdirs(AT_FDCWD, directory, 0700, err);
	if (r < 0)
		return r;
	_cleanup_close_ int lock = lock_folder(directory, LOCK_SH, err);
	if (lock < 0)
		return lock;
	r = read_key(dir, true, key, err);
	if (r < 0)
		return r;
	r = encrypt_record(key, id, data, len, &out, err);
	OPENSSL_cleanse(key, sizeof(key));
	if (r < 0)
		return r;
	r = fs_write_atomic(AT_FDCWD, path, out.data, out.len, 0600, err);
	return r < 0 ? err_wrap(err, r, "seal the secrets of '%s'", id) : 0;
}

static int decrypt(const unsigned char *key, const char *id, const struct str *in, struct str *out, struct err *err)
{
	_cleanup_(cipher_free) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	const unsigned char *nonce = (const unsigned char *)in->data + MAGIC_BYTES;
	size_t len = in->len - MAGIC_BYTES - NONCE_BYTES - TAG_BYTES;
	unsigned char tag[TAG_BYTES];
	memcpy(tag, in->data + in->len - TAG_BYTES, TAG_BYTES);
	char *body = str_reserve(out, len + 1);
	if (body == NULL)
		return err_set(err, ERR_LIMIT, "the sealed file of '%s' is too large", id);
	int n = 0, tail = 0;
	bool ok = c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
	          EVP_DecryptUpdate(c, NULL, &n, (const unsigned char *)id, (int)strlen(id)) == 1 &&
	          EVP_DecryptUpdate(c, (unsigned char *)body, &n, nonce + NONCE_BYTES, (int)len) == 1 &&
	          EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
	          EVP_DecryptFinal_ex(c, (unsigned char *)body + n, &tail) == 1;
	if (!ok) {
		OPENSSL_cleanse(body, len);
		return err_set(err, ERR_AUTH,
		               "the sealed file of '%s' was not made with this host's key, or is damaged", id);
	}
	out->len += len;
	out->data[out->len] = '\0';
	return 0;
}

static int open_sealed(const char *key_path, const char *dir, const char *id, const struct str *in, struct str *out,
                       struct err *err)
{
	unsigned char key[KEY_BYTES];
	if (in->len < MAGIC_BYTES + NONCE_BYTES + TAG_BYTES || memcmp(in->data, magic, MAGIC_BYTES) != 0)
		return err_set(err, ERR_AUTH, "what is sealed of '%s' is not of format 1", id);
	int r = read_key_file(key_path, dir, false, key, err);
	if (r < 0)
		return r;
	r = decrypt(key, id, in, out, err);
	OPENSSL_cleanse(key, sizeof(key));
	return r;
}

int seal_open_bytes(const char *dir, const char *key_file, const char *id, const struct str *in, struct str *out,
                    struct err *err)
{
	_cleanup_free_ char *path = fs_join(dir, key_file);
	return open_sealed(path, dir, id, in, out, err);
}

int seal_read(const char *dir, const char *id, struct str *out, struct err *err)
{
	return seal_read_at(dir, place_of_deployments, id, out, err);
}

int seal_read_at(const char *dir, const char *place, const char *id, struct str *out, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/%s", dir, place, id);
	_cleanup_(str_done) struct str in = STR_INIT(MAX_SEALED + 1024);
	int r = check_id(id, err);
	if (r < 0)
		return r;
	r = fs_read(AT_FDCWD, path, MAX_SEALED + 1024, &in, err);
	if (r < 0)
		return r;
	_cleanup_free_ char *key_path = fs_join(dir, "seal.key");
	return open_sealed(key_path, dir, id, &in, out, err);
}

int seal_erase(const char *dir, const char *id, struct err *err)
{
	return seal_erase_at(dir, place_of_deployments, id, err);
}

int seal_erase_at(const char *dir, const char *place, const char *id, struct err *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/%s", dir, place, id);
	int r = check_id(id, err);
	if (r < 0)
		return r;
	if (unlink(path) != 0)
		return errno == ENOENT ? 0 : err_errno(err, errno, "erase the sealed file '%s'", path);
	_cleanup_free_ char *directory = fs_join(dir, place);
	return fs_sync_dir(AT_FDCWD, directory, err);
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

int seal_sweep(const char *dir, struct err *err)
{
	return seal_sweep_at(dir, place_of_deployments, err);
}

int seal_sweep_at(const char *dir, const char *place, struct err *err)
{
	_cleanup_free_ char *directory = fs_join(dir, place);
	if (!fs_exists(AT_FDCWD, directory))
		return 0;
	_cleanup_close_ int lock = lock_folder(directory, LOCK_EX | LOCK_NB, NULL);
	/* Somebody writes: the next recovery removes them. */
	if (lock < 0)
		return 0;
	_cleanup_(closedirp) DIR *entries = opendir(directory);
	if (entries == NULL)
		return err_errno(err, errno, "list '%s'", directory);
	for (struct dirent *one; (one = readdir(entries)) != NULL;)
		if (str_starts(one->d_name, private_prefix) && unlinkat(lock, one->d_name, 0) != 0 && errno != ENOENT)
			return err_errno(err, errno, "remove '%s/%s'", directory, one->d_name);
	return 0;
}
