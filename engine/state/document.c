#include "engine/state/document.h"

#include "base/core/mem.h"
#include "base/secret/digest.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_SHOWN = 130 };

void state_document_done(struct state_document *d)
{
	free(d->deployment);
	json_decref(d->rows);
	*d = (struct state_document){0};
}

size_t state_document_count(const struct state_document *d)
{
	const char *target;
	json_t *rows;
	size_t count = 0;
	json_object_foreach(d->rows, target, rows) count += json_object_size(rows);
	return count;
}

/* ---- writing ---- */

static void sign(json_t *o)
{
	char hex[DIGEST_HEX];
	_cleanup_free_ char *text = json_canonical(o);
	digest_of(text, strlen(text), hex);
	json_object_set_new(o, "sha256", json_string(hex));
}

int state_document_text(const struct state_document *d, const char *name, struct str *out, struct err *err)
{
	_cleanup_json_ json_t *o =
		json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:O}", "version", STATE_VERSION, "davit", DAVIT_VERSION,
	                  "name", name, "lineage", d->lineage, "serial", (json_int_t)d->serial, "written_ms",
	                  (json_int_t)d->written_ms, "rows", d->rows);
	if (d->deployment != NULL)
		json_object_set_new(o, "deployment", json_string(d->deployment));
	sign(o);
	_cleanup_free_ char *text = json_canonical(o);
	if (!str_append(out, text) || out->len > STATE_MAX)
		return err_set(err, ERR_LIMIT, "the state of %s is larger than %d MiB", name, STATE_MAX >> 20);
	return 0;
}

/* ---- reading ---- */

static int damaged(const char *why, struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "it is damaged: %s", why);
}

/* Before anything else of it is looked at: another program's, or another davit's, is not damaged. */
static int whose(const json_t *o, const char *name, struct err *err)
{
	_cleanup_(str_done) struct str shown = STR_INIT(1024);
	const char *own = json_get_string(o, "name"), *davit = json_get_string(o, "davit");
	size_t davit_len = davit != NULL ? strlen(davit) : 0;
	int64_t version = json_get_int(o, "version", 0);
	if (json_object_get(o, "terraform_version") != NULL)
		return err_set(err, ERR_INVALID, "it is terraform's state, not davit's");
	if (davit == NULL || own == NULL || version < 1)
		return damaged("it does not say which davit wrote it", err);
	if (version > STATE_VERSION) {
		str_append_safe(&shown, davit, MIN(davit_len, 32U));
		err_set(err, ERR_UNSUPPORTED, "it has version %lld, written by davit %s; this program reads up to %d",
		        (long long)version, str_peek(&shown), STATE_VERSION);
		return err_hint(err, ERR_UNSUPPORTED, "use the davit that wrote it, or a newer one");
	}
	if (strcmp(own, name) == 0)
		return 0;
	str_append_safe(&shown, own, MIN(strlen(own), (size_t)NAME_SHOWN));
	err_set(err, ERR_INVALID, "it is of '%s', not of '%s'", str_peek(&shown), name);
	return err_hint(err, ERR_INVALID, "give each environment a place of its own");
}

/* As davit wrote it, the text without the digest is what the digest is of: no second text has to be made of ten thousand rows. */
static bool text_fits(const char *text, size_t len, const char *given)
{
	char hex[DIGEST_HEX];
	_cleanup_free_ char *member = xasprintf(",\"sha256\":\"%s\"", given);
	size_t size = strlen(member);
	const char *at = NULL, *end = text + len;
	for (const char *next = text; (next = memmem(next, (size_t)(end - next), member, size)) != NULL; next += size)
		at = next;
	if (at == NULL)
		return false;
	_cleanup_(digest_freep) struct digest *d = digest_new();
	digest_update(d, text, (size_t)(at - text));
	digest_update(d, at + size, (size_t)(end - at) - size);
	digest_hex(d, hex);
	return strcmp(hex, given) == 0;
}

static bool digest_fits(json_t *o, const char *given_text, size_t len)
{
	char hex[DIGEST_HEX];
	const char *said = json_get_string(o, "sha256");
	if (said != NULL && strlen(said) == DIGEST_HEX - 1 && text_fits(given_text, len, said))
		return true;
	_cleanup_json_ json_t *given = json_incref(json_object_get(o, "sha256"));
	json_object_del(o, "sha256");
	_cleanup_free_ char *text = json_canonical(o);
	digest_of(text, strlen(text), hex);
	return json_is_string(given) && strcmp(json_string_value(given), hex) == 0;
}

static bool rows_are_objects(const json_t *rows)
{
	const char *target, *key;
	json_t *of, *row;
	json_object_foreach((json_t *)(uintptr_t)rows, target, of)
	{
		if (!json_is_object(of))
			return false;
		json_object_foreach(of, key, row) if (!json_is_object(row)) return false;
	}
	return rows != NULL;
}

int state_document_read(const char *text, size_t len, const char *name, struct state_document *ret, struct err *err)
{
	_cleanup_json_ json_t *o = NULL;
	struct err why = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	int r = json_parse(text, len, STATE_MAX, &o, &why);
	if (r < 0 || !json_is_object(o))
		return damaged(r < 0 ? err_line(&why, line, sizeof(line)) : "it is no object of JSON", err);
	r = whose(o, name, err);
	if (r < 0)
		return r;
	if (!digest_fits(o, text, len))
		return damaged("its digest is not that of its content", err);
	const char *lineage = json_get_string(o, "lineage"), *deployment = json_get_string(o, "deployment");
	const json_t *rows = json_get_object(o, "rows");
	int64_t serial = json_get_int(o, "serial", -1);
	if (lineage == NULL || strlen(lineage) != STATE_LINEAGE - 1 || serial < 0 || !rows_are_objects(rows))
		return damaged("what it must have is not there", err);
	*ret = (struct state_document){.serial = serial,
	                               .written_ms = json_get_int(o, "written_ms", 0),
	                               .deployment = xstrdup(deployment),
	                               .rows = json_incref((json_t *)(uintptr_t)rows)};
	memcpy(ret->lineage, lineage, STATE_LINEAGE);
	return 0;
}
