/* The kernel's table names the user of each socket. */
#include "base/net/peer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/core/str.h"
#include "base/sys/fs.h"

enum { TABLE_MAX = 64 << 20, STATE_ESTABLISHED = 1, LOOKS = 5 };

/* An address as the table writes it: words of the machine's byte order, in hex. */
static void show_address(const struct sockaddr *address, char out[64], const char **ret_table)
{
	const struct sockaddr_in6 *six = (const void *)address;
	const struct sockaddr_in *four = (const void *)address;
	uint32_t words[4];
	if (address->sa_family == AF_INET) {
		snprintf(out, 64, "%08X:%04X", four->sin_addr.s_addr, ntohs(four->sin_port));
		*ret_table = "/proc/net/tcp";
		return;
	}
	memcpy(words, &six->sin6_addr, sizeof(words));
	snprintf(out, 64, "%08X%08X%08X%08X:%04X", words[0], words[1], words[2], words[3], ntohs(six->sin6_port));
	*ret_table = "/proc/net/tcp6";
}

/* The user of the one living socket with that local address. The table shows a closed socket as root's. */
static bool find_user(const char *table, const char *local, uid_t *ret)
{
	_cleanup_(str_done) struct str text = STR_INIT(TABLE_MAX);
	if (fs_read(AT_FDCWD, table, TABLE_MAX, &text, NULL) < 0)
		return false;
	for (char *line = text.data, *end; line != NULL && *line != '\0'; line = end != NULL ? end + 1 : NULL) {
		char here[64];
		unsigned state, user;
		unsigned long inode;
		end = strchr(line, '\n');
		if (sscanf(line, " %*u: %63s %*s %x %*s %*s %*s %u %*u %lu", here, &state, &user, &inode) == 4 &&
		    strcmp(here, local) == 0 && state == STATE_ESTABLISHED && inode != 0) {
			*ret = user;
			return true;
		}
	}
	return false;
}

bool peer_user(const struct sockaddr *peer, uid_t *ret)
{
	char local[64];
	const char *table;
	if (peer->sa_family != AF_INET && peer->sa_family != AF_INET6)
		return false;
	show_address(peer, local, &table);
	/* The kernel writes the table piece by piece: where sockets come and go meanwhile, one that stands may be left out. */
	for (int i = 0; i < LOOKS; i++)
		if (find_user(table, local, ret))
			return true;
	return false;
}
