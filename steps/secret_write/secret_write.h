/* The parts of secret-write: selection of values (select.c), keys parsed before use (key.c), values
 * made here (generate.c), the env format (env_file.c), who can read (readers.c). No value leaves these
 * files but by the bytes that are written on the target. */
#pragma once
#include "engine/run/step.h"
#include "schemas/secret_write.h"

enum { SECRET_MAX_VALUE = 1 << 20, SECRET_MAX_FILE = 4 << 20, SECRET_MAX_KEYS = 2000 };

struct secret_item {
	const char *name;  /* borrowed from the input or the set */
	const char *value; /* borrowed; NULL: generated */
	size_t len;
	const char *spec; /* of a generated one */
	bool rotate;
	bool is_key;       /* PEM or OpenSSH */
	struct str mended; /* a key's value with line ends put right; empty: as given */
	const char *mend;  /* a description of the fixes; NULL */
};
struct secret_set {
	struct secret_item *items;
	size_t count, cap;
	struct strv left_out; /* names that match a glob but are never written */
	json_t *merged;       /* the values of all layers by name; names and values are borrowed from it */
	json_t *origins;      /* name → the layers that have it, the one that counts last */
};
void secret_set_done(struct secret_set *s);
/* The values that the input means, in the order of their names; a fault for each that is missing, empty, unusable. */
void secret_select(const struct step_context *c, struct secret_set *ret, struct faults *faults);

/* ---- layers.c ---- */
/* False: where the source tree lies is not known yet, so that layers cannot be read. */
bool secret_layers_known(const struct step_context *c);
/* Fills merged and origins; a fault for each layer that cannot be read. */
void secret_merge(const struct step_context *c, struct secret_set *s, struct faults *faults);
bool secret_is_layered(const struct secret_set *s, const char *name); /* its value comes from an env file */
int secret_explain(const struct step_context *c, json_t **ret, struct err *err);

/* Classifies a value. SECRET_NOT_KEY when it does not look like a key; err says why a key cannot be used. */
enum secret_key_kind { SECRET_NOT_KEY, SECRET_KEY, SECRET_BAD_KEY };
enum secret_key_kind secret_key_parse(const char *value, size_t len, struct err *err);
/* Fixes line ends for a key file. ret_what: a description, NULL when nothing had to be fixed. */
void secret_key_mend(const char *value, size_t len, struct str *out, const char **ret_what);

/* "hex32", "base64:24", "uuid", "ascii40". */
int secret_generate_check(const char *spec, struct err *err);
int secret_generate(const char *spec, struct str *out, struct err *err);

/* An env file, kept byte for byte but for the keys that are set. */
struct env_line {
	char *name;
	size_t start, end;
	struct str value;
	bool readable;
}; /* name NULL: comment, blank or foreign */
struct env_file {
	struct str text;
	struct env_line *lines;
	size_t count, cap;
};
int env_read(const char *data, size_t len, struct env_file *ret,
             struct err *err);                                               /* ERR_INVALID with the line's number */
const struct env_line *env_find(const struct env_file *f, const char *name); /* the last one, which counts */
void env_file_done(struct env_file *f);
bool env_is_name(const char *name);
/* NAME=value and a line feed, quoted so that who reads the dialect gets the same bytes. ERR_UNSUPPORTED when no quoting does. */
int env_quote(enum secret_write_dialect dialect, const char *name, const char *value, size_t len, struct str *out,
              struct err *err);
/* True: the value can be written. Describes an oddity in warning (may be NULL; untouched when there is none). */
int env_value_check(enum secret_write_dialect dialect, const char *name, const char *value, size_t len,
                    struct err *err);

/* A user that must be able to read, and the way he can. */
struct secret_reader {
	char *user;
	char *uid;
	bool by_group, by_acl;
};
struct secret_access {
	struct secret_reader *readers;
	size_t count;
	mode_t mode; /* of the file, group readable if a reader has access by group */
	bool acl;    /* one of them needs an ACL */
};
void secret_access_done(struct secret_access *a);
/* existing_owner, existing_group: of the existing file, or NULL. ERR_REFUSED with a hint when a reader
 * cannot be given access. */
int secret_access_resolve(const struct step_context *c, struct view *v, const char *existing_owner,
                          const char *existing_group, struct secret_access *ret, struct err *err);
/* ERR_CONFLICT names the user and the obstacle. */
int secret_access_prove(const struct step_context *c, struct view *v, const char *path, const char *user,
                        struct err *err);
/* True when the users of acl ("999"; NULL: none) stand in the file's ACL, and nobody else; base: the mode beside it. */
bool secret_access_has_acl(struct view *v, const char *path, const json_t *acl, bool directory, mode_t base);
