/* The journal as the place of a state: its rows are the document, and the journal's lock of the environment is the lock. */
#include "base/core/mem.h"
#include "base/secret/digest.h"
#include "engine/journal/rows.h"
#include "engine/journal/store.h"
#include "engine/state/holder.h"
#include "engine/state/state.h"

#include <stdio.h>
#include <string.h>

static char *place(const struct keeper *k)
{
	return xasprintf("the journal of %s", store_dir(k->of));
}

/* Where nothing was written by `write` yet, rows are all there is: the same rows give the same document. */
static void make_up_head(const struct keeper *k, struct state_document *d)
{
	char hex[DIGEST_HEX];
	const char *id = store_id(k->of);
	_cleanup_free_ char *text = xasprintf("davit state %s %s", id != NULL ? id : "", k->name);
	digest_of(text, strlen(text), hex);
	snprintf(d->lineage, sizeof(d->lineage), "%.32s", hex);
}

static int read_document(struct store *s, const char *name, struct str *ret, char tag[KEEPER_TAG], struct err *err)
{
	_cleanup_(state_document_done) struct state_document d = {0};
	_cleanup_json_ json_t *head = NULL;
	int r = rows_list(s, name, &d.rows, &head, err);
	/* It lies in the journal as text: what is no JSON any more is damaged. */
	if (r == ERR_INVALID || r == ERR_LIMIT)
		return err_set(err, ERR_PROTOCOL, "it is damaged: a row is no JSON");
	if (r < 0)
		return r;
	if (head == NULL && json_object_size(d.rows) == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no state of %s", name);
	const struct keeper k = {.of = s, .name = name};
	const char *lineage = json_get_string(head, "lineage"), *deployment = json_get_string(head, "deployment");
	if (lineage != NULL && strlen(lineage) == STATE_LINEAGE - 1)
		memcpy(d.lineage, lineage, STATE_LINEAGE);
	else
		make_up_head(&k, &d);
	d.serial = json_get_int(head, "serial", 0);
	d.written_ms = json_get_int(head, "written_ms", 0);
	d.deployment = xstrdup(deployment);
	r = state_document_text(&d, name, ret, err);
	if (r == 0)
		digest_of(str_peek(ret), ret->len, tag);
	return r;
}

static int journal_read(struct keeper *k, struct str *ret, char tag[KEEPER_TAG], struct err *err)
{
	int r = read_document(k->of, k->name, ret, tag, err);
	/* What cannot be read may be replaced by who means to. */
	if (r == ERR_PROTOCOL)
		snprintf(tag, KEEPER_TAG, "damaged");
	return r;
}

struct expected {
	const char *name, *tag;
};

static int is_as_expected(struct store *s, void *context, struct err *err)
{
	const struct expected *x = context;
	_cleanup_(str_done) struct str text = STR_INIT(STATE_MAX + 1);
	struct err why = ERR_INIT;
	char tag[KEEPER_TAG] = "";
	int r = read_document(s, x->name, &text, tag, &why);
	if (r == ERR_PROTOCOL)
		snprintf(tag, sizeof(tag), "damaged");
	else if (r == ERR_NOT_FOUND)
		tag[0] = '\0';
	else if (r < 0)
		return r;
	return strcmp(tag, x->tag) == 0 ? 0 : err_set(err, ERR_CONFLICT, "another version is there");
}

static int journal_write(struct keeper *k, const struct str *text, const char *tag, const json_t *lock, struct err *err)
{
	_cleanup_(state_document_done) struct state_document d = {0};
	struct expected x = {k->name, tag};
	(void)lock;
	int r = state_document_read(str_peek(text), text->len, k->name, &d, err);
	if (r < 0)
		return r;
	_cleanup_json_ json_t *head =
		json_pack("{s:s, s:I, s:I, s:s?}", "lineage", d.lineage, "serial", (json_int_t)d.serial, "written_ms",
	                  (json_int_t)d.written_ms, "deployment", d.deployment);
	if (d.deployment == NULL)
		json_object_del(head, "deployment");
	return rows_replace(k->of, k->name, d.rows, head, is_as_expected, &x, err);
}

static int journal_keep(struct keeper *k, int64_t serial, const struct str *text, struct err *err)
{
	return rows_keep_copy(k->of, k->name, serial, str_peek(text), err);
}

static int journal_former(struct keeper *k, int64_t serial, struct str *ret, struct err *err)
{
	return rows_read_copy(k->of, k->name, serial, ret, err);
}

static int journal_serials(struct keeper *k, int64_t *ret, size_t max, size_t *ret_count, struct err *err)
{
	return rows_list_copies(k->of, k->name, ret, max, ret_count, err);
}

static int journal_drop(struct keeper *k, int64_t serial, struct err *err)
{
	return rows_drop_copy(k->of, k->name, serial, err);
}

/* ---- the lock: of a deployment that the journal has ---- */

static int deployment_of(const struct keeper *k, const json_t *record, struct state_holder *ret, json_t **ret_doc,
                         struct err *err)
{
	state_holder_read(record, ret);
	if (ret->deployment[0] == '\0')
		return err_set(err, ERR_INVALID, "the journal is locked by deployments alone");
	return store_deployment_get(k->of, ret->deployment, ret_doc, err);
}

static int journal_lock(struct keeper *k, const json_t *record, json_t **ret_holder, struct err *err)
{
	_cleanup_(state_holder_done) struct state_holder own = {0};
	_cleanup_json_ json_t *doc = NULL, *other = NULL;
	_cleanup_free_ char *holder = NULL;
	int r = deployment_of(k, record, &own, &doc, err);
	if (r == 0)
		r = store_lock(k->of, json_get_string(doc, "name"), json_get_string(doc, "environment"), own.deployment,
		               &holder, err);
	if (r == ERR_LOCKED && store_deployment_get(k->of, holder, &other, NULL) == 0)
		*ret_holder = state_holder_make(k->of, other);
	return r;
}

static int journal_unlock(struct keeper *k, const json_t *record, struct err *err)
{
	_cleanup_(state_holder_done) struct state_holder own = {0};
	_cleanup_json_ json_t *doc = NULL, *holder = NULL;
	int r = deployment_of(k, record, &own, &doc, err);
	if (r == 0)
		r = journal_lock(k, record, &holder, err);
	if (r == ERR_LOCKED)
		return err_set(err, ERR_FENCED, "the lock is another deployment's");
	return r < 0 ? r : store_unlock(k->of, own.deployment, err);
}

const struct keeper_type state_journal = {
	.name = "journal",
	.place = place,
	.read = journal_read,
	.write = journal_write,
	.keep = journal_keep,
	.former = journal_former,
	.serials = journal_serials,
	.drop = journal_drop,
	.lock = journal_lock,
	.unlock = journal_unlock,
};
