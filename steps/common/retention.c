#include "steps/common/retention.h"

#include "base/core/clock.h"
#include "base/sys/fs.h"
#include <time.h>

void retention_done(struct retention_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->items[i].name);
	free(l->items);
	*l = (struct retention_list){0};
}

static int compare(const void *a, const void *b)
{
	const struct retention_entry *x = a, *y = b;
	int order = strncmp(x->name, y->name, RETENTION_MOMENT);

	if (order == 0)
		order = x->made_ns < y->made_ns ? -1 : x->made_ns > y->made_ns ? 1 : strcmp(x->name, y->name);
	return order;
}

int retention_list(struct view *v, const char *dir, const char *prefix, const char *suffix, struct retention_list *ret,
                   struct err *err)
{
	_cleanup_(strv_done) struct strv names = {0};
	_cleanup_(strv_done) struct strv paths = {0};
	size_t around = strlen(prefix) + strlen(suffix);

	int r = host_list(v, dir, &names, err);
	if (r == ERR_NOT_FOUND) {
		err_clear(err);
		return 0;
	}
	for (size_t i = 0; i < names.count && r == 0; i++) {
		const char *name = names.items[i];
		if (strlen(name) <= around || !str_starts(name, prefix) || !str_ends(name, suffix))
			continue;
		strv_addf(&paths, "%s/%s", dir, name);
		ret->items = xgrow(ret->items, &ret->cap, ret->count + 1, sizeof(*ret->items));
		ret->items[ret->count++] =
			(struct retention_entry){xstrndup(name + strlen(prefix), strlen(name) - around), 0};
	}
	_cleanup_free_ struct node *nodes = xcalloc(paths.count + 1, sizeof(*nodes));
	if (r == 0 && paths.count > 0)
		r = target_stat_all(v, (const char *const *)paths.items, paths.count, nodes, err);
	for (size_t i = 0; r == 0 && i < paths.count; i++) {
		ret->items[i].made_ns = nodes[i].mtime_ns;
		node_done(&nodes[i]);
	}
	if (ret->count > 1)
		qsort(ret->items, ret->count, sizeof(*ret->items), compare);
	return r;
}

const char *retention_name_of_link(const char *dir, const char *link)
{
	const char *last = strrchr(dir, '/') + 1;
	size_t len = strlen(dir), last_len = strlen(last);

	if (strncmp(link, dir, len) == 0 && link[len] == '/')
		link += len + 1;
	else if (strncmp(link, last, last_len) == 0 && link[last_len] == '/')
		link += last_len + 1;
	else
		return NULL;
	return *link && *link != '.' && !strchr(link, '/') ? link : NULL;
}

bool retention_is_older(const char *name, int64_t age_ms)
{
	struct tm tm = {0};

	if (age_ms <= 0 || strptime(name, "%Y%m%dT%H%M%S", &tm) == NULL)
		return false;
	return clock_wall_ms() - (int64_t)timegm(&tm) * 1000 > age_ms;
}
