#include "providers/proxmox/certificate.h"

#include "base/secret/base64.h"

#include <ctype.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdio.h>

static void write_pairs(const unsigned char digest[SHA256_DIGEST_LENGTH], char ret[CERTIFICATE_FINGERPRINT])
{
	for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++)
		snprintf(ret + 3 * i, 4, i + 1 < SHA256_DIGEST_LENGTH ? "%02X:" : "%02X", digest[i]);
}

static int digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : toupper((unsigned char)c) - 'A' + 10;
}

int certificate_fingerprint_read(const char *text, char ret[CERTIFICATE_FINGERPRINT], struct err *err)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	size_t count = 0;
	for (const char *p = text; *p != '\0' && count <= SHA256_DIGEST_LENGTH; count++) {
		if (*p == ':' && count > 0)
			p++;
		if (!isxdigit((unsigned char)p[0]) || !isxdigit((unsigned char)p[1]) || count == SHA256_DIGEST_LENGTH)
			break;
		digest[count] = (unsigned char)(digit(p[0]) << 4 | digit(p[1]));
		p += 2;
		if (*p == '\0' && count + 1 == SHA256_DIGEST_LENGTH) {
			write_pairs(digest, ret);
			return 0;
		}
	}
	err_set(err, ERR_INVALID, "'%s' is not the SHA-256 fingerprint of a certificate", text);
	return err_hint(err, ERR_INVALID,
	                "`pvenode cert info` shows it: 32 pairs of hexadecimal digits with colons between");
}

static int digest_key(X509 *certificate, struct str *ret)
{
	unsigned char *der = NULL, digest[SHA256_DIGEST_LENGTH];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
	if (len <= 0)
		return -1;
	SHA256(der, (size_t)len, digest);
	OPENSSL_free(der);
	str_append(ret, "sha256//");
	base64_encode(digest, sizeof(digest), ret);
	return 0;
}

int certificate_look(const char *pem, char ret[CERTIFICATE_FINGERPRINT], struct str *ret_key, struct err *err)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	unsigned int len = sizeof(digest);
	BIO *text = BIO_new_mem_buf(pem, -1);
	X509 *certificate = text != NULL ? PEM_read_bio_X509(text, NULL, NULL, NULL) : NULL;
	bool good = certificate != NULL && X509_digest(certificate, EVP_sha256(), digest, &len) == 1 &&
	            digest_key(certificate, ret_key) == 0;
	X509_free(certificate);
	BIO_free(text);
	if (!good)
		return err_set(err, ERR_PROTOCOL, "the server shows no certificate that can be read");
	write_pairs(digest, ret);
	return 0;
}
