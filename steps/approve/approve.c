/* approve: the deployment waits for people before its first change. The engine parks it and goes on; here it is said who is asked, and
 * whether they have agreed. */
#include "steps/approve/approve.h"

#include "base/core/clock.h"
#include "base/data/json.h"
#include "schemas/approve.h"
#include <string.h>

static const int64_t least_ms = 60 * 1000, most_ms = 30LL * 24 * 60 * 60 * 1000;

static void append_names(struct str *out, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		str_appendf(out, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
}

static void append_wanted(const struct approve_in *in, struct str *out)
{
	str_appendf(out, "%lld approval%s", (long long)in->need, in->need == 1 ? "" : "s");
	if (in->by.count > 0)
		str_append(out, " of ");
	append_names(out, in->by.items, in->by.count);
}

static void describe(const struct step_context *c, struct str *out)
{
	const struct approve_in *in = c->input;
	char time[CLOCK_TEXT_SIZE];
	str_appendf(out, "wait up to %s for ", clock_duration(in->expires_ms, time));
	append_wanted(in, out);
	if (in->message)
		str_appendf(out, ": %s", in->message);
}

static void validate(const struct step_context *c, struct faults *faults)
{
	const struct approve_in *in = c->input;
	if (in->expires_ms < least_ms || in->expires_ms > most_ms)
		faults_add(faults, NULL, "/expires", "must be from 1m to 30d");
	if (in->by.count > 0 && (size_t)in->need > in->by.count)
		faults_add(faults, NULL, "/need", "asks for more people than `by` names");
}

/* Whom the list of this machine lets agree, out of those who are asked. */
static size_t count_possible(const struct approvers *a, const struct approve_in *in, struct faults *faults)
{
	const struct strv *names = approvers_names(a);
	size_t count = 0;
	for (size_t i = 0; in->by.count == 0 && i < names->count; i++)
		count += approvers_has(a, names->items[i]);
	for (size_t i = 0; i < in->by.count; i++) {
		bool known = approvers_has(a, in->by.items[i]);
		count += known;
		if (known)
			continue;
		faults_add(faults, NULL, "/by", "'%s' is not in this machine's list of approvers", in->by.items[i]);
		faults_hint(faults, "a line `%s ssh-ed25519 KEY` or `%s github LOGIN` there", in->by.items[i],
		            in->by.items[i]);
	}
	return count;
}

/* Before anybody is asked: a deployment that nobody may agree to would only wait. */
static int check(const struct step_context *c, struct faults *faults, struct err *err)
{
	const struct approve_in *in = c->input;
	_cleanup_(approvers_freep) struct approvers *a = NULL;
	/* A plan on a machine that has no state yet. */
	if (c->deployment->state_dir == NULL)
		return 0;
	int r = approvers_read(c->deployment->state_dir, &a, err);
	if (r < 0)
		return r;
	size_t before = faults->count;
	size_t possible = count_possible(a, in, faults);
	if (faults->count == before && possible < (size_t)in->need)
		faults_add(faults, NULL, "/need", "this machine's list has %zu approver%s, and %lld are needed",
		           possible, possible == 1 ? "" : "s", (long long)in->need);
	return 0;
}

static int park(const struct step_context *c, int64_t *ret_wait_ms, json_t **ret_asked, struct err *err)
{
	const struct approve_in *in = c->input;
	(void)err;
	json_t *asked = json_pack("{s:I}", "need", (json_int_t)in->need);
	if (in->by.count > 0)
		json_object_set(asked, "by", json_object_get(c->input_json, "by"));
	if (in->message)
		json_object_set_new(asked, "message", json_string(in->message));
	*ret_wait_ms = in->expires_ms;
	*ret_asked = asked;
	return 0;
}

static int agreed(const struct step_context *c, const struct step_request *request, struct str *ret_missing,
                  struct err *err)
{
	const struct approve_in *in = c->input;
	/* Who is asked stands in what was sealed. */
	struct step_request sealed = *request;
	sealed.asked = c->input_json;
	_cleanup_(approvers_freep) struct approvers *a = NULL;
	_cleanup_(strv_done) struct strv names = {0};
	int r = approvers_read(c->deployment->state_dir, &a, err);
	if (r < 0)
		return r;
	approve_names(a, &sealed, &names);
	if (names.count >= (size_t)in->need) {
		_cleanup_(str_done) struct str who = STR_INIT(64 << 10);
		for (size_t i = 0; i < names.count; i++)
			str_appendf(&who, "%s%s", i ? ", " : "", names.items[i]);
		c->report(c->engine, "approved by %s", str_peek(&who));
		return 0;
	}
	append_wanted(in, ret_missing);
	str_appendf(ret_missing, ", and has %zu", names.count);
	return 1;
}

const struct step_type approve_step = {
	.info = &approve_info,
	.describe = describe,
	.validate = validate,
	.check = check,
	.park = park,
	.agreed = agreed,
};
