/* Sealing: AES-256-GCM with a key of this host, for the secrets that an undo may need (docs/semantics.md 8).
 * File format 1: "DAVITSEAL1\n", 12 bytes nonce, ciphertext, 16 bytes tag; the deployment id is the associated data. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

enum { SEAL_KEY_BYTES = 32 };

/* The key file DIR/seal.key (32 bytes, 0600) is made on first use. */
int seal_write(const char *dir, const char *id, const void *data, size_t len, struct err *err);
int seal_read(const char *dir, const char *id, struct str *out, struct err *err); /* ERR_NOT_FOUND, ERR_AUTH */
/* Removes leftovers of dead writers; nothing while one writes. */
int seal_sweep(const char *dir, struct err *err);
int seal_erase(const char *dir, const char *id, struct err *err); /* absent is fine */
/* The same in another directory below DIR, for what is not of a deployment; `place` is its name. */
int seal_write_at(const char *dir, const char *place, const char *id, const void *data, size_t len, struct err *err);
int seal_read_at(const char *dir, const char *place, const char *id, struct str *out, struct err *err);
int seal_erase_at(const char *dir, const char *place, const char *id, struct err *err);
int seal_sweep_at(const char *dir, const char *place, struct err *err);
/* Sealed in memory with another key of 32 bytes, the file DIR/KEY_FILE. */
int seal_bytes(const char *dir, const char *key_file, const char *id, const void *data, size_t len, struct str *out,
               struct err *err);
int seal_open_bytes(const char *dir, const char *key_file, const char *id, const struct str *in, struct str *out,
                    struct err *err);
/* The key itself, to derive others from. ERR_NOT_FOUND: there is none, and make is false. */
int seal_own_key(const char *dir, bool make, unsigned char key[SEAL_KEY_BYTES], struct err *err);
