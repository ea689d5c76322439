#include "base/net/certificate.h"
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"

#include <fcntl.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { CA_MAX = 4 << 20 };

int certificate_authorities(const char *root, const char *ca, char **ret, struct err *err)
{
	*ret = NULL;
	if (ca == NULL || strstr(ca, "-----BEGIN") != NULL) {
		*ret = xstrdup(ca);
		return 0;
	}
	_cleanup_free_ char *real = NULL;
	_cleanup_close_ int fd = fs_open_within(root, ca, O_RDONLY | O_CLOEXEC, &real, err);
	if (fd < 0)
		return err_wrap(err, fd, "read the authorities of '%s'", ca);
	struct str text = STR_INIT(CA_MAX);
	int r = fs_read_fd(fd, ca, CA_MAX, &text, err);
	if (r < 0) {
		str_done(&text);
		return err_wrap(err, r, "read the authorities of '%s'", ca);
	}
	*ret = str_take(&text);
	return 0;
}

static void free_bio(BIO **b)
{
	BIO_free(*b);
}

void certificate_freep(X509 **x)
{
	X509_free(*x);
}

X509 *certificate_read(const char *pem)
{
	_cleanup_(free_bio) BIO *b = BIO_new_mem_buf(pem, -1);
	X509 *x = b != NULL ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	if (x == NULL)
		ERR_clear_error();
	return x;
}

bool certificate_is_for(X509 *x, const char *name)
{
	return X509_check_ip_asc(x, name, 0) == 1 || X509_check_host(x, name, 0, 0, NULL) == 1;
}

void certificate_names(X509 *x, struct str *out)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
		if (n->type == GEN_DNS)
			str_appendf(out, "%s%.*s", out->len > 0 ? ", " : "", ASN1_STRING_length(n->d.dNSName),
			            (const char *)ASN1_STRING_get0_data(n->d.dNSName));
	}
	GENERAL_NAMES_free(names);
	if (out->len == 0)
		str_append(out, "no name");
}

void certificate_issuer(X509 *x, bool plain, struct str *out)
{
	_cleanup_(free_bio) BIO *b = BIO_new(BIO_s_mem());
	unsigned long form = plain ? XN_FLAG_RFC2253 | XN_FLAG_DN_REV : XN_FLAG_ONELINE;
	char *text = NULL;
	if (b == NULL ||
	    X509_NAME_print_ex(b, X509_get_issuer_name(x), 0, form & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) < 0)
		return;
	long len = BIO_get_mem_data(b, &text);
	str_append_n(out, text, len > 0 ? (size_t)len : 0);
}

bool certificate_left(X509 *x, int *ret_days, int *ret_seconds)
{
	return ASN1_TIME_diff(ret_days, ret_seconds, NULL, X509_get0_notAfter(x)) == 1;
}
