/* The policy file, read and checked as a whole: one that is wrong anywhere admits nothing. */
#include "agent/admission/admission_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/actions/policy.h"
#include "base/data/schema/compile.h"
#include "base/sys/fs.h"

enum { FILE_MAX = 1 << 20 };
static const char of_host[] = "/etc/davit/policy.yml";

void admission_free(struct admission *a)
{
	if (a == NULL)
		return;
	yaml_doc_free(a->doc);
	free(a);
}

void admission_freep(struct admission **a)
{
	admission_free(*a);
	*a = NULL;
}

static void check_shape(const struct yaml_doc *doc, struct faults *faults, struct err *err)
{
	_cleanup_json_ json_t *source = json_loads(schema_builtin("policy"), 0, NULL);
	_cleanup_(schema_freep) struct schema *schema = NULL;
	char line[ERR_FRAME_SIZE];
	int r = schema_compile(source, &(struct schema_options){.strict_words = true}, &schema, err);
	if (r == 0)
		r = schema_check(schema, yaml_root(doc), doc, faults, err);
	if (r < 0 && r != ERR_INVALID)
		faults_add(faults, doc, "", "%s", err_line(err, line, sizeof(line)));
}

/* A pattern that can fit nothing leaves its rule without effect, and one that refuses must not be that silently. */
static void check_patterns(const struct yaml_doc *doc, size_t index, const json_t *rule, struct faults *faults)
{
	static const struct {
		const char *name, *noun, *form;
	} slashed[] = {{"repositories", "repository", "shop/web, or shop/* for all of one owner"},
	               {"workflows", "workflow", ".github/workflows/deploy.yml, or *deploy.yml"}};
	for (size_t n = 0; n < ARRAY_SIZE(slashed); n++) {
		size_t i;
		json_t *pattern;
		json_array_foreach(json_get_array(rule, slashed[n].name), i, pattern)
		{
			char at[96];
			if (strpbrk(json_string_value(pattern), "/*?") != NULL)
				continue;
			(void)snprintf(at, sizeof(at), "/rules/%zu/%s/%zu", index, slashed[n].name, i);
			faults_add(faults, doc, at, "'%.200s' fits no %s: it has no slash", json_string_value(pattern),
			           slashed[n].noun);
			faults_hint(faults, "as in: %s", slashed[n].form);
		}
	}
}

/* What a schema cannot say. Two rules of one name could not be told apart by whom they refuse. */
static void check_rules(const struct yaml_doc *doc, struct faults *faults)
{
	const json_t *rules = json_object_get(yaml_root(doc), "rules");
	_cleanup_json_ json_t *names = json_object();
	size_t i;
	json_t *rule;
	json_array_foreach((json_t *)(uintptr_t)rules, i, rule)
	{
		const char *name = json_get_string(rule, "name"), *actions = json_get_string(rule, "actions");
		char at[64];
		struct err err = ERR_INIT;
		(void)snprintf(at, sizeof(at), "/rules/%zu/name", i);
		if (json_object_get(names, name) != NULL)
			faults_add(faults, doc, at, "another rule has the name '%s'", name);
		json_object_set_new(names, name, json_true());
		(void)snprintf(at, sizeof(at), "/rules/%zu/actions", i);
		if (actions != NULL && policy_check(actions, &err) < 0) {
			faults_add(faults, doc, at, "%s", err.frames[0].text);
			faults_hint(faults, "%s", err.hint);
		}
		check_patterns(doc, i, rule, faults);
		static const char *const of_allow[] = {"public", "forks", "steps", "actions"};
		for (size_t n = 0; json_object_get(rule, "refuse") != NULL && n < ARRAY_SIZE(of_allow); n++) {
			(void)snprintf(at, sizeof(at), "/rules/%zu/%s", i, of_allow[n]);
			if (json_object_get(rule, of_allow[n]) != NULL)
				faults_add_key(faults, doc, at, "'%s' is for rules that allow", of_allow[n]);
		}
	}
}

int admission_parse(const char *name, const char *text, size_t len, struct admission **ret, struct err *err)
{
	static const struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	_cleanup_(faults_done) struct faults faults = {0};
	struct err unable = ERR_INIT;
	int r = yaml_read(name, text, len, &limits, &doc, err);
	if (r < 0)
		return r;
	check_shape(doc, &faults, &unable);
	if (faults.count == 0)
		check_rules(doc, &faults);
	r = faults_to_err(&faults, doc, err);
	if (r < 0)
		return faults.count > 1 ? err_hint(err, r, "`davit schema check policy %s` shows all", name) : r;
	struct admission *a = xcalloc(1, sizeof(*a));
	a->doc = TAKE(doc);
	a->rules = json_object_get(yaml_root(a->doc), "rules");
	*ret = a;
	return 0;
}

/* One that cannot be looked at is there: a policy is never passed over. */
static bool is_there(const char *path)
{
	return access(path, F_OK) == 0 || errno != ENOENT;
}

char *admission_path(const char *given, const char *agent_dir)
{
	_cleanup_free_ char *own = agent_dir != NULL ? fs_join(agent_dir, "policy.yml") : NULL;
	if (given != NULL)
		return xstrdup(given);
	if (is_there(of_host))
		return xstrdup(of_host);
	return own != NULL && is_there(own) ? TAKE(own) : NULL;
}

/* Whoever can change it decides what runs here. */
static int check_owner(int fd, const char *path, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "look at %s", path);
	bool ours = st.st_uid == 0 || st.st_uid == geteuid();
	if (S_ISREG(st.st_mode) && ours && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return 0;
	int r = err_set(err, ERR_PERMISSION, "%s is not a file that only root or this user can write", path);
	return err_hint(err, r, "chown it to root and chmod it to 0644");
}

int admission_read(const char *path, struct admission **ret, struct err *err)
{
	if (path == NULL) {
		*ret = xcalloc(1, sizeof(**ret));
		return 0;
	}
	_cleanup_(str_done) struct str text = STR_INIT(FILE_MAX);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_errno(err, errno, "open the policy %s", path);
	int r = check_owner(fd, path, err);
	if (r >= 0)
		r = fs_read_fd(fd, path, FILE_MAX, &text, err);
	return r < 0 ? err_wrap(err, r, "read the policy %s", path)
	             : admission_parse(path, str_peek(&text), text.len, ret, err);
}
