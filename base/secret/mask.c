/* secret: what is covered, and how it is found.
 *
 * Patterns of WM_MIN bytes and more are found by Wu-Manber: a window of WM_MIN bytes moves over the text by the shift
 * of its last two bytes; where the shift is 0 the patterns that begin with the window are looked up, all that have the
 * same length by one look into the table of patterns. Shorter ones, for which the window would hardly move, are looked
 * up by their first two bytes. So a job may add a hundred thousand masks, each between two lines of output: adding one
 * and finding one cost the same however many there are. Token patterns that the service sends as regular expressions go
 * through PCRE2. All three only report ranges; overlapping and touching ones become one "***". */
#include "base/secret/mask.h"

#include "base/secret/mask_forms.h"
#include "base/core/shown.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>

enum {
	WM_MIN = 6,
	BLOCKS = 1 << 16,
	SYMBOLS = 256,
	RANGES_INLINE = 64,
	MATCH_LIMIT = 100000,
	PATTERN_MAX = 100,
	SECRET_MAX = 1 << 20,        /* a longer value is covered as it is, without its derived forms */
	EXPRESSION_REACH = 64 << 10, /* a token that a pattern finds is shorter */
	SHOWN_MAX = 256 << 20,
};
static const char stars[] = "***";

struct pattern {
	char *data;
	size_t len;
};

struct expression {
	pcre2_code *code;
	pcre2_match_data *match;
};

struct mask {
	struct pattern *patterns;
	size_t count, cap, longest;
	bool short_lines; /* one was left out */
	uint32_t *slots;  /* open addressing over patterns, index + 1; no pattern stands twice */
	size_t slot_count;
	struct expression *expressions;
	size_t expression_count, expression_cap;
	struct tables *tables; /* NULL: no pattern yet */
};

/* The patterns that begin with the same WM_MIN bytes. */
struct group {
	uint64_t key;
	uint32_t only;     /* the pattern, where it is the only one */
	uint32_t *lengths; /* ascending, each once */
	size_t length_count, length_cap, count;
};

struct tables {
	uint8_t shift[BLOCKS];         /* by the last two bytes of the window */
	uint8_t short_lengths[BLOCKS]; /* by the first two bytes of a short pattern: bit L-1 for length L */
	uint8_t single[SYMBOLS];       /* patterns of one byte */
	bool has_long, has_short;
	struct group *groups;
	size_t group_count, group_cap;
	uint32_t *group_slots; /* open addressing over groups, index + 1 */
	size_t group_slot_count;
};

struct range {
	size_t from, to;
};
struct ranges {
	struct range inline_items[RANGES_INLINE], *items;
	size_t count, cap;
};

static void ranges_done(struct ranges *r)
{
	if (r->items != r->inline_items)
		free(r->items);
}

/* Nearly always in order of their start, so that merging is nearly always with the last one. */
static void ranges_add(struct ranges *r, size_t from, size_t to)
{
	if (r->count > 0) {
		struct range *last = &r->items[r->count - 1];
		if (from >= last->from && from <= last->to) {
			last->to = MAX(last->to, to);
			return;
		}
	}
	if (r->count == r->cap) {
		size_t cap = r->cap * 2;
		struct range *more = xmalloc(cap * sizeof(*more));
		memcpy(more, r->items, r->count * sizeof(*more));
		ranges_done(r);
		r->items = more;
		r->cap = cap;
	}
	r->items[r->count++] = (struct range){from, to};
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;
	return x->from < y->from ? -1 : x->from > y->from;
}

static void ranges_merge(struct ranges *r)
{
	qsort(r->items, r->count, sizeof(r->items[0]), by_start);
	size_t kept = 0;
	for (size_t i = 0; i < r->count; i++) {
		if (kept > 0 && r->items[i].from <= r->items[kept - 1].to)
			r->items[kept - 1].to = MAX(r->items[kept - 1].to, r->items[i].to);
		else
			r->items[kept++] = r->items[i];
	}
	r->count = kept;
}

static uint32_t block_of(const char *p)
{
	return (uint32_t)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

static uint64_t key_of(const char *p)
{
	uint64_t key = 0;
	memcpy(&key, p, WM_MIN);
	return key;
}

static void tables_free(struct tables *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->group_count; i++)
		free(t->groups[i].lengths);
	free(t->groups);
	free(t->group_slots);
	free(t);
}

/* ---- the table of patterns ---- */

/* FNV-1a, byte by byte. The table is at most half full. */
static const uint64_t hash_start = 14695981039346656037u;

static uint64_t hash_more(uint64_t h, char c)
{
	return (h ^ (unsigned char)c) * 1099511628211u;
}

static size_t hash_end(uint64_t h)
{
	return (size_t)(h ^ h >> 32);
}

static size_t hash_of(const char *data, size_t len)
{
	uint64_t h = hash_start;
	for (size_t i = 0; i < len; i++)
		h = hash_more(h, data[i]);
	return hash_end(h);
}

static size_t slot_for(const struct mask *m, size_t hash, const char *data, size_t len)
{
	size_t at = hash & (m->slot_count - 1);
	while (m->slots[at] != 0) {
		const struct pattern *p = &m->patterns[m->slots[at] - 1];
		if (p->len == len && memcmp(p->data, data, len) == 0)
			break;
		at = (at + 1) & (m->slot_count - 1);
	}
	return at;
}

static bool has_pattern(const struct mask *m, size_t hash, const char *data, size_t len)
{
	return m->slots[slot_for(m, hash, data, len)] != 0;
}

static void grow_slots(struct mask *m)
{
	if (m->slot_count > 2 * (m->count + 1))
		return;
	free(m->slots);
	m->slot_count = m->slot_count > 0 ? m->slot_count * 2 : 64;
	m->slots = xcalloc(m->slot_count, sizeof(m->slots[0]));
	for (size_t i = 0; i < m->count; i++) {
		const struct pattern *p = &m->patterns[i];
		m->slots[slot_for(m, hash_of(p->data, p->len), p->data, p->len)] = (uint32_t)i + 1;
	}
}

/* ---- groups ---- */

static size_t group_slot(const struct tables *t, uint64_t key)
{
	size_t at = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & (t->group_slot_count - 1);
	while (t->group_slots[at] != 0 && t->groups[t->group_slots[at] - 1].key != key)
		at = (at + 1) & (t->group_slot_count - 1);
	return at;
}

static const struct group *find_group(const struct tables *t, uint64_t key)
{
	uint32_t index = t->group_slots[group_slot(t, key)];
	return index != 0 ? &t->groups[index - 1] : NULL;
}

static struct group *make_group(struct tables *t, uint64_t key)
{
	if (t->group_slot_count <= 2 * (t->group_count + 1)) {
		free(t->group_slots);
		t->group_slot_count = t->group_slot_count > 0 ? t->group_slot_count * 2 : 64;
		t->group_slots = xcalloc(t->group_slot_count, sizeof(t->group_slots[0]));
		for (size_t i = 0; i < t->group_count; i++)
			t->group_slots[group_slot(t, t->groups[i].key)] = (uint32_t)i + 1;
	}
	size_t slot = group_slot(t, key);
	if (t->group_slots[slot] == 0) {
		t->groups = xgrow(t->groups, &t->group_cap, t->group_count + 1, sizeof(t->groups[0]));
		t->groups[t->group_count++] = (struct group){.key = key};
		t->group_slots[slot] = (uint32_t)t->group_count;
	}
	return &t->groups[t->group_slots[slot] - 1];
}

static void add_length(struct group *g, uint32_t len)
{
	size_t low = 0, high = g->length_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (g->lengths[middle] < len)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < g->length_count && g->lengths[low] == len)
		return;
	g->lengths = xgrow(g->lengths, &g->length_cap, g->length_count + 1, sizeof(g->lengths[0]));
	memmove(&g->lengths[low + 1], &g->lengths[low], (g->length_count - low) * sizeof(g->lengths[0]));
	g->lengths[low] = len;
	g->length_count++;
}

static void index_long(struct tables *t, const struct pattern *p, uint32_t index)
{
	t->has_long = true;
	for (size_t at = 0; at + 2 <= WM_MIN; at++) {
		uint8_t *shift = &t->shift[block_of(p->data + at)];
		*shift = MIN(*shift, (uint8_t)(WM_MIN - 2 - at));
	}
	struct group *g = make_group(t, key_of(p->data));
	g->only = index;
	g->count++;
	add_length(g, (uint32_t)p->len);
}

static void index_short(struct tables *t, const struct pattern *p)
{
	uint8_t bit = (uint8_t)(1 << (p->len - 1));
	t->has_short = true;
	if (p->len > 1) {
		t->short_lengths[block_of(p->data)] |= bit;
		return;
	}
	unsigned first = (unsigned char)p->data[0];
	t->single[first] = bit;
	for (unsigned c = 0; c < SYMBOLS; c++)
		t->short_lengths[first << 8 | c] |= bit;
}

static void index_pattern(struct mask *m, uint32_t index)
{
	if (m->tables == NULL) {
		m->tables = xcalloc(1, sizeof(*m->tables));
		memset(m->tables->shift, WM_MIN - 1, sizeof(m->tables->shift));
	}
	const struct pattern *p = &m->patterns[index];
	if (p->len >= WM_MIN)
		index_long(m->tables, p, index);
	else
		index_short(m->tables, p);
}

/* The longest pattern of the group that stands there; 0: none. */
static size_t longest_of(const struct mask *m, const struct group *g, const char *text, size_t left)
{
	if (g->count == 1) {
		const struct pattern *p = &m->patterns[g->only];
		return p->len <= left && memcmp(text, p->data, p->len) == 0 ? p->len : 0;
	}
	size_t longest = 0, k = 0;
	uint64_t h = hash_start;
	for (size_t i = 0; i < g->length_count && g->lengths[i] <= left; i++) {
		for (; k < g->lengths[i]; k++)
			h = hash_more(h, text[k]);
		if (has_pattern(m, hash_end(h), text, k))
			longest = k;
	}
	return longest;
}

static void find_long(const struct mask *m, const struct tables *t, const char *text, size_t len, struct ranges *found)
{
	if (!t->has_long)
		return;
	for (size_t at = 0; at + WM_MIN <= len;) {
		uint8_t shift = t->shift[block_of(text + at + WM_MIN - 2)];
		if (shift > 0) {
			at += shift;
			continue;
		}
		const struct group *g = find_group(t, key_of(text + at));
		size_t longest = g != NULL ? longest_of(m, g, text + at, len - at) : 0;
		if (longest > 0)
			ranges_add(found, at, at + longest);
		at++;
	}
}

static size_t longest_short(const struct mask *m, unsigned lengths, const char *text, size_t left)
{
	for (size_t n = MIN(left, (size_t)WM_MIN - 1); n > 2; n--)
		if ((lengths & 1u << (n - 1)) != 0 && has_pattern(m, hash_of(text, n), text, n))
			return n;
	if (left >= 2 && (lengths & 2) != 0)
		return 2;
	return lengths & 1;
}

static void find_short(const struct mask *m, const struct tables *t, const char *text, size_t len, struct ranges *found)
{
	if (!t->has_short)
		return;
	for (size_t at = 0; at < len; at++) {
		unsigned lengths =
			at + 1 < len ? t->short_lengths[block_of(text + at)] : t->single[(unsigned char)text[at]];
		size_t longest = lengths != 0 ? longest_short(m, lengths, text + at, len - at) : 0;
		if (longest > 0)
			ranges_add(found, at, at + longest);
	}
}

static void find_expressions(const struct mask *m, const char *text, size_t len, struct ranges *found)
{
	static pcre2_match_context *context;
	if (m->expression_count > 0 && context == NULL) {
		context = pcre2_match_context_create(NULL);
		if (context != NULL)
			pcre2_set_match_limit(context, MATCH_LIMIT);
	}
	for (size_t i = 0; i < m->expression_count; i++) {
		const struct expression *e = &m->expressions[i];
		for (size_t at = 0; at < len;) {
			if (pcre2_match(e->code, (PCRE2_SPTR)text, len, at, 0, e->match, context) < 0)
				break;
			const PCRE2_SIZE *where = pcre2_get_ovector_pointer(e->match);
			if (where[1] > where[0])
				ranges_add(found, where[0], where[1]);
			at = where[0] + 1;
		}
	}
}

static void find_all(const struct mask *m, const char *text, size_t len, struct ranges *found)
{
	found->items = found->inline_items;
	found->count = 0;
	found->cap = RANGES_INLINE;
	if (m->tables != NULL) {
		find_long(m, m->tables, text, len, found);
		find_short(m, m->tables, text, len, found);
	}
	find_expressions(m, text, len, found);
}

void mask_apply(const struct mask *m, const char *text, size_t len, struct str *out)
{
	if (mask_is_empty(m)) {
		str_append_n(out, text, len);
		return;
	}
	struct ranges found;
	find_all(m, text, len, &found);
	ranges_merge(&found);
	size_t at = 0;
	for (size_t i = 0; i < found.count; i++) {
		str_append_n(out, text + at, found.items[i].from - at);
		str_append(out, stars);
		at = found.items[i].to;
	}
	str_append_n(out, text + at, len - at);
	ranges_done(&found);
}

size_t mask_cut(const struct mask *m, const char *text, size_t len)
{
	size_t reach = MAX(m->longest, m->expression_count > 0 ? (size_t)EXPRESSION_REACH : (size_t)1);
	if (len <= reach)
		return 0;
	size_t at = str_whole_characters(text, len - reach);
	if (mask_is_empty(m))
		return at;
	struct ranges found;
	find_all(m, text, len, &found);
	ranges_merge(&found);
	for (size_t i = 0; i < found.count; i++)
		if (found.items[i].from < at && at < found.items[i].to)
			at = found.items[i].from;
	ranges_done(&found);
	return at;
}

bool mask_finds(const struct mask *m, const char *text, size_t len)
{
	if (mask_is_empty(m))
		return false;
	struct ranges found;
	find_all(m, text, len, &found);
	bool any = found.count > 0;
	ranges_done(&found);
	return any;
}

bool mask_is_empty(const struct mask *m)
{
	return m->count == 0 && m->expression_count == 0;
}

void mask_add_plain(struct mask *m, const char *value, size_t len)
{
	if (len == 0)
		return;
	grow_slots(m);
	size_t slot = slot_for(m, hash_of(value, len), value, len);
	if (len > UINT32_MAX || m->slots[slot] != 0)
		return;
	m->patterns = xgrow(m->patterns, &m->cap, m->count + 1, sizeof(m->patterns[0]));
	m->patterns[m->count++] = (struct pattern){xmemdup(value, len), len};
	m->slots[slot] = (uint32_t)m->count;
	m->longest = MAX(m->longest, len);
	index_pattern(m, (uint32_t)m->count - 1);
}

static void add_form(void *context, const char *form, size_t len)
{
	mask_add_plain(context, form, len);
}

static void add_with_forms(struct mask *m, const char *value, size_t len)
{
	mask_add_plain(m, value, len);
	if (len <= SECRET_MAX)
		mask_forms(value, len, add_form, m);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

static void trim(const char **p, size_t *len)
{
	while (*len > 0 && is_blank((*p)[0])) {
		(*p)++;
		(*len)--;
	}
	while (*len > 0 && is_blank((*p)[*len - 1]))
		(*len)--;
}

static size_t count_characters(const char *text, size_t len)
{
	size_t count = 0;
	for (size_t i = 0; i < len; i++)
		count += ((unsigned char)text[i] & 0xc0) != 0x80;
	return count;
}

static void add_line(struct mask *m, const char *line, size_t len)
{
	if (len == 0)
		return;
	if (count_characters(line, len) < MASK_LINE_MIN)
		m->short_lines = true;
	else
		add_with_forms(m, line, len);
}

bool mask_has_short_lines(const struct mask *m)
{
	return m->short_lines;
}

void mask_add(struct mask *m, const char *value, size_t len)
{
	const char *whole = value;
	size_t whole_len = len;
	trim(&whole, &whole_len);
	if (whole_len == 0)
		return;
	if (whole_len != len)
		mask_add_plain(m, value, len);
	add_with_forms(m, whole, whole_len);
	for (size_t from = 0; from < whole_len;) {
		size_t to = from;
		while (to < whole_len && whole[to] != '\n' && whole[to] != '\r')
			to++;
		const char *line = whole + from;
		size_t line_len = to - from;
		trim(&line, &line_len);
		if (line_len < whole_len)
			add_line(m, line, line_len);
		from = to + 1;
	}
}

int mask_add_pattern(struct mask *m, const char *pattern, struct err *err)
{
	if (m->expression_count >= PATTERN_MAX)
		return err_set(err, ERR_LIMIT, "more than %d mask patterns", PATTERN_MAX);
	int code = 0;
	PCRE2_SIZE at = 0;
	pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
	                                     PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code, &at, NULL);
	if (compiled == NULL)
		return err_set(err, ERR_INVALID, "mask pattern: not understood at offset %zu (PCRE2 error %d)", at,
		               code);
	pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* where there is no JIT it is interpreted */
	pcre2_match_data *match = pcre2_match_data_create_from_pattern(compiled, NULL);
	if (match == NULL)
		abort();
	m->expressions = xgrow(m->expressions, &m->expression_cap, m->expression_count + 1, sizeof(m->expressions[0]));
	m->expressions[m->expression_count++] = (struct expression){compiled, match};
	return 0;
}

struct mask *mask_new(void)
{
	return xcalloc(1, sizeof(struct mask));
}

void mask_free(struct mask *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->count; i++) {
		explicit_bzero(m->patterns[i].data, m->patterns[i].len);
		free(m->patterns[i].data);
	}
	for (size_t i = 0; i < m->expression_count; i++) {
		pcre2_match_data_free(m->expressions[i].match);
		pcre2_code_free(m->expressions[i].code);
	}
	free(m->expressions);
	free(m->patterns);
	free(m->slots);
	tables_free(m->tables);
	free(m);
}

void mask_freep(struct mask **m)
{
	mask_free(*m);
}

static struct mask *process;

static void mask_process_apply(const char *text, size_t len, struct str *out)
{
	mask_apply(process, text, len, out);
}

struct mask *mask_process(void)
{
	if (process == NULL) {
		process = mask_new();
		shown_set_mask(mask_process_apply);
	}
	return process;
}
