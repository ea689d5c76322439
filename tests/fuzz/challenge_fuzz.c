/* What a registry sends as WWW-Authenticate: read or refused with a reason; what was read can be asked. */
#include "base/core/mem.h"
#include "providers/registry/challenge.h"
#include "providers/registry/image.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	struct registry_challenge c = {0};
	struct registry_image i = {0};
	struct err err = ERR_INIT;
	int r = registry_challenge_read(text, &c, &err);
	if (r == 0 && !c.basic && (!c.bearer || c.realm == NULL))
		abort();
	if (r < 0 && (err.frame_count == 0 || c.realm != NULL))
		abort();
	/* Nothing that could end a header or a line is left in what goes into a request. */
	if (c.realm != NULL && strpbrk(c.realm, "\r\n") != NULL)
		abort();
	if (registry_image_read(text, &i, &err) == 0 &&
	    (strpbrk(i.repository, "?#%: @") != NULL || strstr(i.repository, "..") != NULL))
		abort();
	registry_challenge_done(&c);
	registry_image_done(&i);
	return 0;
}
