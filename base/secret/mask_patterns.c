/* mask_patterns: every STEP-th block of BLOCK bytes of a text is looked up among the blocks that lie in the first WINDOW
 * bytes of a pattern. A pattern of WINDOW bytes and more cannot stand in the text without one of its first STEP blocks
 * being looked at; the table says which ones, and so where a pattern may begin. There those that begin with the same
 * WINDOW bytes are looked up, all of one length by one look into the table of patterns. Shorter ones are looked up by
 * their first two bytes at each place. */
#include "base/secret/mask_patterns.h"

#include <string.h>

enum {
	WINDOW = 6,
	BLOCK = 3,
	STEP = WINDOW - BLOCK + 1,
	MARK_BITS = 16,
	PAIRS = 1 << 16,
	SYMBOLS = 256,
};

struct pattern {
	char *data;
	size_t len;
};

/* The patterns that begin with the same WINDOW bytes. */
struct group {
	uint64_t key;
	uint32_t only;     /* the pattern, where it is the only one */
	uint32_t *lengths; /* ascending, each once */
	size_t length_count, length_cap, count;
};

struct patterns {
	struct pattern *items;
	size_t count, cap, longest;
	uint32_t *slots; /* open addressing over items, index + 1; no pattern stands twice */
	size_t slot_count;
	uint8_t marks[1 << MARK_BITS]; /* by a block's hash: bit K where it lies at K of a pattern */
	uint8_t short_lengths[PAIRS];  /* by the first two bytes of a short pattern: bit L-1 for length L */
	uint8_t single[SYMBOLS];       /* patterns of one byte */
	bool has_long, has_short;
	struct group *groups;
	size_t group_count, group_cap;
	uint32_t *group_slots; /* open addressing over groups, index + 1 */
	size_t group_slot_count;
};

struct patterns *mask_patterns_new(void)
{
	return xcalloc(1, sizeof(struct patterns));
}

void mask_patterns_free(struct patterns *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->count; i++) {
		explicit_bzero(p->items[i].data, p->items[i].len);
		free(p->items[i].data);
	}
	for (size_t i = 0; i < p->group_count; i++)
		free(p->groups[i].lengths);
	free(p->groups);
	free(p->group_slots);
	free(p->items);
	free(p->slots);
	free(p);
}

size_t mask_patterns_count(const struct patterns *p)
{
	return p->count;
}

size_t mask_patterns_longest(const struct patterns *p)
{
	return p->longest;
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

static size_t slot_for(const struct patterns *p, size_t hash, const char *data, size_t len)
{
	size_t at = hash & (p->slot_count - 1);
	while (p->slots[at] != 0) {
		const struct pattern *item = &p->items[p->slots[at] - 1];
		if (item->len == len && memcmp(item->data, data, len) == 0)
			break;
		at = (at + 1) & (p->slot_count - 1);
	}
	return at;
}

static bool has_pattern(const struct patterns *p, size_t hash, const char *data, size_t len)
{
	return p->slots[slot_for(p, hash, data, len)] != 0;
}

static void grow_slots(struct patterns *p)
{
	if (p->slot_count > 2 * (p->count + 1))
		return;
	free(p->slots);
	p->slot_count = p->slot_count > 0 ? p->slot_count * 2 : 64;
	p->slots = xcalloc(p->slot_count, sizeof(p->slots[0]));
	for (size_t i = 0; i < p->count; i++) {
		const struct pattern *item = &p->items[i];
		p->slots[slot_for(p, hash_of(item->data, item->len), item->data, item->len)] = (uint32_t)i + 1;
	}
}

/* ---- groups ---- */

static uint64_t key_of(const char *at)
{
	uint64_t key = 0;
	memcpy(&key, at, WINDOW);
	return key;
}

static size_t group_slot(const struct patterns *p, uint64_t key)
{
	size_t at = (size_t)(key * 0x9e3779b97f4a7c15u >> 20) & (p->group_slot_count - 1);
	while (p->group_slots[at] != 0 && p->groups[p->group_slots[at] - 1].key != key)
		at = (at + 1) & (p->group_slot_count - 1);
	return at;
}

static const struct group *find_group(const struct patterns *p, uint64_t key)
{
	uint32_t index = p->group_slots[group_slot(p, key)];
	return index != 0 ? &p->groups[index - 1] : NULL;
}

static struct group *make_group(struct patterns *p, uint64_t key)
{
	if (p->group_slot_count <= 2 * (p->group_count + 1)) {
		free(p->group_slots);
		p->group_slot_count = p->group_slot_count > 0 ? p->group_slot_count * 2 : 64;
		p->group_slots = xcalloc(p->group_slot_count, sizeof(p->group_slots[0]));
		for (size_t i = 0; i < p->group_count; i++)
			p->group_slots[group_slot(p, p->groups[i].key)] = (uint32_t)i + 1;
	}
	size_t slot = group_slot(p, key);
	if (p->group_slots[slot] == 0) {
		p->groups = xgrow(p->groups, &p->group_cap, p->group_count + 1, sizeof(p->groups[0]));
		p->groups[p->group_count++] = (struct group){.key = key};
		p->group_slots[slot] = (uint32_t)p->group_count;
	}
	return &p->groups[p->group_slots[slot] - 1];
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

/* ---- adding one ---- */

static uint32_t mark_of(const char *at)
{
	uint32_t block = (uint32_t)(unsigned char)at[0] | (uint32_t)(unsigned char)at[1] << 8 |
	                 (uint32_t)(unsigned char)at[2] << 16;
	return block * 0x9e3779b1u >> (32 - MARK_BITS);
}

static uint32_t pair_of(const char *at)
{
	return (uint32_t)(unsigned char)at[0] << 8 | (unsigned char)at[1];
}

static void index_long(struct patterns *p, const struct pattern *item, uint32_t index)
{
	p->has_long = true;
	for (size_t at = 0; at < STEP; at++)
		p->marks[mark_of(item->data + at)] |= (uint8_t)(1u << at);
	struct group *g = make_group(p, key_of(item->data));
	g->only = index;
	g->count++;
	add_length(g, (uint32_t)item->len);
}

static void index_short(struct patterns *p, const struct pattern *item)
{
	uint8_t bit = (uint8_t)(1 << (item->len - 1));
	p->has_short = true;
	if (item->len > 1) {
		p->short_lengths[pair_of(item->data)] |= bit;
		return;
	}
	unsigned first = (unsigned char)item->data[0];
	p->single[first] = bit;
	for (unsigned c = 0; c < SYMBOLS; c++)
		p->short_lengths[first << 8 | c] |= bit;
}

void mask_patterns_add(struct patterns *p, const char *data, size_t len)
{
	if (len == 0 || len > UINT32_MAX)
		return;
	grow_slots(p);
	size_t slot = slot_for(p, hash_of(data, len), data, len);
	if (p->slots[slot] != 0)
		return;
	p->items = xgrow(p->items, &p->cap, p->count + 1, sizeof(p->items[0]));
	p->items[p->count++] = (struct pattern){xmemdup(data, len), len};
	p->slots[slot] = (uint32_t)p->count;
	p->longest = MAX(p->longest, len);
	if (len >= WINDOW)
		index_long(p, &p->items[p->count - 1], (uint32_t)p->count - 1);
	else
		index_short(p, &p->items[p->count - 1]);
}

/* ---- finding them ---- */

/* The length of the rest at `at`: of the text, or of its line. */
static size_t rest(const char *at, size_t left, bool by_line)
{
	const char *end = by_line ? memchr(at, '\n', left) : NULL;
	return end != NULL ? (size_t)(end - at) : left;
}

/* The longest pattern of the group that matches there; 0: none. */
static size_t longest_of(const struct patterns *p, const struct group *g, const char *text, size_t left)
{
	if (g->count == 1) {
		const struct pattern *item = &p->items[g->only];
		return item->len <= left && memcmp(text, item->data, item->len) == 0 ? item->len : 0;
	}
	size_t longest = 0, k = 0;
	uint64_t h = hash_start;
	for (size_t i = 0; i < g->length_count && g->lengths[i] <= left; i++) {
		for (; k < g->lengths[i]; k++)
			h = hash_more(h, text[k]);
		if (has_pattern(p, hash_end(h), text, k))
			longest = k;
	}
	return longest;
}

/* A block at `at` belongs to patterns: those that begin up to STEP - 1 bytes before it are looked up, in their order. */
static void look_around(const struct patterns *p, const char *text, size_t len, size_t at, bool by_line,
                        struct ranges *found)
{
	unsigned marks = p->marks[mark_of(text + at)];
	for (size_t back = STEP; back-- > 0;) {
		if ((marks & 1u << back) == 0 || back > at || len - (at - back) < WINDOW)
			continue;
		size_t from = at - back;
		const struct group *g = find_group(p, key_of(text + from));
		if (g == NULL)
			continue;
		size_t longest = longest_of(p, g, text + from, rest(text + from, len - from, by_line));
		if (longest > 0)
			mask_ranges_add(found, from, from + longest);
	}
}

static void find_long(const struct patterns *p, const char *text, size_t len, bool by_line, struct ranges *found)
{
	for (size_t at = 0; at + BLOCK <= len; at += STEP)
		if (p->marks[mark_of(text + at)] != 0)
			look_around(p, text, len, at, by_line, found);
}

static size_t longest_short(const struct patterns *p, unsigned lengths, const char *text, size_t left)
{
	for (size_t n = MIN(left, (size_t)WINDOW - 1); n > 2; n--)
		if ((lengths & 1u << (n - 1)) != 0 && has_pattern(p, hash_of(text, n), text, n))
			return n;
	if (left >= 2 && (lengths & 2) != 0)
		return 2;
	return left > 0 ? lengths & 1 : 0;
}

static void find_short(const struct patterns *p, const char *text, size_t len, bool by_line, struct ranges *found)
{
	for (size_t at = 0; at < len; at++) {
		unsigned lengths =
			at + 1 < len ? p->short_lengths[pair_of(text + at)] : p->single[(unsigned char)text[at]];
		if (lengths == 0)
			continue;
		size_t longest =
			longest_short(p, lengths, text + at, rest(text + at, MIN(len - at, (size_t)WINDOW), by_line));
		if (longest > 0)
			mask_ranges_add(found, at, at + longest);
	}
}

void mask_patterns_find(const struct patterns *p, const char *text, size_t len, bool by_line, struct ranges *found)
{
	if (p->has_long)
		find_long(p, text, len, by_line, found);
	if (p->has_short)
		find_short(p, text, len, by_line, found);
}
