/* clear: removes what the worker of a job left on the engine when it died. It runs as the job's user, who may use the engine; a
 * machine without one has nothing to remove. */
#include "agent/worker/containers/containers.h"

#include "base/core/clock.h"
#include "base/core/log.h"

#include <ctype.h>
#include <stdlib.h>

enum { ALL_MS = 60000, ANSWER_MAX = 1 << 20, EXIT_FAILED = 1, ID_MAX = 200 };

static int call(const char *const *argv, struct wait *w, struct str *ret)
{
	struct proc_options o = {.argv = argv};
	struct err err = ERR_INIT;
	int status = 1;
	int r = proc_run(&o, NULL, 0, ANSWER_MAX, w, ret, NULL, &status, &err);
	if (r < 0)
		log_err(&err);
	return r < 0 || status != 0 ? -1 : 0;
}

/* Removes one after the other what the list names. */
static int remove_all(const char *const *list, const char *const *remove, size_t words, struct wait *w)
{
	_cleanup_(str_done) struct str ids = STR_INIT(ANSWER_MAX);
	int r = call(list, w, &ids);
	for (char *rest = ids.data, *id; rest != NULL && (id = strsep(&rest, "\n")) != NULL;) {
		const char *argv[8] = {NULL};
		for (size_t i = 0; i < words; i++)
			argv[i] = remove[i];
		argv[words] = id;
		if (id[0] != '\0' && call(argv, w, NULL) < 0)
			r = -1;
	}
	return r;
}

static bool is_id(const char *text)
{
	size_t len = strlen(text);
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && strchr("_-", text[i]) == NULL)
			return false;
	return len > 0 && len <= ID_MAX;
}

int containers_clear(const char *tracking_id)
{
	_cleanup_free_ char *docker = shell_find("docker", getenv("PATH"));
	struct wait w = WAIT_INIT;
	w.deadline_mono_ms = clock_mono_ms() + ALL_MS;
	if (docker == NULL || !is_id(tracking_id))
		return 0;
	_cleanup_free_ char *label = docker_job_label(tracking_id), *filter = xasprintf("label=%s", label);
	const char *containers[] = {docker, "ps", "--all", "--quiet", "--no-trunc", "--filter", filter, NULL},
		   *networks[] = {docker, "network", "ls", "--quiet", "--no-trunc", "--filter", filter, NULL},
		   *rm[] = {docker, "rm", "--force", "--volumes"}, *network_rm[] = {docker, "network", "rm"};
	int r = remove_all(containers, rm, ARRAY_SIZE(rm), &w);
	if (r == 0)
		r = remove_all(networks, network_rm, ARRAY_SIZE(network_rm), &w);
	return r < 0 ? EXIT_FAILED : 0;
}
