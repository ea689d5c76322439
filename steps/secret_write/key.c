/* Parses keys before they are written: damage on the way (mostly lost line breaks) is found here and not by
 * the service that cannot start. */
#include "base/secret/digest.h"
#include "steps/secret_write/secret_write.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static const char openssh_magic[] = "openssh-key-v1"; /* with its NUL */

void secret_key_mend(const char *value, size_t len, struct str *out, const char **ret_what)
{
	bool crlf = false;
	for (size_t i = 0; i < len; i++) {
		if (value[i] == '\r' && i + 1 < len && value[i + 1] == '\n') {
			crlf = true;
			continue;
		}
		str_append_c(out, value[i]);
	}
	bool final = len > 0 && value[len - 1] != '\n';
	if (final && out->len > 0 && out->data[out->len - 1] == '\r')
		str_truncate(out, out->len - 1);
	if (final)
		str_append_c(out, '\n');
	*ret_what = crlf && final ? "CRLF line ends and the missing final newline"
	            : crlf        ? "CRLF line ends"
	            : final       ? "the missing final newline"
	                          : NULL;
}

/* cipher, kdf, kdf options, number of keys, public key, private part: each with a length of four bytes before it. */
static bool openssh_holds(const unsigned char *data, size_t len)
{
	size_t at = sizeof(openssh_magic);
	if (len < at || memcmp(data, openssh_magic, at) != 0)
		return false;
	for (int field = 0; field < 6; field++) {
		if (len - at < 4)
			return false;
		size_t size =
			(size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 | data[at + 3];
		at += 4;
		if (field == 3)
			continue;
		if (size > len - at)
			return false;
		at += size;
	}
	return at == len;
}

static bool is_private(const char *name)
{
	return strcmp(name, "PRIVATE KEY") == 0 || strcmp(name, "RSA PRIVATE KEY") == 0 ||
	       strcmp(name, "EC PRIVATE KEY") == 0 || strcmp(name, "DSA PRIVATE KEY") == 0;
}

static bool block_holds(const char *name, const char *header, const unsigned char *data, size_t len)
{
	const unsigned char *p = data;
	bool holds = true;
	if (strcmp(name, "OPENSSH PRIVATE KEY") == 0)
		return openssh_holds(data, len);
	if (is_private(name) && strstr(header, "ENCRYPTED") == NULL) {
		EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &p, (long)len);
		holds = key != NULL;
		EVP_PKEY_free(key);
	} else if (strcmp(name, "PUBLIC KEY") == 0) {
		EVP_PKEY *key = d2i_PUBKEY(NULL, &p, (long)len);
		holds = key != NULL;
		EVP_PKEY_free(key);
	} else if (strcmp(name, "ENCRYPTED PRIVATE KEY") == 0) {
		X509_SIG *sig = d2i_X509_SIG(NULL, &p, (long)len);
		holds = sig != NULL;
		X509_SIG_free(sig);
	} else if (strcmp(name, "CERTIFICATE") == 0) {
		X509 *cert = d2i_X509(NULL, &p, (long)len);
		holds = cert != NULL;
		X509_free(cert);
	}
	return holds;
}

static size_t count_begins(const char *value, size_t len)
{
	static const char begin[] = "-----BEGIN ";
	size_t count = 0;
	for (const char *p = value; (p = memmem(p, len - (size_t)(p - value), begin, sizeof(begin) - 1)) != NULL; p++)
		count++;
	return count;
}

static int read_blocks(const struct str *text, size_t *ret_count, struct err *err)
{
	BIO *bio = BIO_new_mem_buf(text->data, (int)text->len);
	int r = 0;
	char *name = NULL, *header = NULL;
	unsigned char *data = NULL;
	long len = 0;
	while (r == 0 && bio != NULL && PEM_read_bio(bio, &name, &header, &data, &len) == 1) {
		++*ret_count;
		if (!block_holds(name, header, data, (size_t)len))
			r = err_set(err, ERR_INVALID, "its block %zu (%.40s) cannot be parsed", *ret_count, name);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(data, (size_t)len);
	}
	BIO_free(bio);
	ERR_clear_error();
	return r;
}

enum secret_key_kind secret_key_parse(const char *value, size_t len, struct err *err)
{
	const char *p = value;
	while (p < value + len && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	if ((size_t)(value + len - p) < 11 || memcmp(p, "-----BEGIN ", 11) != 0)
		return SECRET_NOT_KEY;
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(SECRET_MAX_VALUE + 2);
	const char *what;
	secret_key_mend(value, len, &text, &what);
	size_t blocks = 0;
	int r = read_blocks(&text, &blocks, err);
	size_t begins = count_begins(str_peek(&text), text.len);
	if (r == 0 && blocks == begins)
		return SECRET_KEY;
	if (r == 0) {
		err_set(err, ERR_INVALID, "it begins like a key, but only %zu of its %zu blocks can be read", blocks,
		        begins);
		if (memmem(value, len, "\\n", 2) != NULL)
			err_hint(err, ERR_INVALID,
			         "its line breaks have become the two characters \\n: store it with real line breaks");
		else if (memchr(value, '\n', len) == NULL)
			err_hint(err, ERR_INVALID, "its line breaks are gone: store it with its line breaks");
	}
	err_hint(err, ERR_INVALID, "store the file's content unchanged, from its first dash to its last");
	return SECRET_BAD_KEY;
}
