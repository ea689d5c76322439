/* What a server's certificate says: for whom it is, from whom, until when. It comes from outside: strings are bounded and shown as such. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

#include <openssl/x509.h>

enum { CERTIFICATE_TEXT_MAX = 4096 };

/* The certificates that `ca` means: its own text, or a file below `root`. *ret: free(); NULL where `ca` is. */
int certificate_authorities(const char *root, const char *ca, char **ret, struct err *err);
/* NULL: it cannot be read. X509_free */
X509 *certificate_read(const char *pem);
void certificate_freep(X509 **x);
bool certificate_is_for(X509 *x, const char *name); /* a host or an address */
/* "shop.example, www.shop.example"; "no name" */
void certificate_names(X509 *x, struct str *out);
/* "CN = R11, O = Let's Encrypt, C = US"; plain: "CN=R11,O=Let's Encrypt,C=US" */
void certificate_issuer(X509 *x, bool plain, struct str *out);
/* Days and seconds from now until its end, negative once it is over. False: its end cannot be read. */
bool certificate_left(X509 *x, int *ret_days, int *ret_seconds);
