#include "base/data/schema/schema_priv.h"

/* URIs. */

struct uri_parts {
	size_t scheme, authority, path, query;
}; /* lengths; the fragment is the rest */

/* "http:" → 5, "//host:1" → 8, "/a/b", "?q" */
static struct uri_parts split(const char *uri)
{
	struct uri_parts p = {0};
	size_t n = strcspn(uri, ":/?#");
	if (uri[n] == ':' && n > 0)
		p.scheme = n + 1;
	const char *at = uri + p.scheme;
	if (at[0] == '/' && at[1] == '/')
		p.authority = 2 + strcspn(at + 2, "/?#");
	at += p.authority;
	p.path = strcspn(at, "?#");
	at += p.path;
	p.query = strcspn(at, "#");
	return p;
}

/* RFC 3986, 5.2.4. */
static void append_without_dots(struct str *out, const char *path)
{
	size_t start = out->len;
	while (*path != '\0') {
		size_t n = (*path == '/') + strcspn(path + (*path == '/'), "/");
		bool last = path[n] == '\0';
		const char *segment = path + (*path == '/');
		size_t len = n - (*path == '/');
		if (len == 1 && segment[0] == '.') {
			if (last && *path == '/')
				str_append_c(out, '/');
		} else if (len == 2 && segment[0] == '.' && segment[1] == '.') {
			size_t cut = out->len;
			while (cut > start && out->data[cut - 1] != '/')
				cut--;
			str_truncate(out, cut > start ? cut - 1 : start);
			if (last)
				str_append_c(out, '/');
		} else {
			str_append_n(out, path, n);
		}
		path += n;
	}
}

const char *refs_uri_resolve(struct arena *arena, const char *base, const char *reference)
{
	struct uri_parts r = split(reference), b = split(base);
	if (r.scheme > 0 || *base == '\0')
		return arena_strdup(arena, reference);
	struct str out = STR_INIT(1 << 20), path = STR_INIT(1 << 20);
	const char *base_path = base + b.scheme + b.authority;
	str_append_n(&out, base, b.scheme);
	if (r.authority > 0) {
		str_append(&out, reference);
	} else {
		str_append_n(&out, base + b.scheme, b.authority);
		if (r.path == 0) {
			str_append_n(&out, base_path, b.path);
			if (r.query == 0)
				str_append_n(&out, base_path + b.path, b.query);
			str_append(&out, reference);
		} else {
			if (reference[0] != '/') {
				size_t keep = b.path;
				while (keep > 0 && base_path[keep - 1] != '/')
					keep--;
				if (keep == 0 && b.authority > 0)
					str_append_c(&path, '/');
				str_append_n(&path, base_path, keep);
			}
			str_append_n(&path, reference, r.path);
			append_without_dots(&out, str_peek(&path));
			str_append(&out, reference + r.path);
		}
	}
	const char *resolved = arena_strdup(arena, str_peek(&out));
	str_done(&out);
	str_done(&path);
	return resolved;
}

/* Documents. */

static const char *without_fragment(struct arena *arena, const char *uri)
{
	return arena_strndup(arena, uri, strcspn(uri, "#"));
}

static struct schema_node *find_id(const struct compiler *c, const char *uri)
{
	for (size_t i = 0; i < c->id_count; i++)
		if (strcmp(c->ids[i].uri, uri) == 0)
			return c->ids[i].node;
	return NULL;
}

static const json_t *find_remote(const struct compiler *c, const char *uri)
{
	const json_t *remote = json_object_get(c->options.remotes, uri);
	if (remote != NULL || c->options.remotes == NULL)
		return remote;
	_cleanup_free_ char *with_mark = xasprintf("%s#", uri);
	return json_object_get(c->options.remotes, with_mark);
}

/* Another document, compiled on first use. */
static int load_document(struct compiler *c, const char *uri, struct schema_node **ret)
{
	const json_t *remote = find_remote(c, uri);
	_cleanup_json_ json_t *root = NULL;
	if (remote != NULL) {
		root = json_incref((json_t *)remote);
	} else if (strncmp(uri, schema_meta_uri, strlen(schema_meta_uri) - 1) == 0 &&
	           strlen(uri) == strlen(schema_meta_uri) - 1) {
		int r = json_parse(schema_meta_text, strlen(schema_meta_text), 1 << 20, &root, c->err);
		if (r < 0)
			return r;
	} else {
		return ERR_NOT_FOUND;
	}
	size_t index;
	int r = schema_add_document(c, uri, root, &index);
	if (r < 0)
		return err_wrap(c->err, r, "schema %s", uri);
	/* The document may carry an $id of its own; it can also be found by the URI that was requested. */
	schema_add_id(c, uri, c->schema->documents[index].node);
	*ret = c->schema->documents[index].node;
	return 0;
}

/* Fragments. */

static int hex(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch = (char)(ch | 32);
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static char *percent_decoded(struct arena *arena, const char *text)
{
	char *out = arena_alloc(arena, strlen(text) + 1), *end = out;
	for (; *text; text++) {
		if (*text == '%' && text[1] != '\0' && hex(text[1]) >= 0 && hex(text[2]) >= 0) {
			*end++ = (char)(hex(text[1]) * 16 + hex(text[2]));
			text += 2;
		} else {
			*end++ = *text;
		}
	}
	*end = '\0';
	return out;
}

static const json_t *step_into(const json_t *value, const char *name)
{
	long long index;
	if (json_is_object(value))
		return json_object_get(value, name);
	if (json_is_array(value) && str_parse_i64(name, 0, (long long)json_array_size(value) - 1, &index))
		return json_array_get(value, (size_t)index);
	return NULL;
}

/* The next token of a pointer, unescaped. */
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

/* Follows the document's own structure, unknown keywords included. Base URIs change only at places that are schemas in draft-07. */
static int follow_pointer(struct compiler *c, const struct schema_node *from, const char *pointer,
                          struct schema_node **ret)
{
	_cleanup_(str_done) struct str token = STR_INIT(1 << 20);
	const json_t *value = from->source;
	const char *base = from->base;
	while (*pointer == '/') {
		pointer = next_token(pointer, &token);
		value = step_into(value, str_peek(&token));
		if (value == NULL)
			return ERR_NOT_FOUND;
		const struct schema_node *known = schema_find_node(c, value, from->document);
		if (known != NULL)
			base = known->base;
	}
	struct schema_node *node = schema_find_node(c, value, from->document);
	if (node != NULL) {
		*ret = node;
		return 0;
	}
	if (!json_is_object(value) && !json_is_boolean(value))
		return ERR_NOT_FOUND;
	size_t current = c->document;
	c->document = from->document;
	int r = schema_compile_node(c, value, base, ret);
	c->document = current;
	return r;
}

static int resolve_one(struct compiler *c, const char *uri, struct schema_node **ret)
{
	struct arena *arena = &c->schema->arena;
	const char *fragment = strchr(uri, '#');
	struct schema_node *node = find_id(c, uri);
	if (node != NULL) {
		*ret = node;
		return 0;
	}
	const char *document = without_fragment(arena, uri);
	node = find_id(c, document);
	if (node == NULL) {
		int r = load_document(c, document, &node);
		if (r < 0)
			return r;
	}
	if (fragment == NULL || fragment[1] == '\0') {
		*ret = node;
		return 0;
	}
	if (fragment[1] == '/')
		return follow_pointer(c, node, percent_decoded(arena, fragment + 1), ret);
	/* A plain name: known only now that the document is loaded. */
	node = find_id(c, uri);
	if (node == NULL)
		return ERR_NOT_FOUND;
	*ret = node;
	return 0;
}

static int check_cycle(struct compiler *c, const struct schema_node *start)
{
	const struct schema_node *slow = start, *fast = start;
	while (fast->kind == NODE_REF && fast->target->kind == NODE_REF) {
		slow = slow->target;
		fast = fast->target->target;
		if (slow == fast)
			return err_set(c->err, ERR_INVALID, "%s: $ref '%s' leads only to itself", start->place,
			               start->ref);
	}
	return 0;
}

int schema_resolve(struct compiler *c)
{
	for (; c->ref_done < c->ref_count; c->ref_done++) {
		struct schema_node *node = c->refs[c->ref_done];
		int r = resolve_one(c, node->ref, &node->target);
		if (r == ERR_NOT_FOUND) {
			err_set(c->err, ERR_INVALID, "%s: $ref '%s' leads nowhere", node->place, node->ref);
			return err_hint(c->err, ERR_INVALID,
			                "other documents are found only in the map of remotes that is given");
		}
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < c->ref_count; i++) {
		int r = check_cycle(c, c->refs[i]);
		if (r < 0)
			return r;
	}
	return 0;
}
