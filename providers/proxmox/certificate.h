/* The pin of a server: Proxmox shows the SHA-256 of the whole certificate, libcurl compares a public key. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

enum { CERTIFICATE_FINGERPRINT = 96 /* 32 pairs of digits with colons, NUL */ };

/* "AB:CD:…" as Proxmox writes it, of pairs with or without colons in either case. ERR_INVALID */
int certificate_fingerprint_read(const char *text, char ret[CERTIFICATE_FINGERPRINT], struct err *err);
/* pem: a certificate. ret_key: "sha256//BASE64", for http_config.public_key. ERR_PROTOCOL: it is none. */
int certificate_look(const char *pem, char ret[CERTIFICATE_FINGERPRINT], struct str *ret_key, struct err *err);
