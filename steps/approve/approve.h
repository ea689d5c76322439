/* Who may agree to a parked deployment on this machine, what they sign, and whether what was recorded counts (docs/semantics.md 12).
 *
 * The list of approvers is this machine's, never the deployment's: /etc/davit/approvers where that is there, else `approvers` in the
 * state directory. A line is NAME and one of
 *   ssh-ed25519 BASE64 [comment]   a public key, as in authorized_keys
 *   github LOGIN                   an account whose comments count
 *   own                            this person may agree to what this person asked for
 * or `api URL`, GitHub's REST interface where it is not api.github.com: a deployment that named it could name one that lies. A name may have
 * several lines; a key and a login belong to one name. */
#pragma once
#include "base/secret/ed25519.h"
#include "engine/run/step.h"

enum {
	APPROVE_TEXT_MAX = 8192, /* an armored signature, or a comment */
	APPROVE_STATEMENT_MAX = 1024
};
#define APPROVE_NAMESPACE "davit-approval"

/* ---- approvers.c ---- */
struct approvers;
/* ERR_NOT_FOUND: there is no list. ERR_PERMISSION: others than its owner can change it. */
int approvers_read(const char *state_dir, struct approvers **ret, struct err *err);
int approvers_parse(const char *text, const char *path, struct approvers **ret, struct err *err);
void approvers_free(struct approvers *a);
void approvers_freep(struct approvers **a);
/* NULL: nobody's. Borrowed. */
const char *approvers_of_key(const struct approvers *a, const unsigned char key[ED25519_KEY_SIZE]);
const char *approvers_of_login(const struct approvers *a, const char *login);
bool approvers_has(const struct approvers *a, const char *name);
bool approvers_may_own(const struct approvers *a, const char *name);
/* This name, or a login of it. Case does not count: it does not for GitHub. */
bool approvers_is(const struct approvers *a, const char *name, const char *who);
/* NULL: GitHub's own. */
const char *approvers_api(const struct approvers *a);
const struct strv *approvers_names(const struct approvers *a);

/* ---- signature.c ---- */
/* A signature as `ssh-keygen -Y sign` makes it. ERR_INVALID, ERR_UNSUPPORTED: it is none of an ed25519 key for this purpose. */
struct approve_signature {
	unsigned char key[ED25519_KEY_SIZE], signature[ED25519_SIGNATURE_SIZE];
	bool sha256; /* else sha512: the digest of the statement that was signed */
};
int approve_signature_read(const char *text, struct approve_signature *ret, struct err *err);
/* ERR_AUTH: it is not of this text. */
int approve_signature_check(const struct approve_signature *s, const char *text, size_t len, struct err *err);

/* ---- comments.c ---- */
/* One of GitHub's comments: an approval, where it is the line `/davit approve ID DIGEST` (its first 12 digits at least), written once by a person
 * and in time; NULL: it is none. */
json_t *approve_comment_read(const struct step_request *r, const json_t *comment);
/* Appends those of the repository's issues and pull requests since then, and of the commit. c: its wait, its client, and its deployment's
 * repository and commit; its api_url is the list's. */
int approve_comments(const struct step_context *c, const char *token, const struct step_request *r, int64_t since_ms,
                     json_t *ret, struct err *err);

/* ---- judge.c ---- */
/* What is signed: the deployment, its plan and the time until which it counts, a line each. */
void approve_statement(const struct step_request *r, struct str *out);
/* Whether one counts for this request: {"how": "key", "signature"} or {"how": "comment", "login", "digest", "url"} of one that was read just now. *ret_name: whose it is,
 * borrowed from a. ERR_AUTH: nobody's here, or of something else; ERR_REFUSED: who may not agree to this. */
int approve_judge(const struct approvers *a, const struct step_request *r, const json_t *approval,
                  const char **ret_name, struct err *err);
/* Those who agreed, each once. */
void approve_names(const struct approvers *a, const struct step_request *r, struct strv *ret);
/* True if `by` of the request lets the name in. */
bool approve_is_asked(const struct step_request *r, const char *name);
