/* Makes a certificate for loopback at start, for trials of TLS. */
#include "agent/forge/forge_priv.h"
#include "base/core/rand.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

static char *bio_text(BIO *bio)
{
	char *data = NULL;
	long len = BIO_get_mem_data(bio, &data);
	char *text = xstrndup(data, (size_t)len);
	BIO_free(bio);
	return text;
}

static bool add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	bool good = extension && X509_add_ext(certificate, extension, -1) == 1;
	X509_EXTENSION_free(extension);
	return good;
}

int forge_make_certificate(struct forge *f, struct err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	unsigned char serial[8];
	rand_fill(serial, sizeof(serial));
	_cleanup_free_ char *names =
		xasprintf("IP:%s,IP:127.0.0.1,DNS:localhost,DNS:*.localhost,DNS:forge.localhost", f->config.host);
	BIGNUM *number = BN_bin2bn(serial, sizeof(serial), NULL);
	bool good = key && certificate && number && X509_set_version(certificate, 2) == 1 &&
	            BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) &&
	            X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
	            X509_gmtime_adj(X509_getm_notAfter(certificate), 7 * 86400) &&
	            X509_set_pubkey(certificate, key) == 1;
	X509_NAME *name = X509_get_subject_name(certificate);
	good = good &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"davit forge", -1, -1, 0) ==
	               1 &&
	       X509_set_issuer_name(certificate, name) == 1 &&
	       add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE") &&
	       add_extension(certificate, NID_subject_key_identifier, "hash") &&
	       add_extension(certificate, NID_subject_alt_name, names) && X509_sign(certificate, key, EVP_sha256()) > 0;
	if (good) {
		BIO *out = BIO_new(BIO_s_mem()), *key_out = BIO_new(BIO_s_mem());
		good = PEM_write_bio_X509(out, certificate) == 1 &&
		       PEM_write_bio_PrivateKey(key_out, key, NULL, NULL, 0, NULL, NULL) == 1;
		f->certificate = bio_text(out);
		f->certificate_key = bio_text(key_out);
	}
	BN_free(number);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return good ? 0 : err_set(err, ERR_INTERNAL, "a certificate cannot be made");
}
