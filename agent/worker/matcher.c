#include "agent/worker/matcher.h"

#include "base/data/schema/pattern.h"

#include <strings.h>

enum { MATCHERS_MAX = 200, PATTERNS_MAX = 50, OWNER_MAX = 200, GROUPS_MAX = 100, TIMEOUTS = 3, NO_GROUP = -1 };
/* What all states of a job hold together. A repository chooses the patterns and the lines: 200 matchers of 50 would keep gigabytes. */
enum { HELD_MAX = 4 << 20 };

static const char *const names[MATCHER_FIELDS] = {"fromPath", "file", "line", "column", "severity", "code", "message"};

struct matcher_pattern {
	struct pattern *regexp;
	int groups[MATCHER_FIELDS]; /* of the match; NO_GROUP */
	bool loop;
};
/* What was found behind a pattern that is not the last. */
struct matcher_state {
	struct matcher_result found;
	bool begun; /* there is such a state */
};
struct matcher {
	char *owner, *severity, *from_path;
	struct matcher_pattern *patterns;
	struct matcher_state *states;  /* behind each pattern but the last, of the trail that is followed now */
	struct matcher_state **trails; /* those of all; NULL: nothing of it was looked at */
	size_t trail_count, trail_cap;
	size_t count;
	size_t held; /* bytes of what its states have found */
	int timeouts;
};
/* The newest first. */
struct matchers {
	struct matcher *all;
	size_t count, cap;
	size_t trail; /* the lines that are looked at now are of it */
};

/* ---- life ---- */

void matcher_result_done(struct matcher_result *r)
{
	for (size_t i = 0; i < MATCHER_FIELDS; i++)
		free(TAKE(r->fields[i]));
}

static size_t size_of(const struct matcher_result *r)
{
	size_t size = 0;
	for (size_t i = 0; i < MATCHER_FIELDS; i++)
		size += r->fields[i] != NULL ? strlen(r->fields[i]) + 1 : 0;
	return size;
}

static void forget_state(struct matcher *m, size_t index)
{
	m->held -= size_of(&m->states[index].found);
	matcher_result_done(&m->states[index].found);
	m->states[index].begun = false;
}

static void reset(struct matcher *m)
{
	for (size_t i = 0; i + 1 < m->count; i++)
		forget_state(m, i);
}

static void follow(struct matcher *m, size_t trail)
{
	m->trails = xgrow(m->trails, &m->trail_cap, trail + 1, sizeof(m->trails[0]));
	while (m->trail_count <= trail)
		m->trails[m->trail_count++] = NULL;
	if (m->trails[trail] == NULL)
		m->trails[trail] = xcalloc(m->count, sizeof(m->states[0]));
	m->states = m->trails[trail];
}

static void forget(struct matcher *m, size_t trail)
{
	if (trail >= m->trail_count || m->trails[trail] == NULL)
		return;
	m->states = m->trails[trail];
	reset(m);
	free(TAKE(m->trails[trail]));
	m->states = NULL;
}

void matchers_follow(struct matchers *m, size_t trail)
{
	if (m != NULL)
		m->trail = trail;
}

void matchers_forget(struct matchers *m, size_t trail)
{
	for (size_t i = 0; m != NULL && i < m->count; i++)
		forget(&m->all[i], trail);
}

static void matcher_done(struct matcher *m)
{
	for (size_t trail = 0; trail < m->trail_count; trail++)
		forget(m, trail);
	for (size_t i = 0; i < m->count; i++)
		pattern_free(m->patterns[i].regexp);
	free(m->patterns);
	free(m->trails);
	free(m->owner);
	free(m->severity);
	free(m->from_path);
}

void matchers_free(struct matchers *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->count; i++)
		matcher_done(&m->all[i]);
	free(m->all);
	free(m);
}

bool matchers_any(const struct matchers *m)
{
	return m != NULL && m->count > 0;
}

static void remove_at(struct matchers *m, size_t index)
{
	matcher_done(&m->all[index]);
	m->count--;
	memmove(&m->all[index], &m->all[index + 1], (m->count - index) * sizeof(m->all[0]));
}

void matchers_remove(struct matchers *m, const char *owner)
{
	for (size_t i = 0; m != NULL && i < m->count; i++)
		if (strcasecmp(m->all[i].owner, owner) == 0) {
			remove_at(m, i);
			return;
		}
}

/* ---- reading ---- */

static bool is_severity(const char *text)
{
	return text[0] == '\0' || strcasecmp(text, "error") == 0 || strcasecmp(text, "warning") == 0 ||
	       strcasecmp(text, "notice") == 0;
}

static int read_group(const json_t *value, const char *name, int groups, int *ret, struct err *err)
{
	long long number = -1;
	*ret = NO_GROUP;
	if (value == NULL || json_is_null(value))
		return 0;
	if (json_is_integer(value))
		number = json_integer_value(value);
	else if (!json_is_string(value) || !str_parse_i64(json_string_value(value), 0, GROUPS_MAX, &number))
		number = -1;
	if (number < 0 || number >= groups)
		return err_set(err, ERR_INVALID, "'%s' is no group of the pattern, which has 0 to %d", name,
		               groups - 1);
	*ret = (int)number;
	return 0;
}

static int read_pattern(const json_t *value, struct matcher_pattern *ret, struct err *err)
{
	const char *text = json_get_string(value, "regexp");
	if (text == NULL || text[0] == '\0')
		return err_set(err, ERR_INVALID, "a pattern has no 'regexp'");
	int r = pattern_compile(text, strlen(text), &ret->regexp, err);
	if (r < 0)
		return err_wrap(err, r, "regexp '%.80s'", text);
	ret->loop = json_get_bool(value, "loop", false);
	int groups = pattern_group_count(ret->regexp) + 1;
	if (groups > GROUPS_MAX)
		return err_set(err, ERR_LIMIT, "a pattern has more than %d groups", GROUPS_MAX - 1);
	for (size_t i = 0; r == 0 && i < MATCHER_FIELDS; i++)
		r = read_group(json_object_get(value, names[i]), names[i], groups, &ret->groups[i], err);
	return r;
}

static int check_patterns(const struct matcher *m, struct err *err)
{
	int sets[MATCHER_FIELDS] = {0};
	for (size_t i = 0; i < m->count; i++) {
		const struct matcher_pattern *p = &m->patterns[i];
		bool last = i + 1 == m->count;
		if (p->loop && (!last || m->count < 2))
			return err_set(err, ERR_INVALID, "'loop' is for the last of several patterns only");
		if (p->loop && p->groups[MATCHER_MESSAGE] == NO_GROUP)
			return err_set(err, ERR_INVALID, "a pattern with 'loop' must set 'message'");
		for (size_t f = 0; f < MATCHER_FIELDS; f++)
			if (p->groups[f] != NO_GROUP && sets[f]++ > 0)
				return err_set(err, ERR_INVALID, "'%s' is set by several patterns", names[f]);
	}
	return sets[MATCHER_MESSAGE] > 0 ? 0 : err_set(err, ERR_INVALID, "no pattern sets 'message'");
}

static int read_patterns(const json_t *value, struct matcher *ret, struct err *err)
{
	const json_t *list = json_get_array(value, "pattern");
	size_t i, count = json_array_size(list);
	json_t *one;
	if (count == 0)
		return err_set(err, ERR_INVALID, "there is no pattern");
	if (count > PATTERNS_MAX)
		return err_set(err, ERR_LIMIT, "there are more than %d patterns", PATTERNS_MAX);
	ret->patterns = xcalloc(count, sizeof(ret->patterns[0]));
	json_array_foreach((json_t *)(uintptr_t)list, i, one)
	{
		ret->count++;
		int r = read_pattern(one, &ret->patterns[i], err);
		if (r < 0)
			return r;
	}
	return check_patterns(ret, err);
}

static int read_matcher(const json_t *value, struct matcher *ret, struct err *err)
{
	const char *owner = json_get_string(value, "owner"), *severity = json_get_string(value, "severity");
	if (owner == NULL || owner[0] == '\0' || strlen(owner) > OWNER_MAX)
		return err_set(err, ERR_INVALID, "a problem matcher has no 'owner', or a long one");
	ret->owner = xstrdup(owner);
	ret->severity = xstrdup(severity);
	ret->from_path = xstrdup(json_get_string(value, "fromPath"));
	int r = severity != NULL && !is_severity(severity)
	                ? err_set(err, ERR_INVALID, "its severity '%.40s' is neither error, warning nor notice",
	                          severity)
	                : read_patterns(value, ret, err);
	return r < 0 ? err_wrap(err, r, "the problem matcher '%s'", owner) : 0;
}

static int read_all(const json_t *document, struct matchers *ret, struct err *err)
{
	size_t i;
	json_t *one;
	const json_t *member = json_object_get(document, "problemMatcher"),
		     *list = json_get_array(document, "problemMatcher");
	/* The official runner takes a file without any. */
	if (list == NULL && (!json_is_object(document) || (member != NULL && !json_is_null(member))))
		return err_set(err, ERR_INVALID, "'problemMatcher' is no list");
	if (json_array_size(list) > MATCHERS_MAX)
		return err_set(err, ERR_LIMIT, "there are more than %d problem matchers", MATCHERS_MAX);
	ret->all = xcalloc(json_array_size(list), sizeof(ret->all[0]));
	json_array_foreach((json_t *)(uintptr_t)list, i, one)
	{
		struct matcher *m = &ret->all[ret->count++];
		int r = read_matcher(one, m, err);
		for (size_t k = 0; r == 0 && k < i; k++)
			if (strcasecmp(ret->all[k].owner, m->owner) == 0)
				r = err_set(err, ERR_INVALID, "there are two problem matchers '%s'", m->owner);
		if (r < 0)
			return r;
	}
	return 0;
}

int matchers_add(struct matchers **m, const json_t *document, struct err *err)
{
	struct matchers *read = xcalloc(1, sizeof(*read));
	int r = read_all(document, read, err);
	for (size_t i = 0; r == 0 && i < read->count; i++)
		matchers_remove(*m, read->all[i].owner);
	size_t others = r == 0 && *m != NULL ? (*m)->count : 0;
	if (r == 0 && read->count + others > MATCHERS_MAX)
		r = err_set(err, ERR_LIMIT, "this job has more than %d problem matchers", MATCHERS_MAX);
	if (r < 0) {
		matchers_free(read);
		return r;
	}
	read->all = xrealloc(read->all, (read->count + others + 1) * sizeof(read->all[0]));
	for (size_t i = 0; i < others; i++)
		read->all[read->count++] = (*m)->all[i];
	if (*m != NULL) {
		read->trail = (*m)->trail;
		(*m)->count = 0; /* they have moved */
	}
	matchers_free(*m);
	*m = read;
	return 0;
}

char *matchers_owners(const json_t *document)
{
	struct str out = STR_INIT(MATCHERS_MAX * (OWNER_MAX + 2));
	size_t i;
	json_t *one;
	json_array_foreach(json_get_array(document, "problemMatcher"), i, one)
	{
		const char *owner = json_get_string(one, "owner");
		str_appendf(&out, "%s%.*s", i > 0 ? ", " : "", OWNER_MAX, owner != NULL ? owner : "");
	}
	return str_take(&out);
}

/* ---- matching ---- */

/* What was found before stands; the groups of this pattern are added. */
static void take_groups(const struct matcher_pattern *p, const struct matcher_result *before, const char *line,
                        const struct pattern_span *spans, struct matcher_result *ret)
{
	struct matcher_result result = {{NULL}};
	for (size_t f = 0; f < MATCHER_FIELDS; f++) {
		const struct pattern_span *s = p->groups[f] != NO_GROUP ? &spans[p->groups[f]] : NULL;
		if (before != NULL && before->fields[f] != NULL)
			result.fields[f] = xstrdup(before->fields[f]);
		else if (s != NULL)
			result.fields[f] = s->found ? xstrndup(line + s->from, s->to - s->from) : xstrdup("");
	}
	matcher_result_done(ret);
	*ret = result;
}

static void add_defaults(const struct matcher *m, struct matcher_result *r)
{
	const char *const own[][2] = {{m->severity, "severity"}, {m->from_path, "fromPath"}};
	static const enum matcher_field fields[] = {MATCHER_SEVERITY, MATCHER_FROM_PATH};
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		char **field = &r->fields[fields[i]];
		if ((*field == NULL || (*field)[0] == '\0') && own[i][0] != NULL) {
			free(*field);
			*field = xstrdup(own[i][0]);
		}
	}
}

static size_t held_by_all(const struct matchers *all)
{
	size_t held = 0;
	for (size_t i = 0; i < all->count; i++)
		held += all->all[i].held;
	return held;
}

/* Behind pattern i, if there is room for it; else the match is given up. */
static void keep_state(const struct matchers *all, struct matcher *m, size_t i, const struct matcher_result *before,
                       const char *line, const struct pattern_span *spans)
{
	struct matcher_result found = {{NULL}};
	take_groups(&m->patterns[i], before, line, spans, &found);
	forget_state(m, i);
	size_t size = size_of(&found);
	if (held_by_all(all) + size > HELD_MAX) {
		matcher_result_done(&found);
		return;
	}
	m->held += size;
	m->states[i] = (struct matcher_state){.found = found, .begun = true};
}

/* From the last pattern to the first, so that a line that ends one match may begin the next. */
static bool match(const struct matchers *all, struct matcher *m, const char *line, size_t len,
                  struct matcher_result *ret, bool *ret_slow)
{
	struct pattern_span spans[GROUPS_MAX];
	for (size_t i = m->count; i-- > 0;) {
		const struct matcher_pattern *p = &m->patterns[i];
		const struct matcher_result *before = i > 0 ? &m->states[i - 1].found : NULL;
		bool last = i + 1 == m->count;
		if (i > 0 && !m->states[i - 1].begun)
			continue;
		int found = pattern_find(p->regexp, line, len, spans, ARRAY_SIZE(spans), NULL);
		*ret_slow |= found == ERR_LIMIT;
		if (found == 1 && last) {
			take_groups(p, before, line, spans, ret);
			struct matcher_result kept = {{NULL}};
			if (p->loop) {
				kept = m->states[i - 1].found;
				m->states[i - 1].found = (struct matcher_result){{NULL}};
			}
			reset(m);
			if (p->loop) {
				m->states[i - 1] = (struct matcher_state){.found = kept, .begun = true};
			}
			add_defaults(m, ret);
			return true;
		}
		if (found == 1) {
			keep_state(all, m, i, before, line, spans);
		} else if (last && i > 0) {
			forget_state(m, i - 1);
		} else if (!last) {
			forget_state(m, i);
		}
	}
	return false;
}

bool matchers_look(struct matchers *m, const char *line, size_t len, size_t *at, struct matcher_result *ret,
                   char **ret_given_up)
{
	*ret_given_up = NULL;
	while (*at < m->count) {
		struct matcher *one = &m->all[*at];
		follow(one, m->trail);
		bool slow = false, found = match(m, one, line, len, ret, &slow);
		if (slow && ++one->timeouts == TIMEOUTS) {
			*ret_given_up = xstrdup(one->owner);
			remove_at(m, *at);
			return found;
		}
		(*at)++;
		if (!found)
			continue;
		for (size_t i = 0; i < m->count; i++)
			if (&m->all[i] != one)
				forget(&m->all[i], m->trail);
		return true;
	}
	return false;
}
