/* Signatures of Ed25519, and their public keys as OpenSSH writes them: "ssh-ed25519 BASE64". */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

struct blob;
enum { ED25519_KEY_SIZE = 32, ED25519_SIGNATURE_SIZE = 64 };
extern const char ed25519_name[]; /* "ssh-ed25519" */

struct ed25519_pair {
	unsigned char secret[ED25519_KEY_SIZE], key[ED25519_KEY_SIZE];
};
void ed25519_pair_done(struct ed25519_pair *pair);
/* This machine's own, derived from the key of the state directory, which is made where `make` says so. ERR_NOT_FOUND: there is none. */
int ed25519_pair_of_host(const char *state_dir, bool make, struct ed25519_pair *ret, struct err *err);
int ed25519_sign(const struct ed25519_pair *pair, const void *data, size_t len,
                 unsigned char ret[ED25519_SIGNATURE_SIZE], struct err *err);
bool ed25519_is_signed(const unsigned char key[ED25519_KEY_SIZE], const unsigned char signature[ED25519_SIGNATURE_SIZE],
                       const void *data, size_t len);

/* What stands behind "ssh-ed25519" in a line of a public key. */
int ed25519_key_read(const char *base64, unsigned char ret[ED25519_KEY_SIZE], struct err *err);
/* The same as OpenSSL writes it ("BEGIN PUBLIC KEY"). */
int ed25519_key_read_pem(const char *pem, size_t len, unsigned char ret[ED25519_KEY_SIZE], struct err *err);
void ed25519_key_write(const unsigned char key[ED25519_KEY_SIZE], struct str *out);
/* One that SSH packed, or a signature: the type, then exactly so many bytes. what: for the error. */
int ed25519_take(const struct blob *packed, const char *what, unsigned char *ret, size_t size, struct err *err);
