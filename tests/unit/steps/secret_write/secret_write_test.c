#include "unit/steps/step_fixture.h"
#include "base/sys/proc.h"
#include "steps/secret_write/secret_write.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

/* What sh makes of the file: the value of KEY, byte for byte. */
static char *by_sh(struct fixture *f, const char *file, const char *key)
{
	_cleanup_free_ char *script = xasprintf(". %s/%s; printf %%s \"$%s\"", f->dir, file, key);
	const char *const argv[] = {"/bin/sh", "-c", script, NULL};
	struct str out = STR_INIT(1 << 20);
	int status = -1;
	const struct proc_options options = {.argv = argv, .stdin_fd = -1, .stdout_fd = PROC_PIPE, .stderr_fd = -1};
	assert_int_equal(proc_run(&options, NULL, 0, 1 << 20, &f->wait, &out, NULL, &status, &f->err), 0);
	assert_int_equal(status, 0);
	return str_take(&out);
}

static void values_travel_byte_for_byte_through_an_env_file(void **state)
{
	struct fixture *f = *state;
	static const char *const values[] = {"plain",
	                                     "a b",
	                                     "it's",
	                                     "\"quoted\"",
	                                     "$HOME ${X} $(id)",
	                                     "back\\slash",
	                                     "ends in \\",
	                                     "it's ending in \\",
	                                     "line one\nline two\n",
	                                     "`id`",
	                                     "# not a comment",
	                                     " leading and trailing ",
	                                     "tab\there",
	                                     "=a=b=",
	                                     "it's $5 \"and\" \\n\nmore",
	                                     "\xc3\xa4\xe2\x82\xac",
	                                     "!history!",
	                                     "~"};
	_cleanup_(str_done) struct str file = STR_INIT(1 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		char name[16];
		snprintf(name, sizeof(name), "V%zu", i);
		assert_int_equal(
			env_quote(SECRET_WRITE_DIALECT_ANY, name, values[i], strlen(values[i]), &file, &f->err), 0);
	}
	fixture_write(f, "all.env", str_peek(&file), 0600);
	_cleanup_(env_file_done) struct env_file back = {0};
	assert_int_equal(env_read(file.data, file.len, &back, &f->err), 0);
	assert_int_equal(back.count, ARRAY_SIZE(values));
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		char name[16];
		snprintf(name, sizeof(name), "V%zu", i);
		_cleanup_free_ char *shell = by_sh(f, "all.env", name);
		assert_string_equal(shell, values[i]);
		const struct env_line *line = env_find(&back, name);
		assert_non_null(line);
		assert_string_equal(str_peek(&line->value), values[i]);
	}
}

static void a_value_that_no_quoting_carries_is_refused_with_the_way_out(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "secret-write", "path: DIR/.env\nvalues: { A: \"it's `this`\" }\n");
	assert_int_equal(fixture_validate(f), 1);
	assert_true(fixture_fault(f, "/values/A", "holds both ' and `"));
	assert_non_null(strstr(f->faults.items[0].hint, "format: file"));
}

static void every_missing_name_is_listed_at_once(void **state)
{
	struct fixture *f = *state;
	fixture_input(
		f, "secret-write",
		"path: DIR/.env\nvalues: { A: x, EMPTY: '', NOTHING: null }\nkeys: [A, B, C, EMPTY, NOTHING, APP_*]\n");
	assert_int_equal(fixture_validate(f), 5);
	assert_true(fixture_fault(f, "/keys", "'B' is missing"));
	assert_true(fixture_fault(f, "/keys", "'C' is missing"));
	assert_true(fixture_fault(f, "/keys", "'NOTHING' is missing"));
	assert_true(fixture_fault(f, "/values/EMPTY", "'EMPTY' is missing"));
	assert_true(fixture_fault(f, "/keys", "no value has a name like 'APP_*'"));
}

static void the_token_and_what_logs_in_are_never_written(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ json_t *targets =
		json_pack("{s:{s:{s:s,s:s}}}", "web", "ssh", "host", "web.example", "key", "the login key");
	f->deployment.targets = targets;
	const char *values = "path: DIR/.env\nvalues: { GITHUB_TOKEN: t1, DEPLOY_KEY: the login key, D2: fine }\n";
	_cleanup_free_ char *all = xasprintf("%s", values), *glob = xasprintf("%skeys: ['*']\n", values),
			    *named = xasprintf("%skeys: [D2, DEPLOY_KEY, github_token]\n", values);
	fixture_input(f, "secret-write", all);
	assert_int_equal(fixture_validate(f), 1);
	assert_true(fixture_fault(f, "/keys", "`keys` must say which"));
	fixture_input(f, "secret-write", named);
	assert_int_equal(fixture_validate(f), 2);
	assert_true(fixture_fault(f, "/keys", "'DEPLOY_KEY' is refused: it logs in"));
	fixture_input(f, "secret-write", glob);
	assert_int_equal(fixture_validate(f), 0);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.warnings.count, 2);
	assert_int_equal(fixture_apply(f), 0);
	assert_file(f, ".env", "D2=fine\n");
	f->deployment.targets = NULL;
}

static void existing_keys_are_kept_byte_for_byte_and_only_names_are_told(void **state)
{
	struct fixture *f = *state;
	fixture_write(f, ".env",
	              "# comment\n\nexport OLD='keep me'\nA=\"the same\"  # why\nB=former-value\nTAIL=no newline",
	              0644);
	fixture_input(f, "secret-write",
	              "path: DIR/.env\nvalues: { A: the same, B: brandnew-value, C: third-value }\n");
	assert_int_equal(fixture_validate(f), 0);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 1);
	const struct change *c = &f->plan.changes[0];
	assert_non_null(strstr(c->summary, "new: C; changed: B; kept: OLD, TAIL; same: A"));
	assert_null(json_object_get(c->before, "digest"));
	assert_null(json_object_get(c->before, "size"));
	assert_not_told(f, "brandnew-value");
	assert_not_told(f, "former-value");
	assert_not_told(f, "keep me");
	assert_int_equal(fixture_apply(f), 0);
	assert_file(f, ".env",
	            "# comment\n\nexport OLD='keep me'\nA=\"the same\"  # why\nB=brandnew-value\nTAIL=no "
	            "newline\nC=third-value\n");
	assert_int_equal(fixture_mode(f, ".env"), 0600);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 0);
}

static void the_undo_restores_bytes_and_mode(void **state)
{
	struct fixture *f = *state;
	fixture_write(f, ".env", "B=former\r\nweird line\n", 0644);
	fixture_input(f, "secret-write", "path: DIR/.env\nvalues: { B: brandnew }\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), 0);
	assert_int_equal(fixture_undo(f), 0);
	assert_int_equal(fixture_undo(f), 0);
	assert_file(f, ".env", "B=former\r\nweird line\n");
	assert_int_equal(fixture_mode(f, ".env"), 0644);
	fixture_input(f, "secret-write", "path: DIR/new/deep/.env\nvalues: { B: brandnew }\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 3);
	assert_int_equal(fixture_apply(f), 0);
	assert_file(f, "new/deep/.env", "B=brandnew\n");
	assert_int_equal(fixture_undo(f), 0);
	assert_null(fixture_read(f, "new"));
}

static void exact_drops_what_nobody_names(void **state)
{
	struct fixture *f = *state;
	fixture_write(f, ".env", "OLD=1\nA=x\nA=y\n", 0600);
	fixture_input(f, "secret-write", "path: DIR/.env\nvalues: { A: y }\nexact: true\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_non_null(strstr(f->plan.changes[0].summary, "dropped: OLD"));
	assert_int_equal(fixture_apply(f), 0);
	assert_file(f, ".env", "A=y\n");
}

static void generated_values_are_made_once_and_rotated_by_name_only(void **state)
{
	struct fixture *f = *state;
	const char *input = "path: DIR/.env\ngenerate: { DB: hex32, SALT: 'base64:24', ID: uuid, PW: ascii40 }\n";
	fixture_input(f, "secret-write", input);
	assert_int_equal(fixture_validate(f), 0);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), 0);
	_cleanup_free_ char *first = fixture_read(f, ".env"), *db = by_sh(f, ".env", "DB"),
			    *id = by_sh(f, ".env", "ID"), *pw = by_sh(f, ".env", "PW");
	assert_int_equal(strlen(db), 32);
	assert_int_equal(strspn(db, "0123456789abcdef"), 32);
	assert_int_equal(strlen(id), 36);
	assert_int_equal(strlen(pw), 40);
	assert_not_told(f, db);
	assert_not_told(f, pw);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 0);
	assert_file(f, ".env", first);
	_cleanup_free_ char *rotating = xasprintf("%srotate: [DB]\n", input);
	fixture_input(f, "secret-write", rotating);
	assert_int_equal(fixture_plan(f), 0);
	assert_non_null(strstr(f->plan.changes[0].summary, "rotated: DB; kept: ID, PW, SALT"));
	assert_int_equal(fixture_apply(f), 0);
	_cleanup_free_ char *after = by_sh(f, ".env", "DB"), *same = by_sh(f, ".env", "PW");
	assert_string_not_equal(after, db);
	assert_string_equal(same, pw);
	assert_int_equal(fixture_undo(f), 0);
	assert_file(f, ".env", first);
	fixture_input(f, "secret-write", "path: DIR/.env\ngenerate: { A: hex4, B: rot13, C: hex99999 }\nrotate: [D]\n");
	assert_int_equal(fixture_validate(f), 4);
	assert_true(fixture_fault(f, "/generate/A", "not a length"));
	assert_true(fixture_fault(f, "/rotate", "'D' is not in `generate:`"));
}

static char *make_key(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	long len = BIO_get_mem_data(bio, &data);
	char *text = xstrndup(data, (size_t)len);
	BIO_free(bio);
	EVP_PKEY_free(key);
	return text;
}

static char *replace(const char *text, const char *what, const char *with)
{
	struct str out = STR_INIT(1 << 20);
	for (const char *p = text; *p != '\0';) {
		if (strncmp(p, what, strlen(what)) == 0) {
			str_append(&out, with);
			p += strlen(what);
		} else {
			str_append_c(&out, *p++);
		}
	}
	return str_take(&out);
}

static void write_input(struct fixture *f, const char *format, const char *value)
{
	_cleanup_json_ json_t *input = json_object();
	_cleanup_free_ char *path = xasprintf("%s/key", f->dir);
	json_object_set_new(input, "path", json_string(path));
	json_object_set_new(input, "format", json_string(format));
	json_object_set_new(input, "values", json_pack("{s:s}", "KEY", value));
	_cleanup_free_ char *text = json_text(input);
	fixture_input(f, "secret-write", text);
}

static void keys_are_parsed_and_their_line_ends_mended(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *key = make_key(), *crlf = replace(key, "\n", "\r\n"), *gone = replace(key, "\n", " "),
			    *literal = replace(key, "\n", "\\n");
	crlf[strlen(crlf) - 2] = '\0';
	write_input(f, "file", crlf);
	assert_int_equal(fixture_validate(f), 0);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.warnings.count, 1);
	assert_string_equal(f->plan.warnings.items[0],
	                    "the key 'KEY': CRLF line ends and the missing final newline fixed");
	assert_int_equal(fixture_apply(f), 0);
	assert_file(f, "key", key);
	write_input(f, "file", gone);
	assert_int_equal(fixture_validate(f), 1);
	assert_true(fixture_fault(f, "/values/KEY", "not a usable key"));
	assert_non_null(strstr(f->faults.items[0].hint, "line breaks are gone"));
	write_input(f, "file", literal);
	assert_int_equal(fixture_validate(f), 1);
	assert_non_null(strstr(f->faults.items[0].hint, "\\n"));
	key[40] = key[40] == 'A' ? 'B' : 'A';
	key[41] = '!';
	write_input(f, "env", key);
	assert_int_equal(fixture_validate(f), 1);
}

static void an_openssh_key_is_parsed_too(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/id", f->dir);
	const char *const argv[] = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, NULL};
	const struct proc_options options = {.argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	int status = -1;
	if (proc_run(&options, NULL, 0, 4096, &f->wait, NULL, NULL, &status, &f->err) < 0 || status != 0)
		skip();
	_cleanup_free_ char *key = fixture_read(f, "id");
	assert_int_equal(secret_key_parse(key, strlen(key), &f->err), SECRET_KEY);
	key[strlen(key) / 2] = '\0';
	_cleanup_free_ char *cut = xasprintf("%s\n-----END OPENSSH PRIVATE KEY-----\n", key);
	assert_int_equal(secret_key_parse(cut, strlen(cut), &f->err), SECRET_BAD_KEY);
	assert_int_equal(secret_key_parse("hunter2", 7, &f->err), SECRET_NOT_KEY);
}

static void other_values_are_never_mended(void **state)
{
	struct fixture *f = *state;
	write_input(f, "file", "two\r\nlines");
	assert_int_equal(fixture_validate(f), 0);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), 0);
	assert_file(f, "key", "two\r\nlines");
	assert_int_equal(fixture_mode(f, "key"), 0600);
}

static void a_directory_gets_a_file_for_each_key(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "secret-write",
	              "path: DIR/secrets\nformat: dir\nvalues: { db.password: 'p w', api-key: k }\nmode: '0640'\n");
	assert_int_equal(fixture_validate(f), 0);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 3);
	assert_int_equal(fixture_apply(f), 0);
	assert_file(f, "secrets/db.password", "p w");
	assert_int_equal(fixture_mode(f, "secrets"), 0750);
	assert_int_equal(fixture_mode(f, "secrets/api-key"), 0640);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 0);
	fixture_input(f, "secret-write",
	              "path: DIR/secrets\nformat: dir\nvalues: { api-key: k }\nmode: '0640'\nexact: true\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 1);
	assert_int_equal(fixture_apply(f), 0);
	assert_null(fixture_read(f, "secrets/db.password"));
	assert_int_equal(fixture_undo(f), 0);
	assert_file(f, "secrets/db.password", "p w");
	fixture_input(f, "secret-write", "path: DIR/secrets\nformat: dir\nvalues: { ../up: x, '.': y }\n");
	assert_int_equal(fixture_validate(f), 2);
}

static void a_mode_for_everybody_needs_consent(void **state)
{
	struct fixture *f = *state;
	fixture_input(f, "secret-write", "path: DIR/.env\nvalues: { A: x }\nmode: '0644'\n");
	assert_int_equal(fixture_validate(f), 1);
	assert_true(fixture_fault(f, "/mode", "lets everybody on the target read"));
	fixture_input(f, "secret-write",
	              "path: DIR/.env\nvalues: { A: x }\nmode: '0644'\nallow_world_readable: true\n");
	assert_int_equal(fixture_validate(f), 0);
	fixture_input(f, "secret-write",
	              "path: DIR/.env\nvalues: { A: x }\nmode: '0666'\nallow_world_readable: true\n");
	assert_int_equal(fixture_validate(f), 1);
}

static void a_link_in_the_way_is_refused(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = fs_join(f->dir, ".env");
	assert_int_equal(symlink("/etc/passwd", path), 0);
	fixture_input(f, "secret-write", "path: DIR/.env\nvalues: { A: x }\n");
	assert_int_equal(fixture_plan(f), ERR_REFUSED);
	assert_non_null(strstr(err_line(&f->err, f->text, sizeof(f->text)), "is a link to /etc/passwd"));
}

static void an_open_quote_in_the_file_that_is_there_is_named_by_its_line(void **state)
{
	struct fixture *f = *state;
	fixture_write(f, ".env", "A=1\n\nB='open\n", 0600);
	fixture_input(f, "secret-write", "path: DIR/.env\nvalues: { A: x }\n");
	assert_int_equal(fixture_plan(f), ERR_INVALID);
	assert_non_null(strstr(err_line(&f->err, f->text, sizeof(f->text)), "line 3"));
}

static void a_reader_is_served_by_group_or_acl_and_proved(void **state)
{
	struct fixture *f = *state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(f->dir, 0755), 0);
	fixture_input(f, "secret-write", "path: DIR/.env\nvalues: { A: x }\ngroup: daemon\nreadable_by: [daemon]\n");
	assert_int_equal(fixture_validate(f), 0);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), 0);
	assert_int_equal(fixture_mode(f, ".env"), 0640);
	fixture_input(f, "secret-write",
	              "path: DIR/by-owner\nvalues: { A: x }\nowner: '4711'\nreadable_by: ['4711']\n");
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(fixture_apply(f), 0);
	assert_int_equal(fixture_mode(f, "by-owner"), 0600);
	fixture_input(f, "secret-write", "path: DIR/other\nvalues: { A: x }\nreadable_by: ['4711']\n");
	if (!f->target->view.facts.has_setfacl) {
		assert_int_equal(fixture_plan(f), ERR_REFUSED);
		assert_non_null(strstr(f->err.hint, "owner: 4711"));
		return;
	}
	assert_int_equal(fixture_plan(f), 0);
	if (fixture_apply(f) < 0) {
		/* A file system without ACLs says so. */
		assert_non_null(strstr(err_line(&f->err, f->text, sizeof(f->text)), "setfacl"));
		return;
	}
	assert_int_equal(fixture_mode(f, "other"), 0640);
	assert_int_equal(fixture_plan(f), 0);
	assert_int_equal(f->plan.count, 0);
}

static void a_folder_that_stops_the_reader_is_named(void **state)
{
	struct fixture *f = *state;
	if (geteuid() != 0)
		skip();
	fixture_input(f, "secret-write", "path: DIR/.env\nvalues: { A: x }\nowner: '4711'\nreadable_by: ['4711']\n");
	assert_int_equal(chmod(f->dir, 0700), 0);
	assert_int_equal(fixture_plan(f), ERR_REFUSED);
	_cleanup_free_ char *want = xasprintf("cannot enter %s, and so not read", f->dir);
	assert_non_null(strstr(err_line(&f->err, f->text, sizeof(f->text)), want));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(values_travel_byte_for_byte_through_an_env_file),
		T(a_value_that_no_quoting_carries_is_refused_with_the_way_out),
		T(every_missing_name_is_listed_at_once),
		T(the_token_and_what_logs_in_are_never_written),
		T(existing_keys_are_kept_byte_for_byte_and_only_names_are_told),
		T(the_undo_restores_bytes_and_mode),
		T(exact_drops_what_nobody_names),
		T(generated_values_are_made_once_and_rotated_by_name_only),
		T(keys_are_parsed_and_their_line_ends_mended),
		T(an_openssh_key_is_parsed_too),
		T(other_values_are_never_mended),
		T(a_directory_gets_a_file_for_each_key),
		T(a_mode_for_everybody_needs_consent),
		T(a_link_in_the_way_is_refused),
		T(an_open_quote_in_the_file_that_is_there_is_named_by_its_line),
		T(a_reader_is_served_by_group_or_acl_and_proved),
		T(a_folder_that_stops_the_reader_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
