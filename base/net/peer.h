/* Who is at the other end of a connection from this machine. */
#pragma once
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

/* The user whose socket has that address as its own. false: none was found, as for one that comes from elsewhere. */
bool peer_user(const struct sockaddr *peer, uid_t *ret);
