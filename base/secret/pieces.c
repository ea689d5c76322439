#include "base/secret/pieces.h"

#include "base/core/rand.h"
#include "base/secret/digest.h"
#include "base/secret/seal.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

enum {
	KEY_BYTES = 32,
	NONCE_BYTES = 12,
	TAG_BYTES = 16,
	LENGTH_BYTES = 4,
	KEY_TEXT_MAX = 4096,
	ID_BYTES = 8,
	SALT_BYTES = 32
};
static const char magic[] = "DAVITCOPY1\n";
enum { MAGIC_BYTES = sizeof(magic) - 1, ID_AT = MAGIC_BYTES + LENGTH_BYTES, SALT_AT = ID_AT + ID_BYTES };
static const uint32_t last_bit = 0x80000000U;

static void put_u32(unsigned char *to, uint32_t value)
{
	for (int i = 0; i < LENGTH_BYTES; i++)
		to[i] = (unsigned char)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const unsigned char *from)
{
	return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

/* ---- keys ---- */

void pieces_key_done(struct pieces_key *key)
{
	OPENSSL_cleanse(key, sizeof(*key));
}

int pieces_key_read(const char *text, struct pieces_key *ret, struct err *err)
{
	static const char salt[] = "davit";
	size_t len = strlen(text);
	while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
		len--;
	if (len < PIECES_KEY_TEXT_MIN || len > KEY_TEXT_MAX)
		return err_hint(
			err,
			err_set(err, ERR_INVALID, "a key of copies has %d characters or more", PIECES_KEY_TEXT_MIN),
			"take what `davit copy key` prints, or another text that nobody can guess");
	int r = digest_hkdf(text, len, salt, strlen(salt), "copies: key", ret->bytes, sizeof(ret->bytes), err);
	if (r == 0)
		r = digest_hkdf(text, len, salt, strlen(salt), "copies: id", ret->id, sizeof(ret->id), err);
	return r;
}

int pieces_key_of_host(const char *state_dir, bool make, struct str *out, struct err *err)
{
	unsigned char own[SEAL_KEY_BYTES], key[KEY_BYTES];
	char hex[2 * KEY_BYTES + 1] = "";
	int r = seal_own_key(state_dir, make, own, err);
	if (r == 0)
		r = digest_hkdf(own, sizeof(own), "davit", 5, "copies: host", key, sizeof(key), err);
	OPENSSL_cleanse(own, sizeof(own));
	if (r == 0) {
		str_hex(key, sizeof(key), hex);
		str_append(out, hex);
	}
	OPENSSL_cleanse(key, sizeof(key));
	OPENSSL_cleanse(hex, sizeof(hex));
	return r;
}

void pieces_key_id(const struct pieces_key *key, char hex[17])
{
	str_hex(key->id, sizeof(key->id), hex);
}

/* ---- one piece ---- */

/* What all pieces of a stream share. */
struct stream {
	unsigned char key[KEY_BYTES], header[PIECES_HEADER];
	char *name;
	EVP_CIPHER_CTX *cipher;
	uint64_t number;
	bool ended;
};

static void stream_done(struct stream *s)
{
	OPENSSL_cleanse(s->key, sizeof(s->key));
	EVP_CIPHER_CTX_free(s->cipher);
	free(s->name);
}

static int stream_key(struct stream *s, const struct pieces_key *key, struct err *err)
{
	return digest_hkdf(key->bytes, sizeof(key->bytes), s->header + SALT_AT, SALT_BYTES, "davit copy 1", s->key,
	                   sizeof(s->key), err);
}

static bool begin(struct stream *s, bool sealing, bool last)
{
	unsigned char nonce[NONCE_BYTES] = {0};
	int n = 0;
	for (int i = 0; i < 8; i++)
		nonce[i] = (unsigned char)(s->number >> (56 - 8 * i));
	nonce[NONCE_BYTES - 1] = last;
	return EVP_CipherInit_ex(s->cipher, EVP_aes_256_gcm(), NULL, s->key, nonce, sealing) == 1 &&
	       EVP_CipherUpdate(s->cipher, NULL, &n, s->header, sizeof(s->header)) == 1 &&
	       EVP_CipherUpdate(s->cipher, NULL, &n, (const unsigned char *)s->name, (int)strlen(s->name)) == 1;
}

/* to has room for len and PIECES_OVERHEAD. */
static int seal_piece(struct stream *s, const void *data, size_t len, bool last, unsigned char *to, struct err *err)
{
	int n = 0, tail = 0;
	put_u32(to, (uint32_t)len | (last ? last_bit : 0));
	bool ok = begin(s, true, last) && EVP_CipherUpdate(s->cipher, to + LENGTH_BYTES, &n, data, (int)len) == 1 &&
	          EVP_CipherFinal_ex(s->cipher, to + LENGTH_BYTES + n, &tail) == 1 &&
	          EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, to + LENGTH_BYTES + len) == 1;
	s->number++;
	return ok ? 0 : err_set(err, ERR_INTERNAL, "AES-256-GCM failed");
}

static int open_piece(struct stream *s, unsigned char *sealed, size_t len, bool last, struct err *err)
{
	unsigned char *body = sealed + LENGTH_BYTES;
	int n = 0, tail = 0;
	bool ok = begin(s, false, last) && EVP_CipherUpdate(s->cipher, body, &n, body, (int)len) == 1 &&
	          EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, body + len) == 1 &&
	          EVP_CipherFinal_ex(s->cipher, body + n, &tail) == 1;
	if (!ok)
		return err_set(err, ERR_AUTH, "piece %llu of '%s' is not what was sealed",
		               (unsigned long long)s->number, s->name);
	s->number++;
	return 0;
}

/* ---- writing ---- */

struct pieces_writer {
	struct stream s;
	pieces_sink sink;
	void *context;
	unsigned char *open, *sealed;
	size_t len;
};

int pieces_writer_new(const struct pieces_key *key, const char *name, pieces_sink sink, void *context,
                      struct pieces_writer **ret, struct err *err)
{
	struct pieces_writer *w _cleanup_(pieces_writer_freep) = xcalloc(1, sizeof(*w));
	w->s.name = xstrdup(name);
	w->s.cipher = EVP_CIPHER_CTX_new();
	w->sink = sink;
	w->context = context;
	w->open = xmalloc(PIECES_SIZE);
	w->sealed = xmalloc(PIECES_SIZE + PIECES_OVERHEAD);
	memcpy(w->s.header, magic, MAGIC_BYTES);
	put_u32(w->s.header + MAGIC_BYTES, PIECES_SIZE);
	memcpy(w->s.header + ID_AT, key->id, ID_BYTES);
	rand_fill(w->s.header + SALT_AT, SALT_BYTES);
	int r = w->s.cipher ? stream_key(&w->s, key, err) : err_set(err, ERR_INTERNAL, "AES-256-GCM failed");
	if (r == 0)
		r = sink(context, w->s.header, sizeof(w->s.header), err);
	if (r == 0)
		*ret = TAKE(w);
	return r;
}

void pieces_writer_freep(struct pieces_writer **p)
{
	struct pieces_writer *w = *p;
	if (w == NULL)
		return;
	stream_done(&w->s);
	if (w->open)
		OPENSSL_cleanse(w->open, PIECES_SIZE);
	free(w->open);
	free(w->sealed);
	free(w);
}

static int flush(struct pieces_writer *w, bool last, struct err *err)
{
	int r = seal_piece(&w->s, w->open, w->len, last, w->sealed, err);
	if (r == 0)
		r = w->sink(w->context, w->sealed, w->len + PIECES_OVERHEAD, err);
	w->len = 0;
	return r;
}

int pieces_write(struct pieces_writer *w, const void *data, size_t len, struct err *err)
{
	int r = 0;
	while (r == 0 && len > 0) {
		/* A full one waits: it may be the last. */
		if (w->len == PIECES_SIZE)
			r = flush(w, false, err);
		size_t n = MIN(len, (size_t)PIECES_SIZE - w->len);
		memcpy(w->open + w->len, data, n);
		w->len += n;
		data = (const char *)data + n;
		len -= n;
	}
	return r;
}

int pieces_write_cut(struct pieces_writer *w, struct err *err)
{
	return flush(w, false, err);
}

int pieces_write_end(struct pieces_writer *w, struct err *err)
{
	return flush(w, true, err);
}

/* ---- reading ---- */

struct pieces_reader {
	struct stream s;
	const struct pieces_key *key;
	pieces_take take;
	void *context;
	unsigned char *sealed; /* a piece, or the header before the first one */
	size_t len;
	bool has_header;
};

int pieces_reader_new(const struct pieces_key *key, const char *name, pieces_take take, void *context,
                      struct pieces_reader **ret, struct err *err)
{
	struct pieces_reader *r = xcalloc(1, sizeof(*r));
	r->s.name = xstrdup(name);
	r->s.cipher = EVP_CIPHER_CTX_new();
	r->key = key;
	r->take = take;
	r->context = context;
	r->sealed = xmalloc(PIECES_SIZE + PIECES_OVERHEAD);
	*ret = r;
	return r->s.cipher ? 0 : err_set(err, ERR_INTERNAL, "AES-256-GCM failed");
}

void pieces_reader_freep(struct pieces_reader **p)
{
	struct pieces_reader *r = *p;
	if (r == NULL)
		return;
	stream_done(&r->s);
	OPENSSL_cleanse(r->sealed, PIECES_SIZE + PIECES_OVERHEAD);
	free(r->sealed);
	free(r);
}

static int read_header(struct pieces_reader *r, struct err *err)
{
	const char *name = r->s.name;
	memcpy(r->s.header, r->sealed, PIECES_HEADER);
	if (memcmp(r->sealed, magic, MAGIC_BYTES - 2) != 0 || r->sealed[MAGIC_BYTES - 1] != '\n')
		return err_set(err, ERR_AUTH, "'%s' is not a sealed copy", name);
	if (r->sealed[MAGIC_BYTES - 2] != magic[MAGIC_BYTES - 2])
		return err_set(err, ERR_UNSUPPORTED, "'%s' is a copy of format %c; this program reads format %c", name,
		               r->sealed[MAGIC_BYTES - 2] >= '2' && r->sealed[MAGIC_BYTES - 2] <= '9'
		                       ? r->sealed[MAGIC_BYTES - 2]
		                       : '?',
		               magic[MAGIC_BYTES - 2]);
	if (get_u32(r->sealed + MAGIC_BYTES) != PIECES_SIZE)
		return err_set(err, ERR_AUTH, "the header of '%s' is damaged", name);
	if (memcmp(r->sealed + ID_AT, r->key->id, ID_BYTES) != 0) {
		struct pieces_key there;
		char its[17], ours[17];
		memcpy(there.id, r->sealed + ID_AT, ID_BYTES);
		pieces_key_id(&there, its);
		pieces_key_id(r->key, ours);
		return err_hint(
			err,
			err_set(err, ERR_AUTH, "'%s' was sealed with the key %s, this is the key %s", name, its, ours),
			"give the key that `davit copy key` printed where the copy was made");
	}
	return stream_key(&r->s, r->key, err);
}

/* Bytes that the header, or the piece that begins here, needs before it can be read on. */
static size_t wanted(const struct pieces_reader *r)
{
	if (!r->has_header)
		return PIECES_HEADER;
	if (r->len < LENGTH_BYTES)
		return LENGTH_BYTES;
	return (get_u32(r->sealed) & ~last_bit) + PIECES_OVERHEAD;
}

static int whole(struct pieces_reader *r, struct err *err)
{
	if (!r->has_header) {
		r->has_header = true;
		r->len = 0;
		return read_header(r, err);
	}
	uint32_t word = get_u32(r->sealed), len = word & ~last_bit;
	bool last = (word & last_bit) != 0;
	uint64_t number = r->s.number;
	int e = open_piece(&r->s, r->sealed, len, last, err);
	r->len = 0;
	r->s.ended = last;
	return e < 0 ? e : r->take(r->context, number, r->sealed + LENGTH_BYTES, len, err);
}

int pieces_read(struct pieces_reader *r, const void *data, size_t len, struct err *err)
{
	while (len > 0) {
		if (r->s.ended)
			return err_set(err, ERR_AUTH, "more follows the end of '%s'", r->s.name);
		size_t want = wanted(r);
		if (want > PIECES_SIZE + PIECES_OVERHEAD)
			return err_set(err, ERR_AUTH, "piece %llu of '%s' is not what was sealed",
			               (unsigned long long)r->s.number, r->s.name);
		size_t n = MIN(len, want - r->len);
		memcpy(r->sealed + r->len, data, n);
		r->len += n;
		data = (const char *)data + n;
		len -= n;
		/* With its length known a piece wants more. */
		if (r->len < wanted(r))
			continue;
		int e = whole(r, err);
		if (e < 0)
			return e;
	}
	return 0;
}

int pieces_read_end(struct pieces_reader *r, struct err *err)
{
	return r->s.ended ? 0 : err_set(err, ERR_AUTH, "'%s' ends in the middle", r->s.name);
}
