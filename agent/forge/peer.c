/* The forge's own user needs no credential for trials and tests, and nobody else on the machine has his rights. */
#include "agent/forge/forge_priv.h"
#include "base/net/peer.h"

#include <unistd.h>

bool req_is_owners(const struct req *r)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	uid_t user;
	return info != NULL && peer_user(info->connect_fd, &user) && (user == geteuid() || user == 0);
}
