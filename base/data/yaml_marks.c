#include "base/data/yaml_marks.h"

struct mark_node *mark_node_add(struct mark_node *parent, const char *key, struct yaml_mark key_mark)
{
	parent->items = xgrow(parent->items, &parent->cap, parent->count + 1, sizeof(*parent->items));
	struct mark_node *node = &parent->items[parent->count++];
	*node = (struct mark_node){.key = xstrdup(key), .key_mark = key_mark};
	return node;
}

void mark_node_done(struct mark_node *node)
{
	for (size_t i = 0; i < node->count; i++)
		mark_node_done(&node->items[i]);
	free(node->items);
	free(node->key);
	*node = (struct mark_node){0};
}

/* One reference token, unescaped; returns what follows it. */
static const char *next_token(const char *pointer, struct str *token)
{
	str_clear(token);
	for (pointer++; *pointer != '\0' && *pointer != '/'; pointer++) {
		if (*pointer == '~' && (pointer[1] == '0' || pointer[1] == '1'))
			str_append_c(token, *++pointer == '0' ? '~' : '/');
		else
			str_append_c(token, *pointer);
	}
	return pointer;
}

static const struct mark_node *member(const struct mark_node *node, const char *token)
{
	long long index;
	if (node->count > 0 && node->items[0].key == NULL) {
		if (!str_parse_i64(token, 0, (long long)node->count - 1, &index))
			return NULL;
		return &node->items[index];
	}
	for (size_t i = 0; i < node->count; i++)
		if (strcmp(node->items[i].key, token) == 0)
			return &node->items[i];
	return NULL;
}

const struct mark_node *mark_node_find(const struct mark_node *root, const char *pointer, bool *ret_exact)
{
	_cleanup_(str_done) struct str token = STR_INIT(1 << 20);
	const struct mark_node *node = root;
	*ret_exact = true;
	while (*pointer == '/') {
		pointer = next_token(pointer, &token);
		const struct mark_node *next = member(node, str_peek(&token));
		if (next == NULL) {
			*ret_exact = false;
			return node;
		}
		node = next;
	}
	return node;
}

struct json_scan {
	const char *at, *end;
	struct yaml_mark mark;
};

static void step(struct json_scan *s)
{
	if (*s->at == '\n') {
		s->mark.line++;
		s->mark.column = 1;
	} else if ((*s->at & 0xc0) != 0x80) {
		s->mark.column++;
	}
	s->at++;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_space(struct json_scan *s)
{
	while (s->at < s->end && is_space(*s->at))
		step(s);
}

static void skip_string(struct json_scan *s)
{
	for (step(s); s->at < s->end && *s->at != '"'; step(s))
		if (*s->at == '\\')
			step(s);
	if (s->at < s->end)
		step(s);
}

static void skip_scalar(struct json_scan *s)
{
	if (*s->at == '"') {
		skip_string(s);
		return;
	}
	do
		step(s);
	while (s->at < s->end && !is_space(*s->at) && strchr(",]}:", *s->at) == NULL);
}

static char *key_text(const char *start, const char *end)
{
	json_t *value = json_loadb(start, (size_t)(end - start), JSON_DECODE_ANY, NULL);
	char *text = xstrdup(json_is_string(value) ? json_string_value(value) : "");
	json_decref(value);
	return text;
}

static void scan_value(struct json_scan *s, struct mark_node *node);

static void scan_members(struct json_scan *s, struct mark_node *node, bool object)
{
	step(s);
	skip_space(s);
	while (s->at < s->end && *s->at != ']' && *s->at != '}') {
		_cleanup_free_ char *key = NULL;
		struct yaml_mark mark = s->mark;
		if (object) {
			const char *start = s->at;
			skip_string(s);
			key = key_text(start, s->at);
			skip_space(s);
			step(s); /* the colon */
			skip_space(s);
		}
		scan_value(s, mark_node_add(node, key, mark));
		skip_space(s);
		if (s->at < s->end && *s->at == ',')
			step(s);
		skip_space(s);
	}
	if (s->at < s->end)
		step(s);
}

static void scan_value(struct json_scan *s, struct mark_node *node)
{
	skip_space(s);
	node->value_mark = s->mark;
	if (node->key_mark.line == 0)
		node->key_mark = s->mark;
	if (s->at < s->end && (*s->at == '{' || *s->at == '['))
		scan_members(s, node, *s->at == '{');
	else if (s->at < s->end)
		skip_scalar(s);
}

void mark_json(const char *data, size_t len, struct mark_node *root)
{
	struct json_scan s = {.at = data, .end = data + len, .mark = {1, 1}};
	scan_value(&s, root);
}
