#include "agent/forge/graphql.h"

#include <string.h>

enum { DEPTH_MAX = 30, FIELDS_MAX = 5000, QUERY_MAX = 256 << 10 };

struct reader {
	const char *at, *end;
	const json_t *variables;
	json_t *fragments; /* name → its fields */
	size_t fields;
	int depth;
	struct err *err;
};

/* ---- marks and words ---- */

static void skip_blank(struct reader *r)
{
	while (r->at < r->end) {
		if (strchr(" \t\r\n,", *r->at) != NULL && *r->at != '\0')
			r->at++;
		else if (*r->at == '#')
			while (r->at < r->end && *r->at != '\n')
				r->at++;
		else
			return;
	}
}

static bool sees(struct reader *r, const char *mark)
{
	skip_blank(r);
	size_t n = strlen(mark);
	return (size_t)(r->end - r->at) >= n && memcmp(r->at, mark, n) == 0;
}

static bool takes(struct reader *r, const char *mark)
{
	if (!sees(r, mark))
		return false;
	r->at += strlen(mark);
	return true;
}

static int wrong(struct reader *r, const char *wanted)
{
	if (r->at >= r->end)
		return err_set(r->err, ERR_INVALID, "the query ends where %s should stand", wanted);
	return err_set(r->err, ERR_INVALID, "'%.*s' stands where %s should", (int)MIN(r->end - r->at, 20), r->at,
	               wanted);
}

static bool is_word(char c, bool first)
{
	return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (!first && c >= '0' && c <= '9');
}

/* NULL: none stands here. free() */
static char *take_word(struct reader *r)
{
	skip_blank(r);
	const char *begin = r->at;
	while (r->at < r->end && is_word(*r->at, r->at == begin))
		r->at++;
	return r->at > begin ? xstrndup(begin, (size_t)(r->at - begin)) : NULL;
}

static int deeper(struct reader *r)
{
	return ++r->depth > DEPTH_MAX ? err_set(r->err, ERR_LIMIT, "the query is nested more than %d deep", DEPTH_MAX)
	                              : 0;
}

/* ---- values ---- */

static int take_value(struct reader *r, json_t **ret);

/* Strings, numbers and their escapes are those of JSON. */
static int take_scalar(struct reader *r, json_t **ret)
{
	const char *begin = r->at;
	if (*begin == '"') {
		for (r->at++; r->at < r->end && *r->at != '"' && *r->at != '\n'; r->at++)
			r->at += *r->at == '\\' && r->at + 1 < r->end;
		r->at = MIN(r->at + 1, r->end);
	} else {
		while (r->at < r->end && strchr("+-.eE0123456789", *r->at) != NULL && *r->at != '\0')
			r->at++;
	}
	*ret = json_loadb(begin, (size_t)(r->at - begin), JSON_DECODE_ANY, NULL);
	if (*ret != NULL)
		return 0;
	r->at = begin;
	return wrong(r, "a value");
}

static int take_list(struct reader *r, json_t **ret)
{
	int e = deeper(r);
	*ret = json_array();
	while (e >= 0 && !takes(r, "]")) {
		json_t *item = NULL;
		e = take_value(r, &item);
		if (item != NULL)
			json_array_append_new(*ret, item);
	}
	r->depth--;
	return e;
}

/* Names with values, up to the mark. */
static int take_pairs(struct reader *r, const char *end, json_t **ret)
{
	int e = deeper(r);
	*ret = json_object();
	while (e >= 0 && !takes(r, end)) {
		_cleanup_free_ char *name = take_word(r);
		json_t *value = NULL;
		if (name == NULL || !takes(r, ":"))
			e = wrong(r, "a name with a value");
		else
			e = take_value(r, &value);
		if (value != NULL)
			json_object_set_new(*ret, name, value);
	}
	r->depth--;
	return e;
}

static int take_value(struct reader *r, json_t **ret)
{
	if (takes(r, "["))
		return take_list(r, ret);
	if (takes(r, "{"))
		return take_pairs(r, "}", ret);
	bool variable = takes(r, "$");
	_cleanup_free_ char *word = take_word(r);
	if (variable) {
		if (word == NULL)
			return wrong(r, "the name of a variable");
		json_t *value = json_object_get(r->variables, word);
		*ret = value != NULL ? json_incref(value) : json_null();
		return 0;
	}
	if (word == NULL)
		return r->at < r->end ? take_scalar(r, ret) : wrong(r, "a value");
	*ret = strcmp(word, "true") == 0    ? json_true()
	       : strcmp(word, "false") == 0 ? json_false()
	       : strcmp(word, "null") == 0  ? json_null()
	                                    : json_string(word);
	return 0;
}

/* ---- fields ---- */

static int take_fields(struct reader *r, json_t *out);

/* Directives count as absent. */
static int skip_directives(struct reader *r)
{
	while (takes(r, "@")) {
		_cleanup_free_ char *name = take_word(r);
		_cleanup_json_ json_t *args = NULL;
		if (name == NULL)
			return wrong(r, "a directive");
		int e = takes(r, "(") ? take_pairs(r, ")", &args) : 0;
		if (e < 0)
			return e;
	}
	return 0;
}

/* "...name" is put there later, "... on Type { }" and "... { }" at once. */
static int take_spread(struct reader *r, json_t *out)
{
	_cleanup_free_ char *name = take_word(r);
	if (name != NULL && strcmp(name, "on") == 0) {
		free(TAKE(name));
		_cleanup_free_ char *type = take_word(r);
		if (type == NULL)
			return wrong(r, "a type");
	}
	int e = skip_directives(r);
	if (e < 0)
		return e;
	if (name == NULL)
		return takes(r, "{") ? take_fields(r, out) : wrong(r, "'{'");
	json_array_append_new(out, json_pack("{s:s}", "spread", name));
	return 0;
}

static int take_field(struct reader *r, json_t *out)
{
	_cleanup_free_ char *alias = take_word(r);
	_cleanup_free_ char *name = alias != NULL && takes(r, ":") ? take_word(r) : xstrdup(alias);
	_cleanup_json_ json_t *args = NULL, *fields = NULL;
	if (name == NULL)
		return wrong(r, "a field");
	int e = takes(r, "(") ? take_pairs(r, ")", &args) : 0;
	if (e >= 0)
		e = skip_directives(r);
	if (e >= 0 && takes(r, "{")) {
		fields = json_array();
		e = take_fields(r, fields);
	}
	if (e < 0)
		return e;
	json_t *field = json_pack("{s:s, s:s, s:o}", "alias", alias, "name", name, "args",
	                          args != NULL ? json_incref(args) : json_object());
	if (fields != NULL)
		json_object_set(field, "fields", fields);
	json_array_append_new(out, field);
	return 0;
}

static int take_fields(struct reader *r, json_t *out)
{
	int e = deeper(r);
	while (e >= 0 && !takes(r, "}")) {
		if (++r->fields > FIELDS_MAX)
			return err_set(r->err, ERR_LIMIT, "the query has more than %d fields", FIELDS_MAX);
		e = takes(r, "...") ? take_spread(r, out) : take_field(r, out);
	}
	r->depth--;
	return e;
}

/* ---- operations ---- */

/* "($owner: String!, $n: [Int!] = [1])": types are not looked at, and who gives no value gets null. */
static int skip_variables(struct reader *r)
{
	int open = 1;
	if (!takes(r, "("))
		return 0;
	for (; r->at < r->end && open > 0; r->at++)
		open += (*r->at == '(') - (*r->at == ')');
	return open == 0 ? 0 : wrong(r, "')'");
}

static int take_fragment(struct reader *r)
{
	_cleanup_free_ char *name = take_word(r), *on = take_word(r), *type = take_word(r);
	if (name == NULL || on == NULL || strcmp(on, "on") != 0 || type == NULL)
		return wrong(r, "a fragment");
	json_t *fields = json_array();
	json_object_set_new(r->fragments, name, fields);
	int e = skip_directives(r);
	return e < 0 ? e : takes(r, "{") ? take_fields(r, fields) : wrong(r, "'{'");
}

static int take_query(struct reader *r, const char *wanted, json_t **found)
{
	_cleanup_free_ char *name = take_word(r);
	_cleanup_json_ json_t *fields = json_array();
	int e = skip_variables(r);
	if (e >= 0)
		e = skip_directives(r);
	if (e >= 0)
		e = takes(r, "{") ? take_fields(r, fields) : wrong(r, "'{'");
	if (e < 0)
		return e;
	bool meant = wanted == NULL || *wanted == '\0' || (name != NULL && strcmp(name, wanted) == 0);
	if (meant && *found != NULL)
		return err_set(r->err, ERR_INVALID,
		               "the query has several operations, and operationName names none of them alone");
	if (meant)
		*found = json_incref(fields);
	return 0;
}

static int take_document(struct reader *r, const char *wanted, json_t **found)
{
	int e = 0;
	for (skip_blank(r); e >= 0 && r->at < r->end; skip_blank(r)) {
		_cleanup_free_ char *word = take_word(r);
		if (word == NULL ? sees(r, "{") : strcmp(word, "query") == 0)
			e = take_query(r, wanted, found);
		else if (word != NULL && strcmp(word, "fragment") == 0)
			e = take_fragment(r);
		else
			e = word != NULL ? err_set(r->err, ERR_INVALID, "'%.40s' is not answered here", word)
			                 : wrong(r, "a query");
	}
	if (e >= 0 && *found == NULL)
		e = err_set(r->err, ERR_INVALID, "the query has no operation of that name");
	return e;
}

/* ---- fragments ---- */

static int put_fragments(struct reader *r, const json_t *fields, json_t *out)
{
	size_t i;
	json_t *field;
	int e = deeper(r);
	json_array_foreach(fields, i, field)
	{
		const char *spread = json_get_string(field, "spread");
		const json_t *fragment = spread != NULL ? json_object_get(r->fragments, spread) : NULL,
			     *below = json_object_get(field, "fields");
		if (e >= 0 && ++r->fields > FIELDS_MAX)
			e = err_set(r->err, ERR_LIMIT, "the query has more than %d fields", FIELDS_MAX);
		if (e < 0)
			break;
		if (spread != NULL && fragment == NULL) {
			e = err_set(r->err, ERR_INVALID, "there is no fragment '%.60s'", spread);
		} else if (spread != NULL) {
			e = put_fragments(r, fragment, out);
		} else {
			json_t *copy = json_copy(field);
			json_array_append_new(out, copy);
			if (below != NULL) {
				json_t *whole = json_array();
				json_object_set_new(copy, "fields", whole);
				e = put_fragments(r, below, whole);
			}
		}
	}
	r->depth--;
	return e;
}

int graphql_read(const char *query, size_t len, const char *operation, const json_t *variables, json_t **ret,
                 struct err *err)
{
	_cleanup_json_ json_t *fragments = json_object(), *fields = NULL, *whole = json_array();
	struct reader r = {.at = query, .end = query + len, .variables = variables, .fragments = fragments, .err = err};
	if (len > QUERY_MAX)
		return err_set(err, ERR_LIMIT, "the query has more than %d bytes", QUERY_MAX);
	int e = take_document(&r, operation, &fields);
	r.depth = 0;
	if (e >= 0)
		e = put_fragments(&r, fields, whole);
	if (e >= 0)
		*ret = TAKE(whole);
	return e;
}

/* ---- the answer ---- */

/* A connection's nodes by the arguments that are members of them, in the order and number asked for. New. */
static json_t *narrowed(const json_t *nodes, const json_t *args)
{
	json_t *out = json_array(), *node, *wanted;
	const char *name, *direction = json_get_string(json_object_get(args, "orderBy"), "direction");
	bool down = direction != NULL && strcmp(direction, "DESC") == 0;
	size_t count = json_array_size(nodes),
	       most = (size_t)json_get_int(args, "first", json_get_int(args, "last", INT32_MAX));
	for (size_t i = 0; i < count && json_array_size(out) < most; i++) {
		bool fits = true;
		node = json_array_get(nodes, down ? count - 1 - i : i);
		json_object_foreach((json_t *)(uintptr_t)args, name, wanted)
		{
			const json_t *value = json_object_get(node, strcmp(name, "states") == 0 ? "state" : name);
			bool listed = !json_is_array(wanted);
			for (size_t n = 0; n < json_array_size(wanted); n++)
				listed |= json_equal(json_array_get(wanted, n), value) != 0;
			fits &= value == NULL || json_is_null(wanted) ||
			        (json_is_array(wanted) ? listed : json_equal(wanted, value) != 0);
		}
		if (fits)
			json_array_append(out, node);
	}
	return out;
}

static int pick_field(const json_t *object, const json_t *field, json_t **ret, struct err *err)
{
	const char *name = json_get_string(field, "name");
	const json_t *value = json_object_get(object, name), *args = json_object_get(field, "args");
	if (value == NULL) {
		const char *type = json_get_string(object, "__typename");
		return err_set(err, ERR_INVALID, "Field '%.60s' doesn't exist on type '%s'", name,
		               type != NULL ? type : "Query");
	}
	_cleanup_json_ json_t *copy = NULL;
	if (json_is_array(json_object_get(value, "nodes")) && json_object_size(args) > 0) {
		copy = json_copy((json_t *)(uintptr_t)value);
		json_object_set_new(copy, "nodes", narrowed(json_object_get(value, "nodes"), args));
		value = copy;
	}
	return graphql_pick(value, json_object_get(field, "fields"), ret, err);
}

int graphql_pick(const json_t *value, const json_t *fields, json_t **ret, struct err *err)
{
	size_t i;
	json_t *item;
	int e = 0;
	if (json_is_array(value)) {
		_cleanup_json_ json_t *list = json_array();
		json_array_foreach(value, i, item)
		{
			json_t *one = NULL;
			if ((e = graphql_pick(item, fields, &one, err)) < 0)
				return e;
			json_array_append_new(list, one);
		}
		*ret = TAKE(list);
		return 0;
	}
	if (!json_is_object(value) || fields == NULL) {
		if (json_is_object(value))
			return err_set(err, ERR_INVALID, "Field must have selections");
		*ret = json_incref((json_t *)(uintptr_t)value);
		return 0;
	}
	_cleanup_json_ json_t *object = json_object();
	json_array_foreach(fields, i, item)
	{
		json_t *one = NULL, *there = json_object_get(object, json_get_string(item, "alias"));
		if ((e = pick_field(value, item, &one, err)) < 0)
			return e;
		if (json_is_object(there) && json_is_object(one)) {
			json_object_update_recursive(there, one); /* asked for twice, by two fragments */
			json_decref(one);
		} else {
			json_object_set_new(object, json_get_string(item, "alias"), one);
		}
	}
	*ret = TAKE(object);
	return 0;
}
