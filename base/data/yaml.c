#include "base/data/yaml.h"
#include "base/sys/fs.h"
#include "base/data/yaml_marks.h"
#include "base/data/yaml_words.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <yaml.h>

struct yaml_doc {
	char *name;
	json_t *root;
	struct mark_node marks;
};

struct anchor {
	char *name;
	json_t *value;
	size_t nodes; /* of its tree: an alias costs as much as its anchor's value */
};

struct reader {
	const char *name;
	const char *data;
	size_t len;
	yaml_parser_t parser;
	const struct yaml_limits *limits;
	size_t nodes;
	struct anchor *anchors;
	size_t anchor_count, anchor_cap;
	bool library_failed; /* libyaml refused it, not we */
	struct err *err;
};

static struct yaml_mark mark_of(yaml_mark_t m)
{
	return (struct yaml_mark){(int)m.line + 1, (int)m.column + 1};
}

static int fail(struct reader *r, int code, yaml_mark_t at, const char *fmt, ...) _printf_(4, 5);
static int fail(struct reader *r, int code, yaml_mark_t at, const char *fmt, ...)
{
	struct str text = STR_INIT(ERR_FRAME_SIZE);
	va_list args;
	va_start(args, fmt);
	_cleanup_free_ char *raw = NULL;
	if (vasprintf(&raw, fmt, args) >= 0)
		str_append_safe(&text, raw, strlen(raw));
	va_end(args);
	struct yaml_mark m = mark_of(at);
	err_set(r->err, code, "%s:%d:%d: %s", r->name, m.line, m.column, str_peek(&text));
	str_done(&text);
	return code;
}

/* The place of a byte: the library's reader knows its offset only. Columns count characters, as the library's do. */
static yaml_mark_t mark_at(const struct reader *r, size_t offset)
{
	yaml_mark_t mark = {.index = offset};
	for (size_t i = 0; i < offset && i < r->len; i++) {
		if (r->data[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else if (((unsigned char)r->data[i] & 0xc0) != 0x80) {
			mark.column++;
		}
	}
	return mark;
}

static int parser_failed(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	r->library_failed = true;
	const char *problem = p->problem ? p->problem : "not YAML";
	if (p->error == YAML_READER_ERROR) {
		fail(r, ERR_INVALID, mark_at(r, p->problem_offset), "%s", problem);
		return err_hint(r->err, ERR_INVALID, "save the file as UTF-8, without control characters");
	}
	struct yaml_words words;
	if (yaml_words(r->data, r->len, p, &words)) {
		const yaml_mark_t at = {.line = words.line, .column = words.column};
		fail(r, ERR_INVALID, at, "%s", words.text);
		return words.hint[0] != '\0' ? err_hint(r->err, ERR_INVALID, "%s", words.hint) : ERR_INVALID;
	}
	if (p->context)
		return fail(r, ERR_INVALID, p->problem_mark, "%s, %s", problem, p->context);
	return fail(r, ERR_INVALID, p->problem_mark, "%s", problem);
}

static int next_event(struct reader *r, yaml_event_t *event)
{
	return yaml_parser_parse(&r->parser, event) ? 0 : parser_failed(r);
}

/* Plain scalars, by the core schema of YAML 1.2. */

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

static size_t digits(const char *s)
{
	return strspn(s, "0123456789");
}

static bool is_decimal(const char *s)
{
	if (*s == '-' || *s == '+')
		s++;
	return digits(s) > 0 && s[digits(s)] == '\0';
}

static bool is_based(const char *s, const char *prefix, const char *set)
{
	return str_starts(s, prefix) && s[2] != '\0' && s[2 + strspn(s + 2, set)] == '\0';
}

static bool is_float(const char *s)
{
	if (*s == '-' || *s == '+')
		s++;
	size_t whole = digits(s), fraction = 0;
	s += whole;
	if (*s == '.') {
		fraction = digits(++s);
		s += fraction;
	}
	if (whole + fraction == 0)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		if (*s == '-' || *s == '+')
			s++;
		if (digits(s) == 0)
			return false;
		s += digits(s);
	}
	return *s == '\0';
}

static bool is_not_finite(const char *s)
{
	static const char *const nan_words[] = {".nan", ".NaN", ".NAN", NULL};
	static const char *const inf_words[] = {".inf", ".Inf", ".INF", NULL};
	if (is_one_of(s, nan_words))
		return true;
	return is_one_of(s + (*s == '-' || *s == '+'), inf_words);
}

/* Past 64 bits an integer is read as a real. NULL: not even a real can hold it. */
static json_t *number(const char *text, int base)
{
	errno = 0;
	char *end;
	long long value = strtoll(base == 10 ? text : text + 2, &end, base);
	if (errno == 0 && *end == '\0')
		return json_integer(value);
	double real = 0;
	if (base == 10) {
		real = strtod(text, NULL);
	} else {
		for (const char *p = text + 2; *p; p++)
			real = real * base + (double)strtol((char[]){*p, '\0'}, NULL, base);
	}
	return isfinite(real) ? json_real(real) : NULL;
}

enum scalar_kind { SCALAR_TEXT, SCALAR_NULL, SCALAR_BOOL, SCALAR_INT, SCALAR_FLOAT, SCALAR_NOT_FINITE };

static enum scalar_kind scalar_kind(const char *s, size_t len)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const bools[] = {"true", "True", "TRUE", "false", "False", "FALSE", NULL};
	if (strlen(s) != len)
		return SCALAR_TEXT;
	if (is_one_of(s, nulls))
		return SCALAR_NULL;
	if (is_one_of(s, bools))
		return SCALAR_BOOL;
	if (is_decimal(s) || is_based(s, "0o", "01234567") || is_based(s, "0x", "0123456789abcdefABCDEF"))
		return SCALAR_INT;
	if (is_float(s))
		return SCALAR_FLOAT;
	return is_not_finite(s) ? SCALAR_NOT_FINITE : SCALAR_TEXT;
}

static json_t *plain_value(const char *s, enum scalar_kind kind)
{
	switch (kind) {
	case SCALAR_NULL:
		return json_null();
	case SCALAR_BOOL:
		return json_boolean(s[0] == 't' || s[0] == 'T');
	case SCALAR_INT:
		return number(s, s[0] == '0' && s[1] == 'o' ? 8 : s[0] == '0' && s[1] == 'x' ? 16 : 10);
	case SCALAR_FLOAT:
		return isfinite(strtod(s, NULL)) ? json_real(strtod(s, NULL)) : NULL;
	default:
		return NULL;
	}
}

/* The kind of a core tag: false when it is not a tag of a scalar. */
static bool kind_of_tag(const char *tag, enum scalar_kind *ret)
{
	static const struct {
		const char *tag;
		enum scalar_kind kind;
	} tags[] = {
		{YAML_STR_TAG, SCALAR_TEXT}, {YAML_NULL_TAG, SCALAR_NULL},   {YAML_BOOL_TAG, SCALAR_BOOL},
		{YAML_INT_TAG, SCALAR_INT},  {YAML_FLOAT_TAG, SCALAR_FLOAT}, {"!", SCALAR_TEXT},
	};
	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		if (strcmp(tag, tags[i].tag) == 0) {
			*ret = tags[i].kind;
			return true;
		}
	}
	return false;
}

static int read_scalar(struct reader *r, const yaml_event_t *event, json_t **ret)
{
	const char *text = (const char *)event->data.scalar.value;
	const char *tag = (const char *)event->data.scalar.tag;
	size_t len = event->data.scalar.length;
	enum scalar_kind kind = SCALAR_TEXT;
	if (tag != NULL) {
		enum scalar_kind plain = scalar_kind(text, len);
		if (!kind_of_tag(tag, &kind))
			return fail(r, ERR_INVALID, event->start_mark, "the tag '%s' is not supported", tag);
		if (kind != SCALAR_TEXT && plain != kind && !(kind == SCALAR_FLOAT && plain == SCALAR_INT))
			return fail(r, ERR_INVALID, event->start_mark, "'%s' is not what its tag says", text);
	} else if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
		kind = scalar_kind(text, len);
		if (kind == SCALAR_INT && r->limits->keep_octal && text[0] == '0' && len > 1 && text[1] != 'x')
			kind = SCALAR_TEXT;
	}
	if (kind == SCALAR_TEXT) {
		*ret = json_stringn(text, len);
		return *ret ? 0 : fail(r, ERR_INVALID, event->start_mark, "the text is not UTF-8");
	}
	*ret = plain_value(text, kind);
	return *ret ? 0
	            : fail(r, ERR_INVALID, event->start_mark,
	                   "'%s' is not a number that JSON can hold; quote it if it is a text", text);
}

static int read_value(struct reader *r, yaml_event_t *event, int depth, struct mark_node *marks, json_t **ret);

static int remember_anchor(struct reader *r, const yaml_event_t *event, const yaml_char_t *anchor, json_t *value,
                           size_t nodes)
{
	if (anchor == NULL)
		return 0;
	if (!r->limits->allow_anchors)
		return fail(r, ERR_INVALID, event->start_mark, "anchors (&%s) are not supported; write the value out",
		            anchor);
	r->anchors = xgrow(r->anchors, &r->anchor_cap, r->anchor_count + 1, sizeof(*r->anchors));
	r->anchors[r->anchor_count++] = (struct anchor){xstrdup((const char *)anchor), json_incref(value), nodes};
	return 0;
}

static int read_alias(struct reader *r, const yaml_event_t *event, json_t **ret)
{
	const char *name = (const char *)event->data.alias.anchor;
	if (!r->limits->allow_anchors)
		return fail(r, ERR_INVALID, event->start_mark, "aliases (*%s) are not supported; write the value out",
		            name);
	for (size_t i = r->anchor_count; i > 0; i--) {
		const struct anchor *a = &r->anchors[i - 1];
		if (strcmp(a->name, name) != 0)
			continue;
		r->nodes += a->nodes;
		if (r->nodes > r->limits->max_nodes)
			return fail(r, ERR_LIMIT, event->start_mark, "more than %zu values", r->limits->max_nodes);
		*ret = json_deep_copy(a->value);
		return 0;
	}
	return fail(r, ERR_INVALID, event->start_mark, "*%s: there is no anchor of that name before", name);
}

/* Only members that do not exist yet: a merge key never overrides. */
static int merge(struct reader *r, const yaml_event_t *at, json_t *map, const json_t *from)
{
	if (json_is_array(from)) {
		for (size_t i = 0; i < json_array_size(from); i++) {
			const json_t *item = json_array_get(from, i);
			int rc = json_is_object(item) ? merge(r, at, map, item)
			                              : fail(r, ERR_INVALID, at->start_mark, "'<<' takes maps");
			if (rc < 0)
				return rc;
		}
		return 0;
	}
	if (!json_is_object(from))
		return fail(r, ERR_INVALID, at->start_mark, "'<<' takes a map or a list of maps");
	json_object_update_missing(map, (json_t *)from);
	return 0;
}

static bool is_merge_key(const yaml_event_t *event)
{
	return event->type == YAML_SCALAR_EVENT && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       event->data.scalar.tag == NULL && strcmp((const char *)event->data.scalar.value, "<<") == 0;
}

static int check_key(struct reader *r, const yaml_event_t *event)
{
	if (event->type != YAML_SCALAR_EVENT)
		return fail(r, ERR_INVALID, event->start_mark, "a key is a text, not a map, a list or an alias");
	if (event->data.scalar.anchor != NULL)
		return fail(r, ERR_INVALID, event->start_mark, "a key cannot have an anchor");
	if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
		return fail(r, ERR_INVALID, event->start_mark, "a key cannot hold a NUL");
	return 0;
}

static int key_again(struct reader *r, const yaml_event_t *key)
{
	const char *name = (const char *)key->data.scalar.value;
	if (r->limits->twice == NULL)
		return fail(r, ERR_INVALID, key->start_mark, "the key '%s' stands here twice", name);
	faults_add_at(r->limits->twice, mark_of(key->start_mark), "the key '%.60s' stands here twice", name);
	faults_code(r->limits->twice, "yaml");
	return 0;
}

static int read_member(struct reader *r, yaml_event_t *key, int depth, struct mark_node *marks, json_t *map,
                       json_t *merged)
{
	const char *name = (const char *)key->data.scalar.value;
	bool merging = is_merge_key(key);
	if (merging && (!r->limits->allow_anchors || r->limits->refuse_merge))
		return fail(r, ERR_INVALID, key->start_mark,
		            "merge keys (<<) are not supported; write the members out");
	bool again = json_object_get(map, name) != NULL;
	int rc = again ? key_again(r, key) : 0;
	yaml_event_t event;
	if (rc == 0)
		rc = next_event(r, &event);
	if (rc < 0)
		return rc;
	json_t *value = NULL;
	struct mark_node scratch = {0};
	struct mark_node *node = merging || again ? &scratch : mark_node_add(marks, name, mark_of(key->start_mark));
	rc = read_value(r, &event, depth + 1, node, &value);
	if (rc == 0 && merging)
		rc = merge(r, key, merged, value);
	else if (rc == 0 && !again && json_object_set(map, name, value) < 0)
		rc = fail(r, ERR_INVALID, key->start_mark, "the key is not UTF-8");
	json_decref(value);
	mark_node_done(&scratch);
	yaml_event_delete(&event);
	return rc;
}

static int read_map(struct reader *r, int depth, struct mark_node *marks, json_t **ret)
{
	_cleanup_json_ json_t *map = json_object();
	_cleanup_json_ json_t *merged = json_object();
	for (;;) {
		yaml_event_t key;
		int rc = next_event(r, &key);
		if (rc < 0)
			return rc;
		bool end = key.type == YAML_MAPPING_END_EVENT;
		if (!end)
			rc = check_key(r, &key);
		if (!end && rc == 0)
			rc = read_member(r, &key, depth, marks, map, merged);
		yaml_event_delete(&key);
		if (rc < 0)
			return rc;
		if (end)
			break;
	}
	json_object_update_missing(map, merged);
	*ret = TAKE(map);
	return 0;
}

static int read_list(struct reader *r, int depth, struct mark_node *marks, json_t **ret)
{
	_cleanup_json_ json_t *list = json_array();
	for (;;) {
		yaml_event_t event;
		int rc = next_event(r, &event);
		if (rc < 0)
			return rc;
		if (event.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&event);
			break;
		}
		json_t *value = NULL;
		rc = read_value(r, &event, depth + 1, mark_node_add(marks, NULL, mark_of(event.start_mark)), &value);
		yaml_event_delete(&event);
		if (rc < 0)
			return rc;
		json_array_append_new(list, value);
	}
	*ret = TAKE(list);
	return 0;
}

static int check_collection_tag(struct reader *r, const yaml_event_t *event, const yaml_char_t *tag, const char *core)
{
	if (tag != NULL && strcmp((const char *)tag, core) != 0 && strcmp((const char *)tag, "!") != 0)
		return fail(r, ERR_INVALID, event->start_mark, "the tag '%s' is not supported", tag);
	return 0;
}

static int read_value(struct reader *r, yaml_event_t *event, int depth, struct mark_node *marks, json_t **ret)
{
	size_t before = r->nodes++;
	marks->value_mark = mark_of(event->start_mark);
	if (marks->key_mark.line == 0)
		marks->key_mark = marks->value_mark;
	if (depth > r->limits->max_depth)
		return fail(r, ERR_LIMIT, event->start_mark, "nested deeper than %d levels", r->limits->max_depth);
	if (r->nodes > r->limits->max_nodes)
		return fail(r, ERR_LIMIT, event->start_mark, "more than %zu values", r->limits->max_nodes);
	_cleanup_json_ json_t *value = NULL;
	const yaml_char_t *anchor = NULL;
	int rc;
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		rc = read_scalar(r, event, &value);
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		rc = check_collection_tag(r, event, event->data.mapping_start.tag, YAML_MAP_TAG);
		if (rc == 0)
			rc = read_map(r, depth, marks, &value);
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		rc = check_collection_tag(r, event, event->data.sequence_start.tag, YAML_SEQ_TAG);
		if (rc == 0)
			rc = read_list(r, depth, marks, &value);
		break;
	case YAML_ALIAS_EVENT:
		rc = read_alias(r, event, &value);
		break;
	default:
		rc = fail(r, ERR_INVALID, event->start_mark, "a value is missing");
		break;
	}
	if (rc == 0)
		rc = remember_anchor(r, event, anchor, value, r->nodes - before);
	if (rc == 0)
		*ret = TAKE(value);
	return rc;
}

static int read_documents(struct reader *r, struct yaml_doc *doc)
{
	bool found = false, end = false;
	while (!end) {
		yaml_event_t event;
		int rc = next_event(r, &event);
		if (rc < 0)
			return rc;
		switch (event.type) {
		case YAML_STREAM_END_EVENT:
			end = true;
			break;
		case YAML_DOCUMENT_START_EVENT:
			if (found)
				rc = fail(r, ERR_INVALID, event.start_mark, "a second document begins; one is allowed");
			found = true;
			break;
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_END_EVENT:
			break;
		default:
			rc = read_value(r, &event, 1, &doc->marks, &doc->root);
			break;
		}
		yaml_event_delete(&event);
		if (rc < 0)
			return rc;
	}
	if (doc->root == NULL)
		doc->root = json_null();
	return 0;
}

static bool looks_like_json(const char *data, size_t len)
{
	size_t i = 0;
	while (i < len && strchr(" \t\r\n", data[i]) != NULL && data[i] != '\0')
		i++;
	return i < len && (data[i] == '{' || data[i] == '[' || data[i] == '"');
}

static size_t count_nodes(const json_t *value)
{
	size_t count = 1;
	const char *key;
	json_t *member;
	json_object_foreach((json_t *)value, key, member) count += count_nodes(member);
	for (size_t i = 0; i < json_array_size(value); i++)
		count += count_nodes(json_array_get(value, i));
	return count;
}

/* JSON that libyaml does not accept: escaped surrogate pairs, keys of more than 1024 bytes. */
static bool read_as_json(const char *data, size_t len, const struct yaml_limits *limits, struct yaml_doc *doc)
{
	json_t *root = NULL;
	if (!looks_like_json(data, len) || json_parse(data, len, limits->max_bytes, &root, NULL) < 0)
		return false;
	if (count_nodes(root) > limits->max_nodes) {
		json_decref(root);
		return false;
	}
	mark_node_done(&doc->marks);
	mark_json(data, len, &doc->marks);
	doc->root = root;
	return true;
}

static void reader_done(struct reader *r)
{
	for (size_t i = 0; i < r->anchor_count; i++) {
		json_decref(r->anchors[i].value);
		free(r->anchors[i].name);
	}
	free(r->anchors);
	yaml_parser_delete(&r->parser);
}

int yaml_read(const char *name, const char *data, size_t len, const struct yaml_limits *limits, struct yaml_doc **ret,
              struct err *err)
{
	static const struct yaml_limits standard = YAML_LIMITS_DEFAULT;
	if (limits == NULL)
		limits = &standard;
	if (len > limits->max_bytes)
		return err_set(err, ERR_LIMIT, "%s: %zu bytes, more than %zu", name, len, limits->max_bytes);
	static const char byte_order_mark[] = "\xef\xbb\xbf";
	if (len >= 3 && memcmp(data, byte_order_mark, 3) == 0) {
		data += 3;
		len -= 3;
	}
	struct reader r = {.name = name, .data = data, .len = len, .limits = limits, .err = err};
	if (!yaml_parser_initialize(&r.parser))
		return err_set(err, ERR_INTERNAL, "%s: libyaml cannot start", name);
	yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)data, len);
	_cleanup_(yaml_freep) struct yaml_doc *doc = xcalloc(1, sizeof(*doc));
	doc->marks.value_mark = (struct yaml_mark){1, 1}; /* of an empty document */
	doc->name = xstrdup(name);
	int rc = read_documents(&r, doc);
	bool library_failed = r.library_failed;
	reader_done(&r);
	if (rc < 0 && library_failed && read_as_json(data, len, limits, doc)) {
		err_clear(err);
		rc = 0;
	}
	if (rc == 0)
		*ret = TAKE(doc);
	return rc;
}

int yaml_read_file(const char *path, const struct yaml_limits *limits, struct yaml_doc **ret, struct err *err)
{
	static const struct yaml_limits standard = YAML_LIMITS_DEFAULT;
	if (limits == NULL)
		limits = &standard;
	_cleanup_(str_done) struct str text = {.max = limits->max_bytes, .wipe = true};
	int rc = fs_read(AT_FDCWD, path, limits->max_bytes, &text, err);
	if (rc < 0)
		return rc;
	return yaml_read(path, str_peek(&text), text.len, limits, ret, err);
}

json_t *yaml_root(const struct yaml_doc *doc)
{
	return doc->root;
}

const char *yaml_name(const struct yaml_doc *doc)
{
	return doc->name;
}

struct yaml_mark yaml_value_mark(const struct yaml_doc *doc, const char *pointer)
{
	bool exact;
	return mark_node_find(&doc->marks, pointer, &exact)->value_mark;
}

struct yaml_mark yaml_key_mark(const struct yaml_doc *doc, const char *pointer)
{
	bool exact;
	const struct mark_node *node = mark_node_find(&doc->marks, pointer, &exact);
	return exact ? node->key_mark : node->value_mark;
}

void yaml_doc_free(struct yaml_doc *doc)
{
	if (doc == NULL)
		return;
	json_decref(doc->root);
	mark_node_done(&doc->marks);
	free(doc->name);
	free(doc);
}

void yaml_freep(struct yaml_doc **doc)
{
	yaml_doc_free(*doc);
	*doc = NULL;
}
