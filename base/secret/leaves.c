/* leaves: the values of a secret that is JSON or YAML. */
#include "base/secret/leaves.h"

#include "base/data/yaml.h"

enum { LEAVES_MAX = 1000, NUMBER_MAX = 64 };

static void add_leaf(struct mask *m, const json_t *value, int *count)
{
	char number[NUMBER_MAX];
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);
	if (json_is_integer(value)) {
		len = (size_t)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		text = number;
	}
	if (text != NULL && len >= MASK_LEAF_MIN && ++*count <= LEAVES_MAX)
		mask_add(m, text, len);
}

static void add_leaves(struct mask *m, json_t *value, int *count)
{
	size_t i;
	const char *key;
	json_t *item;
	json_array_foreach(value, i, item) add_leaves(m, item, count);
	json_object_foreach(value, key, item) add_leaves(m, item, count);
	add_leaf(m, value, count);
}

void mask_add_leaves(struct mask *m, const char *value, size_t len)
{
	struct yaml_limits limits = YAML_LIMITS_DEFAULT;
	_cleanup_(yaml_freep) struct yaml_doc *doc = NULL;
	int count = 0;
	limits.allow_anchors = true;
	/* JSON is YAML, but for what libyaml refuses of it. */
	_cleanup_json_ json_t *document = json_loadb(value, len, JSON_REJECT_DUPLICATES, NULL);
	if (document != NULL)
		add_leaves(m, document, &count);
	else if (yaml_read("a secret", value, len, &limits, &doc, NULL) >= 0 && !json_is_string(yaml_root(doc)))
		add_leaves(m, yaml_root(doc), &count);
}
