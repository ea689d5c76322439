/* Compares the target with the two nodes of a change's record. */
#include "engine/change/change_priv.h"

#include <stdio.h>
#include <string.h>

static bool same_owner(const char *expected, const char *name, unsigned int number)
{
	char digits[16];
	snprintf(digits, sizeof(digits), "%u", number);
	return expected == NULL || strcmp(expected, name) == 0 || strcmp(expected, digits) == 0;
}

static bool same_mode(const char *expected, mode_t mode)
{
	return expected == NULL || strtoul(expected, NULL, 8) == (unsigned long)(mode & 07777);
}

bool change_same_attributes(const json_t *expected, const struct node *n)
{
	return same_mode(json_get_string(expected, "mode"), n->mode) &&
	       same_owner(json_get_string(expected, "owner"), n->owner, n->uid) &&
	       same_owner(json_get_string(expected, "group"), n->group, n->gid);
}

/* digest: of the file on the target; "" when it was not computed. */
static bool node_matches(const json_t *expected, const char *expected_digest, const struct node *n, const char *digest)
{
	enum node_type type = node_type_of(expected);
	if (type != n->type)
		return false;
	if (type == NODE_LINK)
		return strcmp(json_get_string(expected, "link") ? json_get_string(expected, "link") : "",
		              n->link ? n->link : "") == 0;
	if (type == NODE_FILE && expected_digest && strcmp(expected_digest, digest) != 0)
		return false;
	return type == NODE_ABSENT || type == NODE_OTHER || change_same_attributes(expected, n);
}

int change_compare_digests(struct change_call *x, const struct change *c, const char *before, const char *after,
                           struct node *ret_node, enum change_match *ret, struct err *err)
{
	char digest[DIGEST_HEX] = "";
	int r = host_stat(x->v, c->path, ret_node, err);
	if (r < 0)
		return r;
	if (ret_node->type == NODE_FILE && (before || after)) {
		r = host_digest(x->v, c->path, digest, err);
		if (r < 0)
			return r;
	}
	bool was = node_matches(c->before, before, ret_node, digest);
	bool is = node_matches(c->after, after, ret_node, digest);
	if (was)
		*ret = is ? MATCH_BOTH : MATCH_BEFORE;
	else
		*ret = is ? MATCH_AFTER : MATCH_NEITHER;
	return 0;
}

int change_compare_node(struct change_call *x, const struct change *c, enum change_match *ret, struct err *err)
{
	_cleanup_(node_done) struct node n = {0};
	return change_compare_digests(x, c, json_get_string(c->before, "digest"), json_get_string(c->after, "digest"),
	                              &n, ret, err);
}

int change_explain_node(struct change_call *x, const struct change *c, struct str *out, struct err *err)
{
	_cleanup_json_ json_t *now = NULL;
	const json_t *want = c->after;
	const char *key;
	json_t *value;
	int r = target_look(x->v, c->path, !c->secret, &now, err);
	if (r < 0)
		return r;
	const char *type = json_get_string(now, "type"), *want_type = json_get_string(want, "type");
	if (want_type == NULL || strcmp(type, want_type) != 0) {
		str_appendf(out, "there is %s instead of %s", type, want_type ? want_type : "what was made");
		return 0;
	}
	size_t found = 0;
	json_object_foreach((json_t *)want, key, value)
	{
		json_t *other = json_object_get(now, key);
		if (other == NULL || json_equal(value, other) || strcmp(key, "mtime_ns") == 0 ||
		    strcmp(key, "size") == 0)
			continue;
		_cleanup_free_ char *a = json_is_string(other) ? xstrdup(json_string_value(other)) : json_text(other);
		_cleanup_free_ char *b = json_is_string(value) ? xstrdup(json_string_value(value)) : json_text(value);
		if (strcmp(key, "digest") == 0)
			str_appendf(out, "%sthe content is another", found ? ", " : "");
		else
			str_appendf(out, "%sthe %s is %s instead of %s", found ? ", " : "", key, a, b);
		found++;
	}
	if (found == 0)
		str_append(out, "the content is another");
	return 0;
}
