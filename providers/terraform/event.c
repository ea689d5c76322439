#include "providers/terraform/event.h"

#include "base/data/json.h"

#include <ctype.h>

enum { LINE_MAX_BYTES = 1 << 20, ID_MAX = 200, WORDS_MAX = 300 };

static const struct {
	const char *name;
	enum terraform_event_type type;
} types[] = {
	{"diagnostic", TERRAFORM_DIAGNOSTIC},
	{"apply_start", TERRAFORM_APPLY_START},
	{"apply_progress", TERRAFORM_APPLY_PROGRESS},
	{"apply_complete", TERRAFORM_APPLY_COMPLETE},
	{"apply_errored", TERRAFORM_APPLY_ERRORED},
	{"refresh_start", TERRAFORM_REFRESH},
	{"provision_start", TERRAFORM_PROVISION},
	{"provision_progress", TERRAFORM_PROVISION},
	{"provision_errored", TERRAFORM_PROVISION},
	{"change_summary", TERRAFORM_SUMMARY},
	{"log", TERRAFORM_LOG},
};

static enum terraform_event_type type_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i].name, name) == 0)
			return types[i].type;
	return TERRAFORM_OTHER;
}

static char *copy_of(const json_t *object, const char *key)
{
	const char *text = json_get_string(object, key);
	return text != NULL ? xstrdup(text) : NULL;
}

void terraform_event_done(struct terraform_event *e)
{
	free(e->message);
	free(e->address);
	free(e->action);
	free(e->summary);
	free(e->detail);
	free(e->operation);
	*e = (struct terraform_event){0};
}

bool terraform_event_read(const char *line, size_t len, struct terraform_event *ret)
{
	_cleanup_json_ json_t *doc = NULL;
	*ret = (struct terraform_event){0};
	if (len == 0 || line[0] != '{' || json_parse(line, len, LINE_MAX_BYTES, &doc, NULL) < 0)
		return false;
	const char *type = json_get_string(doc, "type"), *message = json_get_string(doc, "@message");
	if (type == NULL || json_get_string(doc, "@level") == NULL)
		return false;
	const json_t *hook = json_get_object(doc, "hook"), *said = json_get_object(doc, "diagnostic"),
		     *changes = json_get_object(doc, "changes");
	const char *severity = json_get_string(said, "severity");
	*ret = (struct terraform_event){
		.type = type_of(type),
		.is_error = severity != NULL && strcmp(severity, "error") == 0,
		.message = xstrdup(message != NULL ? message : ""),
		.address = copy_of(json_get_object(hook, "resource"), "addr"),
		.action = copy_of(hook, "action"),
		.summary = copy_of(said, "summary"),
		.detail = copy_of(said, "detail"),
		.operation = copy_of(changes, "operation"),
		.elapsed_s = json_get_int(hook, "elapsed_seconds", 0),
		.add = json_get_int(changes, "add", 0),
		.change = json_get_int(changes, "change", 0),
		.remove = json_get_int(changes, "remove", 0),
	};
	return true;
}

/* ---- locks ---- */

/* The rest of the line that begins with `key`, after blanks and a box's bar. */
static char *rest_of(const char *text, const char *key, size_t max)
{
	for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
		while (*line != '\0' && !isalpha((unsigned char)*line))
			line++;
		if (!str_starts(line, key))
			continue;
		const char *from = line + strlen(key);
		from += strspn(from, " ");
		size_t len = strcspn(from, "\r\n");
		return len > 0 && len <= max ? xstrndup(from, len) : NULL;
	}
	return NULL;
}

/* An id becomes an argument: nothing else than what all backends make. */
static char *id_of(char *id)
{
	if (id != NULL &&
	    (!isalnum((unsigned char)*id) || id[strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                                                   "0123456789-_./:")] != '\0')) {
		free(id);
		return NULL;
	}
	return id;
}

/* An http backend tells the holder as `ID=…`; the block below it is then of the one that asks. */
bool terraform_lock_read(const char *text, struct terraform_lock *ret)
{
	*ret = (struct terraform_lock){0};
	if (strstr(text, "Lock Info:") == NULL && strstr(text, "already locked") == NULL)
		return false;
	const char *holder = strstr(text, "ID=");
	char *id = holder != NULL ? rest_of(holder, "ID=", ID_MAX) : NULL;
	if (id == NULL) {
		id = rest_of(text, "ID:", ID_MAX);
		ret->who = rest_of(text, "Who:", WORDS_MAX);
		ret->operation = rest_of(text, "Operation:", WORDS_MAX);
		ret->created = rest_of(text, "Created:", WORDS_MAX);
	}
	ret->id = id_of(id);
	return true;
}

void terraform_lock_done(struct terraform_lock *l)
{
	free(l->id);
	free(l->who);
	free(l->operation);
	free(l->created);
	*l = (struct terraform_lock){0};
}
