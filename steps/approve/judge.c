/* Whether what somebody said counts. It is judged when it is recorded, and again when the deployment goes on: what lies in the journal
 * proves nothing by itself, and a name may have left the list meanwhile. */
#include "steps/approve/approve.h"

#include "base/core/clock.h"
#include "base/data/json.h"
#include <string.h>

void approve_statement(const struct step_request *r, struct str *out)
{
	char until[CLOCK_TEXT_SIZE];
	str_appendf(out, "davit approval 1\ndeployment %s %s\nplan %s\nuntil %s\n", r->id, r->scope, r->digest,
	            clock_rfc3339(r->until_ms, until));
}

bool approve_is_asked(const struct step_request *r, const char *name)
{
	const json_t *by = json_object_get(r->asked, "by");
	size_t i;
	json_t *one;
	json_array_foreach((json_t *)by, i, one) if (strcmp(json_string_value(one), name) == 0) return true;
	return json_array_size(by) == 0;
}

static int judge_key(const struct approvers *a, const struct step_request *r, const json_t *approval,
                     const char **ret_name, struct err *err)
{
	_cleanup_(str_done) struct str statement = STR_INIT(APPROVE_STATEMENT_MAX);
	const char *text = json_get_string(approval, "signature");
	struct approve_signature s;
	int code = approve_signature_read(text ? text : "", &s, err);
	if (code < 0)
		return code;
	*ret_name = approvers_of_key(a, s.key);
	if (*ret_name == NULL) {
		err_set(err, ERR_AUTH, "the key is in nobody's line of this machine's list of approvers");
		return err_hint(err, ERR_AUTH, "a deployment cannot name keys: that list is the machine's");
	}
	approve_statement(r, &statement);
	return approve_signature_check(&s, str_peek(&statement), statement.len, err);
}

static int judge_comment(const struct approvers *a, const struct step_request *r, const json_t *approval,
                         const char **ret_name, struct err *err)
{
	const char *login = json_get_string(approval, "login"), *digest = json_get_string(approval, "digest");
	*ret_name = login ? approvers_of_login(a, login) : NULL;
	if (*ret_name == NULL)
		return err_set(err, ERR_AUTH, "'%s' is no login in this machine's list of approvers",
		               login ? login : "");
	return digest && strcmp(digest, r->digest) == 0
	               ? 0
	               : err_set(err, ERR_AUTH, "the comment of '%s' is about another plan", login);
}

int approve_judge(const struct approvers *a, const struct step_request *r, const json_t *approval,
                  const char **ret_name, struct err *err)
{
	const char *how = json_get_string(approval, "how");
	int code = how && strcmp(how, "comment") == 0 ? judge_comment(a, r, approval, ret_name, err)
	                                              : judge_key(a, r, approval, ret_name, err);
	if (code < 0)
		return code;
	if (!approve_is_asked(r, *ret_name))
		return err_set(err, ERR_REFUSED, "%s is not asked: `by` of the deployment names others", *ret_name);
	if (*r->asked_by && approvers_is(a, *ret_name, r->asked_by) && !approvers_may_own(a, *ret_name)) {
		err_set(err, ERR_REFUSED, "%s began this deployment, and so somebody else has to agree to it",
		        *ret_name);
		return err_hint(err, ERR_REFUSED, "a line `%s own` in this machine's list of approvers allows it",
		                *ret_name);
	}
	return 0;
}

void approve_names(const struct approvers *a, const struct step_request *r, struct strv *ret)
{
	size_t i;
	json_t *approval;
	json_array_foreach((json_t *)r->approvals, i, approval)
	{
		struct err ignored = ERR_INIT;
		const char *name;
		if (approve_judge(a, r, approval, &name, &ignored) == 0 && !strv_has(ret, name))
			strv_add(ret, name);
	}
}
