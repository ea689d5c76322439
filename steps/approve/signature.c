/* Signatures of OpenSSH (PROTOCOL.sshsig), of ed25519 keys only: what `ssh-keygen -Y sign -n davit-approval` writes. */
#include "steps/approve/approve.h"

#include "base/secret/base64.h"
#include "base/secret/blob.h"
#include <openssl/evp.h>
#include <string.h>

enum { BLOB_MAX = 2048, SIG_VERSION = 1, DIGEST_MAX = 64 };
static const char magic[] = "SSHSIG";
static const char head[] = "-----BEGIN SSH SIGNATURE-----", tail[] = "-----END SSH SIGNATURE-----";

static int read_blob(struct blob b, struct approve_signature *ret, struct err *err)
{
	struct blob start, key, name, reserved, hash, signature;
	uint32_t version;
	if (!blob_take(&b, strlen(magic), &start) || !blob_is_text(&start, magic) || !blob_take_number(&b, &version))
		return err_set(err, ERR_INVALID, "this is not a signature of ssh-keygen");
	if (version != SIG_VERSION)
		return err_set(err, ERR_UNSUPPORTED, "the signature has the format %u; this program reads %d", version,
		               SIG_VERSION);
	if (!blob_take_string(&b, &key) || !blob_take_string(&b, &name) || !blob_take_string(&b, &reserved) ||
	    !blob_take_string(&b, &hash) || !blob_take_string(&b, &signature) || b.left > 0)
		return err_set(err, ERR_INVALID, "the signature is damaged");
	if (!blob_is_text(&name, APPROVE_NAMESPACE)) {
		err_set(err, ERR_AUTH, "the signature was made for something else");
		return err_hint(err, ERR_AUTH, "ssh-keygen -Y sign -n " APPROVE_NAMESPACE " …");
	}
	ret->sha256 = blob_is_text(&hash, "sha256");
	if (reserved.left > 0 || (!ret->sha256 && !blob_is_text(&hash, "sha512")))
		return err_set(err, ERR_UNSUPPORTED, "the signature is of a kind that is not known");
	int r = ed25519_take(&key, "key of the signature", ret->key, sizeof(ret->key), err);
	return r < 0 ? r : ed25519_take(&signature, "signature", ret->signature, sizeof(ret->signature), err);
}

int approve_signature_read(const char *text, struct approve_signature *ret, struct err *err)
{
	_cleanup_(str_done) struct str blob = STR_INIT(BLOB_MAX);
	const char *from = strstr(text, head), *to = from ? strstr(from, tail) : NULL;
	memset(ret, 0, sizeof(*ret));
	if (to == NULL)
		return err_set(err, ERR_INVALID, "there is no %s in it", head);
	from += strlen(head);
	if (base64_decode(from, (size_t)(to - from), &blob, err) < 0)
		return err_set(err, ERR_INVALID, "the signature is damaged");
	return read_blob((struct blob){(const unsigned char *)str_peek(&blob), blob.len}, ret, err);
}

/* ---- checking ---- */

int approve_signature_check(const struct approve_signature *s, const char *text, size_t len, struct err *err)
{
	_cleanup_(str_done) struct str data = STR_INIT(BLOB_MAX);
	unsigned char digest[DIGEST_MAX];
	unsigned int size = sizeof(digest);
	const char *hash = s->sha256 ? "sha256" : "sha512";
	if (EVP_Digest(text, len, digest, &size, s->sha256 ? EVP_sha256() : EVP_sha512(), NULL) != 1)
		return err_set(err, ERR_INTERNAL, "no digest can be made");
	str_append(&data, magic);
	blob_put_string(&data, APPROVE_NAMESPACE, strlen(APPROVE_NAMESPACE));
	blob_put_string(&data, "", 0);
	blob_put_string(&data, hash, strlen(hash));
	blob_put_string(&data, digest, size);
	return ed25519_is_signed(s->key, s->signature, str_peek(&data), data.len)
	               ? 0
	               : err_set(err, ERR_AUTH, "the signature is not of this deployment, plan and time");
}
