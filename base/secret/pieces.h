/* Sealed streams, for data that lies where others could read or change it: pieces of at most 4 MiB, each by AES-256-GCM, so that neither end
 * holds more than two of them.
 *
 * Format 1:
 *   header  "DAVITCOPY1\n", the size of a piece (4 bytes, big endian), the key's id (8), salt (32)
 *   piece   its length (4 bytes, big endian; the highest bit: it is the last one), ciphertext of that length, tag (16)
 * Each stream has a key of its own, HKDF-SHA256 of the key with the salt. The nonce of a piece is its number (8 bytes, big endian), three
 * zeros, and 1 for the last one; its associated data is the header and the name of the stream. So a piece that was changed, moved,
 * left out or taken from another stream is found, and a stream that was cut or that is not the one its name says. */
#pragma once
#include "base/core/err.h"
#include "base/core/str.h"

enum { PIECES_SIZE = 4 << 20, PIECES_HEADER = 11 + 4 + 8 + 32, PIECES_OVERHEAD = 4 + 16, PIECES_KEY_TEXT_MIN = 20 };

/* A key, from what a person keeps. The id tells keys apart and says nothing of them. */
struct pieces_key {
	unsigned char bytes[32], id[8];
};
void pieces_key_done(struct pieces_key *key);
/* Any text that nobody can guess; at least PIECES_KEY_TEXT_MIN bytes. */
int pieces_key_read(const char *text, struct pieces_key *ret, struct err *err);
/* This host's own, as the text that a person keeps: from the key of the state directory, which is made where `make` says so. */
int pieces_key_of_host(const char *state_dir, bool make, struct str *out, struct err *err);
void pieces_key_id(const struct pieces_key *key, char hex[17]);

typedef int (*pieces_sink)(void *context, const void *data, size_t len, struct err *err);

/* Writes a sealed stream: header at once, pieces as they are full. What is sealed of a piece is at most PIECES_SIZE. */
struct pieces_writer;
int pieces_writer_new(const struct pieces_key *key, const char *name, pieces_sink sink, void *context,
                      struct pieces_writer **ret, struct err *err);
void pieces_writer_freep(struct pieces_writer **w);
int pieces_write(struct pieces_writer *w, const void *data, size_t len, struct err *err);
int pieces_write_cut(struct pieces_writer *w, struct err *err); /* what comes now is in the next piece */
int pieces_write_end(struct pieces_writer *w, struct err *err);

/* Reads one, however it is cut on its way. take gets the content of each piece once it is proven; number counts from 0. */
struct pieces_reader;
typedef int (*pieces_take)(void *context, uint64_t number, const void *data, size_t len, struct err *err);
int pieces_reader_new(const struct pieces_key *key, const char *name, pieces_take take, void *context,
                      struct pieces_reader **ret, struct err *err);
void pieces_reader_freep(struct pieces_reader **r);
/* ERR_AUTH: another key, or not what was sealed under this name. */
int pieces_read(struct pieces_reader *r, const void *data, size_t len, struct err *err);
int pieces_read_end(struct pieces_reader *r, struct err *err);
