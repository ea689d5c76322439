/* What an undo needs of secrets: a sealed file of the state directory, or a row of a shared journal, sealed with that journal's key. */
#include "engine/journal/store_priv.h"

#include "base/secret/base64.h"
#include "base/secret/seal.h"
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 32 << 20 };

struct sealing {
	const char *id, *data;
};

static int write_row(struct store *s, void *context, struct err *err)
{
	const struct sealing *row = context;
	return sql_run(
		s, err,
		"INSERT INTO sealed(deployment, data) VALUES(?1,?2) ON CONFLICT(deployment) DO UPDATE SET data=excluded.data",
		"ss", row->id, row->data);
}

static int erase_row(struct store *s, void *context, struct err *err)
{
	const struct sealing *row = context;
	return sql_run(s, err, "DELETE FROM sealed WHERE deployment=?1", "s", row->id);
}

int store_seal(struct store *s, const char *id, const void *data, size_t len, struct err *err)
{
	if (!store_is_shared(s))
		return seal_write(s->dir, id, data, len, err);
	struct str sealed _cleanup_(str_done) = STR_INIT(TEXT_MAX), text _cleanup_(str_done) = STR_INIT(TEXT_MAX);
	int r = seal_bytes(s->dir, STORE_KEY_FILE, id, data, len, &sealed, err);
	if (r < 0)
		return r;
	base64_encode(sealed.data, sealed.len, &text);
	struct sealing row = {.id = id, .data = str_peek(&text)};
	const struct sql_write w = {.deployment = id, .work = write_row, .context = &row};
	return sql_write(s, &w, err);
}

int store_unseal(struct store *s, const char *id, struct str *out, struct err *err)
{
	if (!store_is_shared(s))
		return seal_read(s->dir, id, out, err);
	_cleanup_rows_ struct sql_rows rows = {0};
	struct str sealed _cleanup_(str_done) = STR_INIT(TEXT_MAX);
	int r = sql_query(s, &rows, err, "SELECT data FROM sealed WHERE deployment=?1", "s", id);
	if (r == 0)
		r = sql_next(&rows, err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "nothing is sealed for the deployment %s", id);
	const char *text = r > 0 ? sql_text(&rows, 0) : NULL;
	if (r > 0)
		r = base64_decode(text, strlen(text), &sealed, err);
	return r < 0 ? r : seal_open_bytes(s->dir, STORE_KEY_FILE, id, &sealed, out, err);
}

int store_seal_erase(struct store *s, const char *id, struct err *err)
{
	if (!store_is_shared(s))
		return seal_erase(s->dir, id, err);
	struct sealing row = {.id = id};
	const struct sql_write w = {.deployment = id, .work = erase_row, .context = &row};
	return sql_write(s, &w, err);
}

int store_seal_sweep(struct store *s, struct err *err)
{
	return store_is_shared(s) ? 0 : seal_sweep(s->dir, err);
}
