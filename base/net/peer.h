/* Who is at the other end of a connection from this machine. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/* The user whose socket is the other end of this connection by TCP. false: none was found, as for one that comes from elsewhere, or the other end
 * is no longer open. Asks the kernel (sock_diag(7)); where that is not allowed, its table of all sockets. */
bool peer_user(int fd, uid_t *ret);
