/* The authorities of a check's own. */
#include "base/sys/fs.h"
#include "base/sys/fs_beneath.h"
#include "steps/health_gate/health_gate.h"

#include <fcntl.h>

enum { CA_MAX = 4 << 20 };

int gate_read_ca(const struct step_context *c, const char *ca, char **ret, struct err *err)
{
	const char *root = c->deployment->source_root != NULL ? c->deployment->source_root : ".";
	*ret = NULL;
	if (ca == NULL || strstr(ca, "-----BEGIN") != NULL) {
		*ret = xstrdup(ca);
		return 0;
	}
	_cleanup_free_ char *real = NULL;
	_cleanup_close_ int fd = fs_open_within(root, ca, O_RDONLY | O_CLOEXEC, &real, err);
	if (fd < 0)
		return err_wrap(err, fd, "read the authorities of '%s'", ca);
	struct str text = STR_INIT(CA_MAX);
	int r = fs_read_fd(fd, ca, CA_MAX, &text, err);
	if (r < 0) {
		str_done(&text);
		return err_wrap(err, r, "read the authorities of '%s'", ca);
	}
	*ret = str_take(&text);
	return 0;
}
