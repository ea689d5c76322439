/* fs_helper.c where davit, davit-agent and davit-step are one file, whatever that is called: each of them is this program. davit-forge stays
 * apart; the two find each other beside themselves, also by what the files of a release end in (davit-linux-x86_64, davit-forge-linux-x86_64). */
#include "base/sys/fs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char forge[] = "davit-forge";

char *fs_helper_program(const char *name, struct err *err)
{
	_cleanup_free_ char *self = fs_real_path("/proc/self/exe", err);
	if (self == NULL)
		return NULL;
	const char *file = strrchr(self, '/') + 1;
	bool from_forge = str_starts(file, forge), to_forge = strcmp(name, forge) == 0;
	if (from_forge == to_forge)
		return TAKE(self);
	const char *own = from_forge ? forge : "davit", *wanted = to_forge ? forge : "davit";
	const char *ending = str_starts(file, own) ? file + strlen(own) : "";
	const struct {
		const char *form, *ending;
	} places[] = {{"%.*s/%s%s", ending},
	              {"%.*s/%s%s", ""},
	              {"%.*s/../libexec/davit/%s%s", ""},
	              {"%.*s/../../bin/%s%s", ""}};
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_free_ char *path =
			xasprintf(places[i].form, (int)(file - 1 - self), self, wanted, places[i].ending);
		if (access(path, X_OK) == 0)
			return fs_real_path(path, err);
	}
	err_set(err, ERR_NOT_FOUND, "the program '%s' is not beside '%s'", wanted, self);
	err_hint(err, ERR_NOT_FOUND, "it is a file of its own in the release: put it there as '%s'", wanted);
	return NULL;
}
