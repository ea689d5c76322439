/* A key of a user: one line of authorized_keys, of which the rest belongs to others. */
#include "schemas/resources/authorized_key.h"
#include "base/secret/mask.h"
#include "steps/apply/kinds/machine.h"

#include <string.h>

extern const struct resource_type resource_authorized_key;

/* ---- the input ---- */

static char *id(const struct resource *r, const char *pointer, struct faults *faults)
{
	const struct resource_authorized_key *in = r->in;
	_cleanup_(machine_key_line_done) struct machine_key_line line = {0};
	if (!machine_key_read(in->key, &line) || *line.options != '\0') {
		faults_add(faults, NULL, pointer, "is not a public key");
		faults_hint(
			faults,
			"as ssh-keygen writes it: its type, the key in base64, a comment; what goes in front of them is `options`");
		return NULL;
	}
	return machine_key_id(in->user, line.key);
}

static void refuse_secret(const struct resource *r, const char *member, const char *text,
                          const struct resource_faults *f)
{
	if (text != NULL && mask_finds(mask_process(), text, strlen(text)))
		resource_fault(f, r, member, "a secret is part of it, and would stand in the journal");
}

static void validate(const struct resource *r, const struct resource_faults *f)
{
	const struct resource_authorized_key *in = r->in;
	_cleanup_(str_done) struct str why = STR_INIT(1024);
	refuse_secret(r, "key", in->key, f);
	refuse_secret(r, "options", in->options, f);
	if (in->options != NULL && !machine_key_options_fit(in->options, &why))
		resource_fault(f, r, "options", "%s", str_peek(&why));
}

/* ---- there and wanted ---- */

static char *words(const struct resource *wanted, const json_t *row)
{
	const struct resource_authorized_key *in = wanted != NULL ? wanted->in : NULL;
	const char *recorded = json_get_string(row, "key");
	_cleanup_(machine_key_line_done) struct machine_key_line line = {0};
	if (in != NULL && machine_key_read(in->key, &line))
		return TAKE(line.key);
	return xstrdup(recorded != NULL && machine_text_fits(recorded) ? recorded : "");
}

static void remember(const struct resource *r, json_t *row)
{
	_cleanup_free_ char *key = words(r, NULL);
	json_object_set_new(row, "key", json_string(key));
}

/* As sshd's StrictModes wants it: without the right to write for others. */
static long strict(long mode)
{
	return mode & ~022L;
}

static long mode_of(const json_t *node, const char *member)
{
	const char *text = json_get_string(node, member);
	return text != NULL ? strtol(text, NULL, 8) : 0;
}

/* A mode that sshd takes is nobody's matter: others may change it meanwhile. */
static void drop_strict_mode(json_t *node, const char *member)
{
	if (mode_of(node, member) == strict(mode_of(node, member)))
		json_object_del(node, member);
}

static int look(struct resource_call *x, const char *key_id, json_t **ret, struct err *err)
{
	int r = machine_resource_look(x, &resource_authorized_key, key_id, ret, err);
	if (r < 0)
		return r;
	/* What is behind it is not looked at: a row must not be forgotten for that. */
	const char *link = json_get_string(json_object_get(*ret, "notes"), "link");
	if (link != NULL)
		return err_hint(
			err, err_set(err, ERR_REFUSED, "'%s' on '%s' is a link: it is not followed", link, x->v->name),
			"put a directory or a file in its place by hand");
	drop_strict_mode(*ret, "dir_mode");
	drop_strict_mode(*ret, "file_mode");
	return 0;
}

static void want_mode(const json_t *before, json_t *after, const char *member)
{
	if (json_get_string(before, member) != NULL)
		json_object_set_new(after, member, json_stringf("%lo", strict(mode_of(before, member))));
}

/* What sshd would not read. */
static int check_place(const struct resource_call *x, const char *user, const json_t *notes, struct err *err)
{
	const char *foreign = json_get_string(notes, "foreign"), *loose = json_get_string(notes, "loose");
	if (foreign != NULL)
		return err_hint(
			err, err_set(err, ERR_REFUSED, "'%s' on '%s' does not belong to %s", foreign, x->v->name, user),
			"chown it: only its user writes it, and sshd takes no key from another user's file");
	if (loose != NULL)
		strv_addf(&x->plan->warnings,
		          "others than %s can write to '%s' on '%s': with StrictModes sshd takes no key from there",
		          user, loose, x->v->name);
	return 0;
}

static int want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                struct str *content, struct err *err)
{
	const struct resource_authorized_key *in = r->in;
	_cleanup_(machine_key_line_done) struct machine_key_line line = {0};
	const char *options = json_get_string(before, "options"), *comment = json_get_string(before, "comment");
	(void)content;
	int e = check_place(x, in->user, json_object_get(before, "notes"), err);
	if (e < 0)
		return e;
	if (!machine_key_read(in->key, &line))
		return err_set(err, ERR_INVALID, "it is not a public key");
	if (in->options != NULL || options == NULL)
		options = in->options != NULL ? in->options : "";
	if (*line.comment != '\0' || comment == NULL)
		comment = line.comment;
	*ret = json_pack("{s:s, s:s, s:s, s:s}", "type", "key", "user", in->user, "options", options, "comment",
	                 comment);
	want_mode(before, *ret, "dir_mode");
	want_mode(before, *ret, "file_mode");
	return 0;
}

static int forbids(struct resource_call *x, const json_t *before, const json_t *after, enum change_action action,
                   struct str *ret_why, struct err *err)
{
	(void)x;
	(void)after;
	(void)action;
	(void)err;
	if (json_get_string(json_object_get(before, "notes"), "twice") != NULL)
		str_append(ret_why, "stands in the file more than once: remove the other lines by hand first");
	return 0;
}

static const struct change_type *const kinds[] = {&machine_key.change, NULL};

const struct resource_type resource_authorized_key = {
	.choice = RESOURCE_AUTHORIZED_KEY_CHOICE,
	.kinds = kinds,
	.change = &machine_key.change,
	.remove = &machine_key.change,
	.space = "authorized_key",
	.what = "key",
	.by_key = true,
	.id = id,
	.validate = validate,
	.ahead = machine_resource_ahead,
	.words = words,
	.look = look,
	.want = want,
	.differs = machine_resource_differs,
	.remember = remember,
	.forbids = forbids,
};
