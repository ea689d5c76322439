#include "base/sys/fs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

char *fs_helper_program(const char *name, struct err *err)
{
	_cleanup_free_ char *self = fs_real_path("/proc/self/exe", err);
	if (self == NULL)
		return NULL;
	int dir = (int)(strrchr(self, '/') - self);
	const char *const places[] = {"%.*s/%s", "%.*s/../libexec/davit/%s", "%.*s/../../bin/%s"};
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_free_ char *path = xasprintf(places[i], dir, self, name);
		if (access(path, X_OK) == 0)
			return fs_real_path(path, err);
	}
	err_set(err, ERR_NOT_FOUND, "the program '%s' is neither beside '%s' nor in ../libexec/davit", name, self);
	err_hint(err, ERR_NOT_FOUND, "install davit again, or build all of it");
	return NULL;
}
