/* The record of an earlier environment lies on a host that says what it likes. What counts is a line that was signed by a machine which is
 * trusted here, and that speaks of the environment and the digest that are asked for. */
#include "steps/promote/promote.h"

#include "engine/record/passed.h"

struct question {
	const struct step_context *c;
	const char *name, *environment, *digest;
	const struct view *v;
	struct ed25519_pair own; /* zeros: this machine has none */
	struct agents *agents;
};

/* Why lines did not count. */
struct answer {
	const struct passed_line *found;
	size_t lines, foreign, broken, unknown;
	const struct passed_line *unknown_has; /* it speaks of the digest, and its key is nobody's */
};

static void question_done(struct question *q)
{
	ed25519_pair_done(&q->own);
	agents_freep(&q->agents);
}

static int read_keys(struct question *q, struct err *err)
{
	const char *state = q->c->deployment->state_dir;
	int r = state ? ed25519_pair_of_host(state, false, &q->own, err) : ERR_NOT_FOUND;
	if (r == ERR_NOT_FOUND)
		memset(&q->own, 0, sizeof(q->own));
	else if (r < 0)
		return r;
	err_clear(err);
	r = agents_read(state, &q->agents, err);
	if (r == ERR_NOT_FOUND)
		err_clear(err);
	return r == ERR_NOT_FOUND ? 0 : r;
}

static bool is_trusted(const struct question *q, const unsigned char key[ED25519_KEY_SIZE])
{
	static const unsigned char none[ED25519_KEY_SIZE];
	if (memcmp(key, none, sizeof(none)) == 0)
		return false;
	return memcmp(key, q->own.key, sizeof(q->own.key)) == 0 || (q->agents && agents_of_key(q->agents, key));
}

static bool is_of(const struct question *q, const struct passed_line *l)
{
	return strcmp(l->name, q->name) == 0 && strcmp(l->environment, q->environment) == 0;
}

static void judge(const struct question *q, const struct passed_line *l, struct answer *a)
{
	bool has = passed_has(l, q->digest);
	if (!is_of(q, l)) {
		a->foreign++;
	} else if (!is_trusted(q, l->key)) {
		a->unknown++;
		a->unknown_has = has ? l : a->unknown_has;
	} else if (!passed_is_signed(l)) {
		a->broken++;
	} else {
		a->lines++;
		a->found = has ? l : a->found;
	}
}

/* What the lines were that counted as nothing; a person should know of those that somebody made. */
static void tell_ignored(const struct question *q, const struct answer *a, size_t damaged)
{
	const struct {
		size_t count;
		const char *what;
	} reasons[] = {
		{a->foreign, "of another environment"},
		{a->broken, "whose signature is not of its text"},
		{a->unknown, "of a machine that is not trusted here"},
		{damaged, "that cannot be read"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].count > 0)
			q->c->report(q->c->engine, "the record of %s.%s on '%s' has %zu line%s %s: not counted",
			             q->name, q->environment, q->v->name, reasons[i].count,
			             reasons[i].count == 1 ? "" : "s", reasons[i].what);
}

static int refuse(const struct question *q, const struct answer *a, struct err *err)
{
	err_set(err, ERR_REFUSED, "%s has not passed the gate of %s.%s, as the record on '%s' says", q->digest, q->name,
	        q->environment, q->v->name);
	if (a->unknown_has == NULL)
		return err_hint(err, ERR_REFUSED,
		                "deploy it there first: a deployment whose gate passes behind its images records them");
	_cleanup_(str_done) struct str key = STR_INIT(256);
	ed25519_key_write(a->unknown_has->key, &key);
	return err_hint(err, ERR_REFUSED,
	                "a machine that is not trusted here says that it has, with the key %s: if that is what `davit "
	                "agent key` prints on the machine that deploys there, add its line to the list of agents",
	                str_peek(&key));
}

static int no_record(const struct question *q, struct err *err)
{
	err_set(err, ERR_REFUSED, "'%s' has no record of what passed the gate of %s.%s", q->v->name, q->name,
	        q->environment);
	return err_hint(
		err, ERR_REFUSED,
		"a deployment to %s.%s whose gate passes behind its images writes it; is '%s' a host of it, with "
		"the same user and `base`?",
		q->name, q->environment, q->v->name);
}

static int read_record(const struct question *q, struct view *v, struct passed *ret, struct err *err)
{
	_cleanup_free_ char *path = passed_path(v->facts.base, q->name, q->environment);
	_cleanup_(str_done) struct str text = STR_INIT(PASSED_MAX + 1);
	int r = host_read(v, path, PASSED_MAX, &text, err);
	if (r == ERR_NOT_FOUND)
		return no_record(q, err);
	if (r == 0)
		r = passed_read(str_peek(&text), text.len, ret, err);
	return r < 0 ? err_wrap(err, r, "read '%s' on '%s'", path, v->name) : 0;
}

static int ask(struct question *q, struct view *v, char **ret, struct err *err)
{
	_cleanup_(passed_done) struct passed record = {0};
	struct answer a = {0};
	int r = read_record(q, v, &record, err);
	if (r == 0)
		r = read_keys(q, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < record.count; i++)
		judge(q, &record.items[i], &a);
	tell_ignored(q, &a, record.damaged);
	if (a.found == NULL)
		return refuse(q, &a, err);
	*ret = xstrdup(a.found->deployment);
	return 0;
}

int promote_must_have_passed(const struct step_context *c, const char *digest, char **ret, struct err *err)
{
	const struct promote_passed *in = &((const struct promote_in *)c->input)->passed;
	_cleanup_(question_done) struct question q = {.c = c,
	                                              .name = in->name ? in->name : c->deployment->name,
	                                              .environment = in->environment,
	                                              .digest = digest};
	struct view *v = NULL;
	if (strcmp(q.name, c->deployment->name) == 0 && strcmp(q.environment, c->deployment->environment) == 0) {
		err_set(err, ERR_INVALID, "'passed' names %s.%s, which is what is deployed to", q.name, q.environment);
		return err_hint(err, ERR_INVALID, "name the environment that comes before it");
	}
	int r = c->look(c->engine, in->target, &v, err);
	if (r == 0 && v == NULL)
		return err_set(err, ERR_NETWORK, "target '%s' does not answer", in->target);
	if (r == 0 && v->type == NULL) {
		err_set(err, ERR_INVALID, "the target '%s' has no files: it is an API", in->target);
		r = err_hint(err, ERR_INVALID, "`passed` names a host of the earlier environment");
	}
	if (r < 0)
		return r;
	q.v = v;
	return ask(&q, v, ret, err);
}
