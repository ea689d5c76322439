/* Host keys as they are given and as known_hosts has them: reading ends, and what is accepted has a whole fingerprint. */
#include "base/sys/fs.h"
#include "base/ssh/ssh_priv.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void look_at(const struct ssh_login *login)
{
	_cleanup_(ssh_pins_done) struct ssh_pins pins = {0};
	struct err err = ERR_INIT;
	_cleanup_(str_done) struct str types = STR_INIT(4096);
	struct strv refused = {0};
	if (ssh_pins_load(login, &pins, &err) < 0)
		return;
	for (size_t i = 0; i < pins.count; i++)
		if (strlen(pins.items[i].fingerprint) != 50 || !str_starts(pins.items[i].fingerprint, "SHA256:"))
			abort();
	ssh_pins_types(&pins, &refused, &types, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	static char path[64];
	if (file < 0) {
		file = memfd_create("known_hosts", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	}
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	const char *given[] = {text, NULL};
	struct ssh_login login = {.host = "shop.example", .port = 2222, .host_keys = given};
	look_at(&login);
	if (file < 0 || ftruncate(file, 0) < 0 || pwrite(file, data, size, 0) != (ssize_t)size)
		return 0;
	login.host_keys = NULL;
	login.known_hosts = path;
	look_at(&login);
	login.port = 22;
	look_at(&login);
	return 0;
}
