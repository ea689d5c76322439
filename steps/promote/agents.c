#include "steps/promote/promote.h"

#include "steps/common/machine_list.h"
#include <string.h>

struct agent {
	char *name;
	unsigned char key[ED25519_KEY_SIZE];
};

struct agents {
	struct agent *items;
	size_t count, cap;
};

void agents_freep(struct agents **a)
{
	if (*a == NULL)
		return;
	for (size_t i = 0; i < (*a)->count; i++)
		free((*a)->items[i].name);
	free((*a)->items);
	free(TAKE(*a));
}

static int read_line(void *context, char *line, struct err *err)
{
	struct agents *a = context;
	static const char blank[] = " \t\r";
	char *rest = NULL;
	const char *name = strtok_r(line, blank, &rest);
	if (name == NULL || name[0] == '#')
		return 0;
	const char *type = strtok_r(NULL, blank, &rest), *key = strtok_r(NULL, blank, &rest);
	if (!machine_list_is_name(name, MACHINE_LIST_NAME_MAX, "._@+-"))
		return err_set(err, ERR_INVALID, "'%.80s' is not a name", name);
	if (key == NULL || strcmp(type, ed25519_name) != 0) {
		err_set(err, ERR_INVALID, "behind the name '%s' there is no `%s KEY`", name, ed25519_name);
		return err_hint(err, ERR_INVALID, "`davit agent key` prints the line of the machine that it runs on");
	}
	struct agent agent = {0};
	int r = ed25519_key_read(key, agent.key, err);
	if (r < 0)
		return r;
	agent.name = xstrdup(name);
	a->items = xgrow(a->items, &a->cap, a->count + 1, sizeof(*a->items));
	a->items[a->count++] = agent;
	return 0;
}

int agents_parse(const char *text, const char *path, struct agents **ret, struct err *err)
{
	_cleanup_(agents_freep) struct agents *a = xcalloc(1, sizeof(*a));
	int r = machine_list_parse(text, path, read_line, a, err);
	if (r == 0)
		*ret = TAKE(a);
	return r;
}

int agents_read(const char *state_dir, struct agents **ret, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_INIT(MACHINE_LIST_MAX);
	_cleanup_free_ char *path = NULL;
	int r = machine_list_read(state_dir, "agents", "lines that `davit agent key` prints on other machines", &path,
	                          &text, err);
	return r < 0 ? r : agents_parse(str_peek(&text), path, ret, err);
}

const char *agents_of_key(const struct agents *a, const unsigned char key[ED25519_KEY_SIZE])
{
	for (size_t i = 0; i < a->count; i++)
		if (memcmp(a->items[i].key, key, ED25519_KEY_SIZE) == 0)
			return a->items[i].name;
	return NULL;
}
