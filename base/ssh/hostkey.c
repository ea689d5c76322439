/* The accepted host keys: fingerprints, key lines, and known_hosts as OpenSSH writes it (hashed names, patterns,
 * negation, ports, @revoked). libssh2's own reader stops at marker lines or skips them, so it is not used. */
#include "base/secret/base64.h"
#include "base/sys/fs.h"
#include "base/ssh/ssh_priv.h"

#include <ctype.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <strings.h>

enum { KNOWN_HOSTS_MAX = 4 * 1024 * 1024, FINGERPRINT_TEXT = 43 };
static const char all_types[] = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521";
static const char rsa_types[] = "rsa-sha2-512,rsa-sha2-256";

void ssh_fingerprint(const void *blob, size_t len, char out[64])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned digest_len = 0;
	_cleanup_(str_done) struct str text = STR_INIT(128);
	EVP_Digest(blob, len, digest, &digest_len, EVP_sha256(), NULL);
	base64_encode(digest, digest_len, &text);
	snprintf(out, 64, "SHA256:%.*s", FINGERPRINT_TEXT, str_peek(&text));
}

void ssh_pins_done(struct ssh_pins *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->items[i].type);
	free(TAKE(p->items));
	free(TAKE(p->source));
	p->count = p->cap = 0;
}

static struct ssh_pin *add_pin(struct ssh_pins *p)
{
	p->items = xgrow(p->items, &p->cap, p->count + 1, sizeof(p->items[0]));
	struct ssh_pin *pin = &p->items[p->count++];
	memset(pin, 0, sizeof(*pin));
	return pin;
}

static const char *skip_blank(const char *p)
{
	return p + strspn(p, " \t");
}

static size_t word_len(const char *p)
{
	return strcspn(p, " \t\r\n");
}

/* "ssh-ed25519 AAAA…" at p: the type is checked against the one inside the key. */
static bool parse_key(const char *p, struct ssh_pin *pin)
{
	size_t type_len = word_len(p);
	const char *text = skip_blank(p + type_len);
	_cleanup_(str_done) struct str blob = STR_INIT(64 * 1024);
	if (type_len == 0 || base64_decode(text, word_len(text), &blob, NULL) < 0 || blob.len < 4 + type_len)
		return false;
	const unsigned char *b = (const unsigned char *)blob.data;
	size_t inner = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
	if (inner != type_len || memcmp(b + 4, p, type_len) != 0)
		return false;
	pin->type = xstrndup(p, type_len);
	ssh_fingerprint(blob.data, blob.len, pin->fingerprint);
	return true;
}

static int add_given(struct ssh_pins *p, const char *text, const char *host, struct err *err)
{
	struct ssh_pin pin = {0};
	text = skip_blank(text);
	/* The whole line of ssh-keygen -lf has the number of bits in front. */
	const char *behind_bits = skip_blank(text + strspn(text, "0123456789"));
	if (str_starts(behind_bits, "SHA256:"))
		text = behind_bits;
	if (str_starts(text, "SHA256:")) {
		size_t len = word_len(text + 7);
		while (len > 0 && text[7 + len - 1] == '=')
			len--;
		if (len != FINGERPRINT_TEXT)
			return err_set(err, ERR_INVALID, "host key '%s' of %s is not a whole SHA256 fingerprint", text,
			               host);
		snprintf(pin.fingerprint, sizeof(pin.fingerprint), "%.*s", (int)len + 7, text);
		p->any_type = true;
	} else if (!parse_key(text, &pin) && !parse_key(skip_blank(text + word_len(text)), &pin)) {
		int r = err_set(err, ERR_INVALID, "host key '%.60s' of %s is neither a fingerprint nor a key", text,
		                host);
		return err_hint(err, r,
		                "write \"SHA256:…\" as ssh-keygen -lf shows it, or a line like \"ssh-ed25519 AAAA…\"");
	}
	*add_pin(p) = pin;
	return 0;
}

/* One value may hold a whole answer of ssh-keyscan, comments in it: every line counts. */
static int add_given_lines(struct ssh_pins *p, const char *text, const char *host, struct err *err)
{
	while (*text != '\0') {
		size_t len = strcspn(text, "\r\n");
		_cleanup_free_ char *line = xstrndup(text, len);
		const char *start = skip_blank(line);
		int r = *start == '\0' || *start == '#' ? 0 : add_given(p, start, host, err);
		if (r < 0)
			return r;
		text += len + (text[len] != '\0');
	}
	return 0;
}

static bool hashed_match(const char *word, size_t len, const char *host)
{
	/* |1|salt|hash, both base64: HMAC-SHA1 of the name */
	_cleanup_(str_done) struct str salt = STR_INIT(256), hash = STR_INIT(256);
	const char *bar = memchr(word + 3, '|', len - 3);
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned mac_len = 0;
	if (bar == NULL || base64_decode(word + 3, (size_t)(bar - word - 3), &salt, NULL) < 0 ||
	    base64_decode(bar + 1, len - (size_t)(bar + 1 - word), &hash, NULL) < 0)
		return false;
	HMAC(EVP_sha1(), str_peek(&salt), (int)salt.len, (const unsigned char *)host, strlen(host), mac, &mac_len);
	return mac_len == hash.len && memcmp(mac, hash.data, mac_len) == 0;
}

/* The first word of a line against a name in lower case: patterns by comma, `!` in front takes the line away. */
static bool names_match(const char *names, size_t len, const char *host)
{
	bool found = false;
	if (len > 3 && memcmp(names, "|1|", 3) == 0)
		return hashed_match(names, len, host);
	for (size_t i = 0; i < len;) {
		size_t n = strcspn(names + i, ", \t\r\n");
		bool negated = names[i] == '!';
		_cleanup_free_ char *pattern = xstrndup(names + i + negated, n - negated);
		for (char *c = pattern; *c != '\0'; c++)
			*c = (char)tolower((unsigned char)*c);
		if (str_glob(pattern, host)) {
			if (negated)
				return false;
			found = true;
		}
		i += n + 1;
	}
	return found;
}

struct known {
	const char *full, *bare;
	bool use_bare;
	size_t authorities;
};

static void add_known_line(struct ssh_pins *p, const char *line, struct known *k)
{
	bool revoked = false, authority = false;
	struct ssh_pin pin = {0};
	line = skip_blank(line);
	if (*line == '#' || *line == '\0' || *line == '\n')
		return;
	if (*line == '@') {
		revoked = str_starts(line, "@revoked");
		authority = str_starts(line, "@cert-authority");
		line = skip_blank(line + word_len(line));
		if (!revoked && !authority)
			return;
	}
	size_t names = word_len(line);
	if (!names_match(line, names, k->full) &&
	    !(k->bare != NULL && (k->use_bare || revoked) && names_match(line, names, k->bare)))
		return;
	if (authority) {
		k->authorities++;
		return;
	}
	if (parse_key(skip_blank(line + names), &pin)) {
		pin.revoked = revoked;
		*add_pin(p) = pin;
	}
}

static size_t accepted(const struct ssh_pins *p)
{
	size_t n = 0;
	for (size_t i = 0; i < p->count; i++)
		n += !p->items[i].revoked;
	return n;
}

static int add_known_hosts(struct ssh_pins *p, const struct ssh_login *login, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(KNOWN_HOSTS_MAX);
	_cleanup_free_ char *bare = xstrdup(login->host), *full = NULL;
	for (char *c = bare; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	bool special_port = login->port != 0 && login->port != 22;
	full = special_port ? xasprintf("[%s]:%d", bare, login->port) : xstrdup(bare);
	const char *source = login->known_hosts_text != NULL ? "the known hosts" : login->known_hosts;
	int r = 0;
	if (login->known_hosts_text != NULL)
		str_append(&text, login->known_hosts_text);
	else
		r = fs_read(AT_FDCWD, login->known_hosts, KNOWN_HOSTS_MAX, &text, err);
	if (r >= 0 && text.failed)
		r = err_set(err, ERR_LIMIT, "they are longer than %d MiB", KNOWN_HOSTS_MAX >> 20);
	if (r < 0)
		return err_wrap(err, r, "known hosts");
	struct known k = {.full = full, .bare = special_port ? bare : NULL};
	size_t before = accepted(p);
	/* As in OpenSSH: the bare name counts only if the one with the port is missing. */
	for (int pass = 0; pass < 2 && accepted(p) == before; pass++) {
		k.use_bare = pass == 1;
		for (const char *line = str_peek(&text); *line != '\0';) {
			const char *end = line + strcspn(line, "\n");
			_cleanup_free_ char *copy = xstrndup(line, (size_t)(end - line));
			add_known_line(p, copy, &k);
			line = *end == '\n' ? end + 1 : end;
		}
	}
	if (accepted(p) > 0)
		return 0;
	r = err_set(err, ERR_AUTH, "%s is not in %s%s", full, source,
	            k.authorities > 0 ? " but for @cert-authority, which is not understood" : "");
	return err_hint(
		err, r,
		login->known_hosts_text != NULL
			? "compare the host's key with the host itself, then add its line (`ssh-keyscan HOST`): `ssh-known-hosts:` of a checkout, `known_hosts:` of a target"
			: "compare the host's key with the host itself, then pin it: host_key: \"SHA256:…\"");
}

int ssh_pins_load(const struct ssh_login *login, struct ssh_pins *ret, struct err *err)
{
	_cleanup_(ssh_pins_done) struct ssh_pins pins = {0};
	for (const char *const *k = login->host_keys; k != NULL && *k != NULL; k++) {
		int r = add_given_lines(&pins, *k, login->host, err);
		if (r < 0)
			return r;
	}
	if (login->known_hosts != NULL || login->known_hosts_text != NULL) {
		/* Beside given keys the file need not know the host; its revocations still count. */
		struct err ignored = ERR_INIT;
		bool given = pins.count > 0;
		int r = add_known_hosts(&pins, login, given ? &ignored : err);
		if (r < 0 && (!given || r != ERR_AUTH)) {
			if (given && err != NULL)
				*err = ignored;
			return r;
		}
	}
	if (accepted(&pins) == 0) {
		int r = err_set(err, ERR_INVALID, "no host key is pinned for %s", login->host);
		return err_hint(
			err, r,
			"add host_key: \"SHA256:…\" (on the host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)");
	}
	pins.source = xstrdup(login->known_hosts_text != NULL ? "the known hosts" : login->known_hosts);
	*ret = pins;
	pins = (struct ssh_pins){0};
	return 0;
}

static void add_type(struct str *out, const char *types)
{
	if (strstr(str_peek(out), types) == NULL)
		str_appendf(out, "%s%s", out->len > 0 ? "," : "", types);
}

int ssh_pins_types(const struct ssh_pins *p, const struct strv *refused, struct str *out, struct err *err)
{
	bool only_rsa = true;
	_cleanup_free_ char *list = xstrdup(all_types);
	char *rest = NULL;
	for (char *type = strtok_r(list, ",", &rest); type != NULL; type = strtok_r(NULL, ",", &rest)) {
		bool wanted = p->any_type;
		for (size_t i = 0; i < p->count && !wanted; i++)
			wanted =
				!p->items[i].revoked && p->items[i].type != NULL && strcmp(p->items[i].type, type) == 0;
		if (wanted)
			only_rsa = false;
		if (wanted && !strv_has(refused, type))
			add_type(out, type);
	}
	bool rsa_wanted = p->any_type;
	for (size_t i = 0; i < p->count; i++)
		rsa_wanted |=
			!p->items[i].revoked && p->items[i].type != NULL && strcmp(p->items[i].type, "ssh-rsa") == 0;
	if (rsa_wanted && !ssh_rsa_is_sha1() && !strv_has(refused, "ssh-rsa"))
		add_type(out, rsa_types);
	if (out->len > 0)
		return 0;
	if (only_rsa && rsa_wanted && ssh_rsa_is_sha1()) {
		int r = err_set(err, ERR_UNSUPPORTED,
		                "only an RSA host key is pinned: libssh2 %s knows RSA with SHA-1 only, which is "
		                "refused",
		                libssh2_version(0));
		return err_hint(
			err, r,
			"pin the host's Ed25519 key (ssh-keyscan -t ed25519 HOST, compared with the host itself)");
	}
	return err_set(err, ERR_UNSUPPORTED, "no pinned host key is of a type that libssh2 %s knows",
	               libssh2_version(0));
}

int ssh_pins_check(const struct ssh_pins *p, struct ssh *s, struct err *err)
{
	size_t len = 0;
	int type = 0;
	char shown[64];
	const char *blob = libssh2_session_hostkey(s->session, &len, &type);
	if (blob == NULL || len < 4)
		return err_set(err, ERR_PROTOCOL, "%s showed no host key", s->label);
	const unsigned char *b = (const unsigned char *)blob;
	size_t type_len = (size_t)b[2] << 8 | b[3];
	ssh_fingerprint(blob, len, shown);
	free(s->fingerprint);
	free(s->key_type);
	s->fingerprint = xstrdup(shown);
	s->key_type = xstrndup(blob + 4, MIN(type_len, len - 4));

	bool match = false;
	for (size_t i = 0; i < p->count; i++) {
		if (strcmp(p->items[i].fingerprint, shown) != 0)
			continue;
		if (p->items[i].revoked) {
			s->key_revoked = true;
			int r = err_set(err, ERR_AUTH, "the host key of %s, %s %s, is revoked in %s", s->label,
			                s->key_type, shown, p->source);
			return err_hint(err, r, "do not connect; ask who runs the host");
		}
		match = true;
	}
	if (match)
		return 0;
	_cleanup_(str_done) struct str wanted = STR_INIT(1024);
	for (size_t i = 0; i < p->count; i++)
		if (!p->items[i].revoked)
			str_appendf(&wanted, "%s%s", wanted.len > 0 ? ", " : "", p->items[i].fingerprint);
	int r = err_set(err, ERR_AUTH, "the host key of %s is not the pinned one: it showed %s %s, pinned: %s",
	                s->label, s->key_type, shown, str_peek(&wanted));
	return err_hint(err, r,
	                "somebody may sit in between; if the host was set up again, compare its key there "
	                "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and pin that one");
}
