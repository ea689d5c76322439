/* What passed the gates of an environment: on each of its hosts BASE/passed/NAME.ENVIRONMENT, a JSON object a line, the newest last.
 *
 * Format 1 (a higher one is refused with both numbers):
 *   {"format":1,"name","environment","deployment","committed_ms","digests":["sha256:…"],"key","signature"}
 *   key: a public key of Ed25519 as OpenSSH writes it, without its type; signature: base64. What is signed is in `passed_statement`.
 * The file lies where others may change it. A line counts by its signature only, which says nothing of where the line lies. */
#pragma once
#include "base/core/mem.h"
#include "base/secret/ed25519.h"

enum { PASSED_FORMAT = 1, PASSED_LINES = 64, PASSED_DIGESTS = 128, PASSED_MAX = 1 << 20 };

struct passed_line {
	char *name, *environment, *deployment;
	int64_t committed_ms;
	struct strv digests; /* of images, sorted */
	unsigned char key[ED25519_KEY_SIZE], signature[ED25519_SIGNATURE_SIZE];
};
struct passed {
	struct passed_line *items;
	size_t count, cap;
	size_t damaged; /* lines that are none */
};
void passed_line_done(struct passed_line *l);
void passed_done(struct passed *p);

/* BASE/passed/NAME.ENVIRONMENT. free() */
char *passed_path(const char *base, const char *name, const char *environment);
bool passed_is_digest(const char *text);
/* Of a file with more lines the last PASSED_LINES. ERR_UNSUPPORTED: of a newer format. */
int passed_read(const char *text, size_t len, struct passed *ret, struct err *err);
/* As the last line, in place of one of the same deployment and key; the oldest go. Takes the content of `line`. */
void passed_add(struct passed *p, struct passed_line *line);
void passed_write(const struct passed *p, struct str *out);

/* "davit passed 1", name, environment, deployment, time and each digest, a line each. */
void passed_statement(const struct passed_line *l, struct str *out);
/* Fills in key and signature. */
int passed_sign(struct passed_line *l, const struct ed25519_pair *pair, struct err *err);
bool passed_is_signed(const struct passed_line *l);
bool passed_has(const struct passed_line *l, const char *digest);
