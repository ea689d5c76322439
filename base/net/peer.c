#include "base/net/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/core/str.h"
#include "base/sys/fs.h"

enum { TABLE_MAX = 64 << 20, STATE_ESTABLISHED = 1, LOOKS = 5, ANSWER_S = 1 };

/* ---- asking for the one socket ---- */

static void put_address(const struct sockaddr_storage *address, __be32 ret_address[4], __be16 *ret_port)
{
	const struct sockaddr_in6 *six = (const void *)address;
	const struct sockaddr_in *four = (const void *)address;
	if (address->ss_family == AF_INET) {
		ret_address[0] = four->sin_addr.s_addr;
		*ret_port = four->sin_port;
	} else {
		memcpy(ret_address, &six->sin6_addr, sizeof(six->sin6_addr));
		*ret_port = six->sin6_port;
	}
}

/* 1: there it is; 0: there is none; negative: the kernel did not say. */
static int ask(const struct sockaddr_storage *peer, const struct sockaddr_storage *own, uid_t *ret)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 body;
	} request = {
		.head = {.nlmsg_len = sizeof(request), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
		.body = {.sdiag_family = (unsigned char)peer->ss_family,
	                 .sdiag_protocol = IPPROTO_TCP,
	                 .idiag_states = ~0U}};
	union {
		struct nlmsghdr head;
		char room[8192];
	} answer;
	struct timeval limit = {.tv_sec = ANSWER_S};
	struct inet_diag_sockid *id = &request.body.id;
	/* As the other end sees it. */
	put_address(peer, id->idiag_src, &id->idiag_sport);
	put_address(own, id->idiag_dst, &id->idiag_dport);
	id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    send(fd, &request, sizeof(request), 0) != (ssize_t)sizeof(request))
		return -1;
	ssize_t n = recv(fd, &answer, sizeof(answer), 0);
	if (n < (ssize_t)sizeof(answer.head) || !NLMSG_OK(&answer.head, (size_t)n))
		return -1;
	if (answer.head.nlmsg_type == NLMSG_ERROR && answer.head.nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return ((const struct nlmsgerr *)NLMSG_DATA(&answer.head))->error == -ENOENT ? 0 : -1;
	if (answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    answer.head.nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
		return -1;
	const struct inet_diag_msg *found = NLMSG_DATA(&answer.head);
	*ret = found->idiag_uid;
	return found->idiag_state == STATE_ESTABLISHED && found->idiag_inode != 0;
}

/* ---- the table of all ---- */

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

static bool look_up(const struct sockaddr *peer, uid_t *ret)
{
	char local[64];
	const char *table;
	show_address(peer, local, &table);
	/* The kernel writes the table piece by piece: where sockets come and go meanwhile, one that stands may be left out. */
	for (int i = 0; i < LOOKS; i++)
		if (find_user(table, local, ret))
			return true;
	return false;
}

bool peer_user(int fd, uid_t *ret)
{
	struct sockaddr_storage peer, own;
	socklen_t peer_len = sizeof(peer), own_len = sizeof(own);
	if (getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&own, &own_len) < 0 ||
	    (peer.ss_family != AF_INET && peer.ss_family != AF_INET6))
		return false;
	int r = ask(&peer, &own, ret);
	return r < 0 ? look_up((const struct sockaddr *)&peer, ret) : r > 0;
}
