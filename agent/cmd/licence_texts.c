/* For builds that put nothing but davit, and at most libssh2, into their files. */
#include "agent/cmd/licences.h"

json_t *licences_built_in(void)
{
	return NULL;
}
