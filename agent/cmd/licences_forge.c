/* Of davit-forge alone; what else it links, davit-step links too. */
#include "agent/cmd/licences.h"

#include <microhttpd.h>

json_t *licences_linked(void)
{
	json_t *list = json_array();
	json_array_append_new(list, licences_part("libmicrohttpd", MHD_get_version(), "LGPL-2.1-or-later", false));
	return list;
}
