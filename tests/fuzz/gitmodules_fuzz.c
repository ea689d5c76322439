/* .gitmodules of a repository, and the addresses in it. What is taken stays below .git/modules, is no option, and is fetched over the web. */
#include "base/git/gitmodules.h"
#include "base/git/module_url.h"

#include <stdlib.h>
#include <string.h>

static void check(const struct git_module *m)
{
	const struct git_module_server server = {.url = "https://git.example/o/top", .owner_id = "42"};
	struct git_module_source source _cleanup_(git_module_source_done) = {.url = NULL};
	_cleanup_free_ char *around = xasprintf("/%s/", m->name);
	if (strstr(around, "/../") != NULL || strstr(around, "/./") != NULL || strstr(around, "//") != NULL)
		abort();
	if ((m->path != NULL && m->path[0] == '-') || (m->url != NULL && m->url[0] == '-'))
		abort();
	if (m->url == NULL)
		return;
	_cleanup_free_ char *url = git_module_absolute("git@git.example:o/top.git", m->url);
	if (git_module_find(&server, url, &source, NULL) < 0)
		return;
	if (!str_starts(source.url, "http://") && !str_starts(source.url, "https://"))
		abort();
	if (source.ours && !str_starts(source.url, "https://"))
		abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct git_modules m _cleanup_(git_modules_done) = {.count = 0};
	if (git_modules_parse((const char *)data, size, &m, NULL) < 0)
		return 0;
	for (size_t i = 0; i < m.count; i++)
		check(&m.items[i]);
	return 0;
}
