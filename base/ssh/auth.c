#include "base/ssh/ssh_priv.h"

/* The methods that the server continues with; NULL: none. *ret_done: logged in without any. */
static int list_methods(struct ssh *s, const char *user, struct wait *w, struct str *out, struct err *err)
{
	for (;;) {
		char *list = libssh2_userauth_list(s->session, user, (unsigned)strlen(user));
		if (list != NULL) {
			str_clear(out);
			str_append(out, list);
			return 0;
		}
		if (libssh2_userauth_authenticated(s->session))
			return 0;
		int rc = libssh2_session_last_errno(s->session);
		if (rc != LIBSSH2_ERROR_EAGAIN)
			return ssh_lib_err(s, rc, "ask for ways to log in", err);
		int r = ssh_block(s, w, err);
		if (r < 0)
			return r;
	}
}

static bool offers(const struct str *methods, const char *name)
{
	const char *at = strstr(str_peek(methods), name);
	size_t len = strlen(name);
	return at != NULL && (at == str_peek(methods) || at[-1] == ',') && (at[len] == '\0' || at[len] == ',');
}

/* The result of one method: 0 to try the next one (or logged in), else a failure that ends the login. */
static int settle(struct ssh *s, int rc, const char *way, struct str *note, struct err *err)
{
	if (rc == 0)
		return 0;
	if (rc == LIBSSH2_ERROR_AUTHENTICATION_FAILED || rc == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED ||
	    rc == LIBSSH2_ERROR_METHOD_NOT_SUPPORTED) {
		str_appendf(note, "%s%s refused", note->len > 0 ? ", " : "", way);
		return 0;
	}
	if (rc == LIBSSH2_ERROR_FILE || rc == LIBSSH2_ERROR_KEYFILE_AUTH_FAILED)
		return err_hint(err,
		                err_set(err, ERR_INVALID,
		                        "the private key cannot be read: wrong passphrase, or a format that libssh2 "
		                        "%s does not know",
		                        libssh2_version(0)),
		                "check key_passphrase, or make a key without: ssh-keygen -t ed25519 -N ''");
	if (rc == LIBSSH2_ERROR_PASSWORD_EXPIRED)
		return err_hint(err, err_set(err, ERR_AUTH, "%s: the password has expired", s->label),
		                "log in by hand and change it, or use a key");
	return ssh_lib_err(s, rc, way, err);
}

static int try_key(struct ssh *s, const char *user, struct wait *w, struct str *note, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(70 * 1024);
	char type[64];
	int rc, r = ssh_key_check(s->login->key, s->login->key_passphrase, &text, NULL, type, err);
	if (r < 0)
		return r;
	if (strcmp(type, "ssh-rsa") == 0 && ssh_rsa_is_sha1()) {
		r = ssh_auth_rsa(s, user, text.data, w, &rc, err);
		return r < 0 ? r : settle(s, rc, "key", note, err);
	}
	SSH_REPEAT(rc, s, w, err,
	           libssh2_userauth_publickey_frommemory(s->session, user, strlen(user), NULL, 0, text.data, text.len,
	                                                 s->login->key_passphrase));
	return settle(s, rc, "key", note, err);
}

static int try_password(struct ssh *s, const char *user, struct wait *w, struct str *note, struct err *err)
{
	int rc;
	const char *password = s->login->password;
	SSH_REPEAT(rc, s, w, err,
	           libssh2_userauth_password_ex(s->session, user, (unsigned)strlen(user), password,
	                                        (unsigned)strlen(password), NULL));
	return settle(s, rc, "password", note, err);
}

/* Every hidden prompt gets the password, a visible one gets nothing. libssh2 frees the strings. */
static void answer_prompts(const char *name, int name_len, const char *instruction, int instruction_len, int count,
                           const LIBSSH2_USERAUTH_KBDINT_PROMPT *prompts, LIBSSH2_USERAUTH_KBDINT_RESPONSE *responses,
                           void **abstract)
{
	(void)name;
	(void)name_len;
	(void)instruction;
	(void)instruction_len;
	struct ssh *s = *abstract;
	for (int i = 0; i < count; i++) {
		const char *text = prompts[i].echo ? "" : s->login->password;
		responses[i].text = xstrdup(text);
		responses[i].length = (unsigned)strlen(text);
		s->prompts_answered++;
	}
}

static int try_prompts(struct ssh *s, const char *user, struct wait *w, struct str *note, struct err *err)
{
	int rc;
	SSH_REPEAT(rc, s, w, err,
	           libssh2_userauth_keyboard_interactive_ex(s->session, user, (unsigned)strlen(user), answer_prompts));
	return settle(s, rc, "keyboard-interactive", note, err);
}

static int try_agent(struct ssh *s, const char *user, struct wait *w, struct str *note, struct err *err)
{
	return ssh_auth_agent(s, user, w, note, err);
}

static int refused(struct ssh *s, const char *user, const struct str *note, const struct str *methods, struct err *err)
{
	int r = err_set(err, ERR_AUTH, "login as '%s' at %s refused (%s; the server takes %s)", user, s->label,
	                note->len > 0 ? str_peek(note) : "no key, agent or password given",
	                methods->len > 0 ? str_peek(methods) : "nothing");
	return err_hint(err, r, "check the user's name, and that the public key stands in its ~/.ssh/authorized_keys");
}

static int half_way(struct ssh *s, const char *user, const struct str *accepted, const struct str *note,
                    const struct str *methods, struct err *err)
{
	int r = err_set(err, ERR_AUTH, "login as '%s' at %s is half done: %s accepted, but the server wants %s too%s%s",
	                user, s->label, str_peek(accepted), str_peek(methods), note->len > 0 ? ": " : "",
	                str_peek(note));
	return err_hint(
		err, r, "%s",
		s->login->password == NULL
			? "give the password as well (password:), or take AuthenticationMethods off for this user"
			: "check the password; a code that a person must type cannot be given: take "
			  "AuthenticationMethods off for this user");
}

int ssh_authenticate(struct ssh *s, const char *user, struct wait *w, struct err *err)
{
	const struct ssh_login *l = s->login;
	const struct {
		bool given;
		const char *method, *name;
		int (*try)(struct ssh *s, const char *user, struct wait *w, struct str *note, struct err *err);
	} ways[] = {
		{l->key != NULL, "publickey", "key", try_key},
		{l->agent, "publickey", "agent", try_agent},
		{l->password != NULL, "password", "password", try_password},
		{l->password != NULL, "keyboard-interactive", "keyboard-interactive", try_prompts},
	};
	_cleanup_(str_done) struct str note = STR_INIT(1024), methods = STR_INIT(1024), accepted = STR_INIT(256);
	bool tried[ARRAY_SIZE(ways)] = {false};
	s->wait = w;
	int r = list_methods(s, user, w, &methods, err);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(ways) && !libssh2_userauth_authenticated(s->session); i++) {
		if (!ways[i].given || tried[i] || !offers(&methods, ways[i].method))
			continue;
		_cleanup_(str_done) struct str next = STR_INIT(1024);
		size_t before = note.len;
		tried[i] = true;
		r = ways[i].try(s, user, w, &note, err);
		if (r < 0 || libssh2_userauth_authenticated(s->session))
			break;
		r = list_methods(s, user, w, &next, err);
		/* Too many tries: the server hangs up, which means a refusal. */
		if (r == ERR_NETWORK) {
			err_clear(err);
			r = 0;
			break;
		}
		/* A server that wants two methods continues with others after the first: that was not a refusal, and a method that
		 * was not offered before may be offered now. */
		if (r == 0 && strcmp(str_peek(&next), str_peek(&methods)) != 0) {
			str_truncate(&note, before);
			str_appendf(&accepted, "%s%s", accepted.len > 0 ? " and " : "", ways[i].name);
			str_clear(&methods);
			str_append(&methods, str_peek(&next));
			i = (size_t)-1;
		}
	}
	s->wait = NULL;
	if (r < 0)
		return r;
	if (libssh2_userauth_authenticated(s->session))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (ways[i].given && !tried[i])
			str_appendf(&note, "%s%s not offered", note.len > 0 ? ", " : "", ways[i].name);
	return accepted.len > 0 ? half_way(s, user, &accepted, &note, &methods, err)
	                        : refused(s, user, &note, &methods, err);
}
