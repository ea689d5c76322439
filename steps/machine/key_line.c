/* A line of authorized_keys, read as sshd reads it: one that sshd would pass over lets nobody in, and says so nowhere. */
#include "base/core/mem.h"
#include "base/secret/base64.h"
#include "base/secret/blob.h"
#include "steps/machine/machine.h"

#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

enum { BLOB_MAX = 4096, ED25519_SIZE = 32, RSA_MIN = 1024 / 8 };

/* ---- a key ---- */

/* The strings behind the type, by their names in OpenSSH's PROTOCOL. */
enum part { PART_END, PART_POINT32, PART_CURVE, PART_POINT, PART_EXPONENT, PART_MODULUS, PART_APPLICATION };
enum { PARTS_MAX = 4 };
static const struct kind {
	const char *name, *curve;
	enum part parts[PARTS_MAX];
} kinds[] = {
	{"ssh-ed25519", NULL, {PART_POINT32}},
	{"ssh-rsa", NULL, {PART_EXPONENT, PART_MODULUS}},
	{"ecdsa-sha2-nistp256", "nistp256", {PART_CURVE, PART_POINT}},
	{"ecdsa-sha2-nistp384", "nistp384", {PART_CURVE, PART_POINT}},
	{"ecdsa-sha2-nistp521", "nistp521", {PART_CURVE, PART_POINT}},
	{"sk-ssh-ed25519@openssh.com", NULL, {PART_POINT32, PART_APPLICATION}},
	{"sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", {PART_CURVE, PART_POINT, PART_APPLICATION}},
};

static const struct kind *find_kind(const char *word, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i].name) == len && strncmp(kinds[i].name, word, len) == 0)
			return &kinds[i];
	return NULL;
}

static bool is_part(const struct kind *kind, enum part part, const struct blob *b)
{
	switch (part) {
	case PART_POINT32:
		return b->left == ED25519_SIZE;
	case PART_CURVE:
		return blob_is_text(b, kind->curve);
	case PART_MODULUS: /* with a zero in front where its first bit is set */
		return b->left >= RSA_MIN && (b->at[0] != 0 || b->left > RSA_MIN);
	default:
		return b->left > 0;
	}
}

static bool is_key(const struct kind *kind, const char *base64, size_t len)
{
	_cleanup_(str_done) struct str bytes = STR_INIT(BLOB_MAX);
	struct blob b, part;
	if (base64_decode(base64, len, &bytes, NULL) < 0)
		return false;
	b = (struct blob){(const unsigned char *)str_peek(&bytes), bytes.len};
	if (!blob_take_string(&b, &part) || !blob_is_text(&part, kind->name))
		return false;
	for (size_t i = 0; i < PARTS_MAX && kind->parts[i] != PART_END; i++)
		if (!blob_take_string(&b, &part) || !is_part(kind, kind->parts[i], &part))
			return false;
	return b.left == 0;
}

/* ---- a line ---- */

/* Behind a word, in which blanks between quotation marks are none. NULL: a mark is not closed. */
static const char *word_end(const char *p)
{
	bool quoted = false;
	for (; *p && (quoted || (*p != ' ' && *p != '\t')); p++) {
		if (*p == '\\' && p[1] == '"')
			p++;
		else if (*p == '"')
			quoted = !quoted;
	}
	return quoted ? NULL : p;
}

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

bool machine_key_read(const char *line, struct machine_key_line *ret)
{
	const char *start = skip_blanks(line), *type = start, *end = word_end(type);
	const struct kind *kind = end != NULL ? find_kind(type, (size_t)(end - type)) : NULL;
	*ret = (struct machine_key_line){0};
	/* Behind a # is a comment, whatever it holds. */
	if (end == NULL || *start == '#' || !machine_text_fits(line))
		return false;
	if (kind == NULL) {
		ret->options = xstrndup(start, (size_t)(end - start));
		type = skip_blanks(end);
		end = word_end(type);
		kind = end != NULL ? find_kind(type, (size_t)(end - type)) : NULL;
	}
	const char *base64 = kind != NULL ? skip_blanks(end) : "";
	size_t len = strspn(base64, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
	if (kind == NULL || (base64[len] != '\0' && base64[len] != ' ') || !is_key(kind, base64, len)) {
		machine_key_line_done(ret);
		return false;
	}
	if (ret->options == NULL)
		ret->options = xstrdup("");
	ret->key = xasprintf("%s %.*s", kind->name, (int)len, base64);
	ret->comment = xstrdup(skip_blanks(base64 + len));
	for (size_t n = strlen(ret->comment); n > 0 && ret->comment[n - 1] == ' '; n--)
		ret->comment[n - 1] = '\0';
	return true;
}

void machine_key_line_done(struct machine_key_line *line)
{
	free(line->options);
	free(line->key);
	free(line->comment);
	*line = (struct machine_key_line){0};
}

/* As ssh-keygen -l shows it. */
char *machine_key_id(const char *user, const char *key)
{
	_cleanup_(str_done) struct str bytes = STR_INIT(BLOB_MAX), text = STR_INIT(256);
	unsigned char digest[EVP_MAX_MD_SIZE];
	const char *base64 = strchr(key, ' ');
	unsigned int size = 0;
	if (base64 != NULL && base64_decode(base64 + 1, strlen(base64 + 1), &bytes, NULL) == 0)
		EVP_Digest(str_peek(&bytes), bytes.len, digest, &size, EVP_sha256(), NULL);
	base64_encode(digest, size, &text);
	while (text.len > 0 && str_peek(&text)[text.len - 1] == '=')
		str_truncate(&text, text.len - 1);
	return xasprintf("%s:SHA256:%s", user, str_peek(&text));
}

/* ---- options ---- */

static const char *const bare_options[] = {
	"agent-forwarding",  "cert-authority", "no-agent-forwarding", "no-port-forwarding", "no-pty",
	"no-touch-required", "no-user-rc",     "no-X11-forwarding",   "port-forwarding",    "pty",
	"restrict",          "user-rc",        "verify-required",     "X11-forwarding",
};
static const char *const valued_options[] = {
	"command", "environment", "expiry-time", "from", "permitlisten", "permitopen", "principals", "tunnel",
};

static bool is_one_of(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

static const char *nearest_option(const char *name)
{
	const char *all[ARRAY_SIZE(bare_options) + ARRAY_SIZE(valued_options)];
	memcpy(all, bare_options, sizeof(bare_options));
	memcpy(all + ARRAY_SIZE(bare_options), valued_options, sizeof(valued_options));
	return str_nearest(name, all, ARRAY_SIZE(all));
}

/* Behind an option's value: `"…"` with \" inside. NULL: it is no value. */
static const char *value_end(const char *p)
{
	if (*p++ != '"')
		return NULL;
	for (; *p != '\0' && *p != '"'; p++)
		if (*p == '\\' && p[1] == '"')
			p++;
	return *p == '"' ? p + 1 : NULL;
}

/* Behind one option; NULL, and why. */
static const char *check_option(const char *p, struct str *why)
{
	size_t len = strcspn(p, "=,\" ");
	_cleanup_free_ char *name = xstrndup(p, len);
	bool has_value = p[len] == '=';
	const char *end = has_value ? value_end(p + len + 1) : p + len;
	if (!is_one_of(bare_options, ARRAY_SIZE(bare_options), name) &&
	    !is_one_of(valued_options, ARRAY_SIZE(valued_options), name)) {
		const char *nearest = nearest_option(name);
		str_appendf(why, "sshd knows no option '%s'%s%s%s", name, nearest ? ", did you mean '" : "",
		            nearest ? nearest : "", nearest ? "'?" : "");
	} else if (is_one_of(valued_options, ARRAY_SIZE(valued_options), name) != has_value) {
		str_appendf(why,
		            has_value ? "the option '%s' takes no value" : "the option '%s' needs a value, %s=\"…\"",
		            name, name);
	} else if (end == NULL || (*end != '\0' && *end != ',')) {
		str_appendf(why,
		            has_value ? "the value of the option '%s' is not in quotation marks"
		                      : "there is no comma behind the option '%s'",
		            name);
	} else {
		return end;
	}
	return NULL;
}

bool machine_key_options_fit(const char *options, struct str *ret_why)
{
	const char *p = options;
	while (p != NULL && *p != '\0') {
		p = check_option(p, ret_why);
		if (p != NULL && *p == ',' && *++p == '\0')
			str_append(ret_why, "it ends with a comma");
	}
	if (ret_why->len == 0 && !machine_text_fits(options))
		str_append(ret_why, "control characters cannot be part of it");
	return ret_why->len == 0;
}
