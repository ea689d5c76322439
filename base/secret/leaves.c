/* leaves: the values of a secret that is JSON or YAML. */
#include "base/secret/leaves.h"

#include "base/data/yaml.h"

#include <string.h>
#include <strings.h>

enum { LEAVES_MAX = 1000, NUMBER_MAX = 64 };

/* What such a member is called holds a secret wherever it stands; a key of a host is none. */
static bool names_a_secret(const char *key)
{
	static const char *const words[] = {"password", "passphrase", "passwd", "secret",
	                                    "token",    "credential", "private"};
	for (size_t i = 0; key != NULL && i < ARRAY_SIZE(words); i++)
		if (strcasestr(key, words[i]) != NULL)
			return true;
	return key != NULL && (strcasecmp(key, "key") == 0 || strcasecmp(key, "pass") == 0 ||
	                       strcasecmp(key, "api_key") == 0 || strcasecmp(key, "apikey") == 0);
}

static void add_leaf(struct mask *m, const char *key, const json_t *value, int *count)
{
	char number[NUMBER_MAX];
	const char *text = json_string_value(value);
	size_t len = json_string_length(value);
	if (json_is_integer(value)) {
		len = (size_t)snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		text = number;
	}
	if (text == NULL || len < MASK_LEAF_MIN || ++*count > LEAVES_MAX)
		return;
	if (names_a_secret(key))
		mask_add(m, text, len);
	else
		mask_add_leaf(m, text, len);
}

/* key: of the nearest member that it is or lies in. */
static void add_leaves(struct mask *m, const char *key, json_t *value, int *count)
{
	size_t i;
	const char *name;
	json_t *item;
	json_array_foreach(value, i, item) add_leaves(m, key, item, count);
	json_object_foreach(value, name, item) add_leaves(m, name, item, count);
	add_leaf(m, key, value, count);
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
		add_leaves(m, NULL, document, &count);
	else if (yaml_read("a secret", value, len, &limits, &doc, NULL) >= 0 && !json_is_string(yaml_root(doc)))
		add_leaves(m, NULL, yaml_root(doc), &count);
}
