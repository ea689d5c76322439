#include <arpa/inet.h>
#include <string.h>

#include "agent/cmd/cli.h"

int cli_address(const char *text, bool remote, char ret_host[64], int *ret_port, struct err *err)
{
	const char *colon = strrchr(text, ':');
	long long number = 0;
	if (!colon || colon == text || (size_t)(colon - text) >= 64 || !str_parse_i64(colon + 1, 0, 65535, &number))
		return err_set(err, ERR_INVALID, "--listen has the form ADDRESS:PORT, not '%s'", text);
	char host[64] = "";
	memcpy(host, text, (size_t)(colon - text));
	struct in_addr address;
	if (inet_pton(AF_INET, host, &address) != 1)
		return err_set(err, ERR_INVALID, "--listen takes an IPv4 address, not '%s'", host);
	if ((ntohl(address.s_addr) >> 24) != 127 && !remote)
		return err_set(err, ERR_REFUSED, "'%s' is not a loopback address", host);
	memcpy(ret_host, host, sizeof(host));
	*ret_port = (int)number;
	return 0;
}
