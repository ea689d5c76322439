/* An address or a network as firewalls write it: two ways to write one are one rule. */
#include "steps/bootstrap/bootstrap.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static void clear_host_bits(unsigned char *bytes, long size, long prefix)
{
	for (long bit = prefix; bit < size * 8; bit++)
		bytes[bit / 8] &= (unsigned char)~(0x80u >> (bit % 8));
}

char *bootstrap_network(const char *written)
{
	_cleanup_free_ char *address = xstrdup(written);
	char *slash = strchr(address, '/'), shown[INET6_ADDRSTRLEN];
	unsigned char bytes[sizeof(struct in6_addr)];
	int family = strchr(address, ':') != NULL ? AF_INET6 : AF_INET;
	long size = family == AF_INET6 ? 16 : 4, prefix = size * 8;
	if (slash != NULL) {
		*slash = '\0';
		prefix = strtol(slash + 1, NULL, 10);
	}
	if (prefix > size * 8 || inet_pton(family, address, bytes) != 1)
		return NULL;
	clear_host_bits(bytes, size, prefix);
	inet_ntop(family, bytes, shown, sizeof(shown));
	return prefix == size * 8 ? xstrdup(shown) : xasprintf("%s/%ld", shown, prefix);
}
