#include "base/secret/base64.h"
#include "base/ssh/ssh_priv.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>

enum { KEY_MAX = 64 * 1024 };

static int no_key(const char *why, struct err *err)
{
	int r = err_set(err, ERR_INVALID, "the private key cannot be read: %s", why);
	return err_hint(
		err, r,
		"give the whole text of the file that ssh-keygen -t ed25519 wrote, from -----BEGIN to -----END");
}

static int encrypted(const char *why, struct err *err)
{
	int r = err_set(err, ERR_INVALID, "the private key cannot be read: %s", why);
	return err_hint(err, r,
	                "give its passphrase as key_passphrase, or make a key without: ssh-keygen -t ed25519 -N ''");
}

/* libssh2 reads every key by itself but signs RSA with SHA-1 before 1.11; rsa.c does it then. */
static int check_rsa(const char *text, const char *passphrase, struct err *err)
{
	if (!ssh_rsa_is_sha1())
		return 0;
	EVP_PKEY *key = ssh_rsa_load(text, passphrase);
	if (key != NULL) {
		EVP_PKEY_free(key);
		return 0;
	}
	return err_hint(
		err,
		err_set(err, ERR_UNSUPPORTED,
	                "the private key is an encrypted RSA key in OpenSSH's own format, which cannot be read with "
	                "libssh2 %s",
	                libssh2_version(0)),
		"write it as PEM: ssh-keygen -p -m PEM -f KEY; or make an Ed25519 key: ssh-keygen -t ed25519");
}

/* A length and that many bytes at *p; NULL when they are missing. */
static const unsigned char *take_string(const unsigned char **p, const unsigned char *end, size_t *ret_len)
{
	if (end - *p < 4)
		return NULL;
	size_t len = (size_t)(*p)[0] << 24 | (size_t)(*p)[1] << 16 | (size_t)(*p)[2] << 8 | (*p)[3];
	if (len > (size_t)(end - *p - 4))
		return NULL;
	const unsigned char *start = *p + 4;
	*p = start + len;
	*ret_len = len;
	return start;
}

/* "openssh-key-v1\0", cipher, kdf, kdf options, number of keys, public key …: all of it readable without the
 * passphrase. */
static int openssh_type(const char *text, const char *passphrase, char type[64], struct err *err)
{
	static const char magic[] = "openssh-key-v1";
	static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
	_cleanup_(str_done) struct str body = STR_SECRET_INIT(KEY_MAX), blob = STR_SECRET_INIT(KEY_MAX);
	const char *start = text + sizeof(begin) - 1, *stop = strstr(start, "-----END OPENSSH PRIVATE KEY-----");
	if (stop == NULL)
		return no_key("its end is missing", err);
	for (const char *c = start; c < stop; c++)
		if (*c != '\n' && *c != ' ' && *c != '\t')
			str_append_c(&body, *c);
	if (body.failed || base64_decode(str_peek(&body), body.len, &blob, NULL) < 0 || blob.len < sizeof(magic) ||
	    memcmp(blob.data, magic, sizeof(magic)) != 0)
		return no_key("its text is damaged", err);
	const unsigned char *p = (const unsigned char *)blob.data + sizeof(magic),
			    *end = (const unsigned char *)blob.data + blob.len;
	size_t cipher_len, kdf_len, options_len, key_len, type_len;
	const unsigned char *cipher = take_string(&p, end, &cipher_len);
	if (cipher == NULL || take_string(&p, end, &kdf_len) == NULL || take_string(&p, end, &options_len) == NULL ||
	    end - p < 4)
		return no_key("its text is damaged", err);
	p += 4;
	const unsigned char *key = take_string(&p, end, &key_len);
	const unsigned char *key_end = p;
	const unsigned char *name = key != NULL ? take_string(&key, p, &type_len) : NULL;
	if (name == NULL || type_len >= 64)
		return no_key("its text is damaged", err);
	/* The private part, with its length, is the rest: a truncated key is noticed here. */
	size_t private_len;
	const unsigned char *after = key_end;
	if (take_string(&after, end, &private_len) == NULL)
		return no_key("its text is cut off", err);
	memcpy(type, name, type_len);
	type[type_len] = '\0';
	if (!(cipher_len == 4 && memcmp(cipher, "none", 4) == 0) && passphrase == NULL)
		return encrypted("it is encrypted and no passphrase is given", err);
	return 0;
}

static int give_passphrase(char *buffer, int size, int writing, void *passphrase)
{
	(void)writing;
	if (passphrase == NULL)
		return -1;
	int n = snprintf(buffer, (size_t)size, "%s", (const char *)passphrase);
	return n < size ? n : -1;
}

static int pem_type(const char *text, const char *passphrase, char type[64], struct err *err)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY *key =
		bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, (void *)(uintptr_t)passphrase) : NULL;
	const char *name = "";
	int id = key != NULL ? EVP_PKEY_base_id(key) : 0;
	if (id == EVP_PKEY_RSA)
		name = "ssh-rsa";
	else if (id == EVP_PKEY_ED25519)
		name = "ssh-ed25519";
	else if (id == EVP_PKEY_EC)
		name = "ecdsa";
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	snprintf(type, 64, "%s", name);
	if (id == 0 && strstr(text, "ENCRYPTED") != NULL)
		return encrypted(passphrase == NULL ? "it is encrypted and no passphrase is given"
		                                    : "it is encrypted, and the passphrase is wrong",
		                 err);
	if (id == 0)
		return no_key("its text is damaged", err);
	if (*name == '\0')
		return no_key("it is neither Ed25519, ECDSA nor RSA", err);
	return 0;
}

int ssh_key_check(const char *text, const char *passphrase, struct str *ret_text, struct str *ret_notes,
                  char ret_type[64], struct err *err)
{
	if (strlen(text) > KEY_MAX - 2)
		return no_key("it is longer than 64 KiB", err);
	int r = ssh_key_mend(text, ret_text, ret_notes, err);
	if (r < 0)
		return r;
	const char *clean = str_peek(ret_text);
	if (str_starts(clean, "-----BEGIN OPENSSH PRIVATE KEY-----"))
		r = openssh_type(clean, passphrase, ret_type, err);
	else
		r = pem_type(clean, passphrase, ret_type, err);
	if (r < 0)
		return r;
	if (strcmp(ret_type, "ssh-rsa") == 0)
		return check_rsa(clean, passphrase, err);
	if (str_starts(ret_type, "sk-"))
		return no_key("it lives on a hardware token, which needs the agent", err);
	return 0;
}
