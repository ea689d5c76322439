/* The forge's own user needs no credential for trials and tests, and nobody else on the machine has his rights. */
#include "agent/forge/forge_priv.h"
#include "base/net/peer.h"

#include <unistd.h>

bool req_is_owners(const struct req *r)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	uid_t user;
	return info != NULL && info->client_addr != NULL && peer_user(info->client_addr, &user) &&
	       (user == geteuid() || user == 0);
}
