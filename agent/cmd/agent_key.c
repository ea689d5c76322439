/* davit agent key: the public key by which other machines know what this one signs, as a line of their list of agents. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/agent.h"
#include "agent/listener/listener.h"
#include "base/core/log.h"
#include "base/core/mem.h"
#include "base/data/json.h"
#include "base/secret/ed25519.h"
#include "base/sys/host.h"
#include "engine/journal/state_dir.h"
#include "engine/journal/store.h"
#include "steps/common/machine_list.h"

static int show(bool json, struct err *err)
{
	_cleanup_(str_done) struct str key = STR_INIT(256);
	_cleanup_free_ char *dir = state_dir(err);
	struct ed25519_pair pair;
	/* What a host calls itself may be no name of that list; a person can write another one. */
	const char *name = machine_list_is_name(host_name(), MACHINE_LIST_NAME_MAX, "._-") ? host_name() : "agent";
	/* A key that root made there would be none that its user can read. */
	int r = dir ? store_check_owner(dir, err) : ERR_NOT_FOUND;
	if (r == 0)
		r = ed25519_pair_of_host(dir, true, &pair, err);
	if (r < 0)
		return r;
	ed25519_key_write(pair.key, &key);
	ed25519_pair_done(&pair);
	_cleanup_json_ json_t *object =
		json_pack("{s:s, s:s, s:s}", "name", name, "type", ed25519_name, "key", str_peek(&key));
	_cleanup_free_ char *text = json_text(object);
	if (json)
		printf("%s\n", text);
	else
		printf("%s %s %s\n", name, ed25519_name, str_peek(&key));
	return 0;
}

/* Of the user of the jobs, whose state only that user may make: this program once more, as that user. */
static int show_of(const char *user, bool json)
{
	const char *const words[] = {"as-user", user, "/proc/self/exe", "agent", "key", json ? "--json" : NULL, NULL};
	return agent_as_user(json ? 6 : 5, (char **)(uintptr_t)words);
}

int agent_key(int argc, char **argv)
{
	struct agent_options o;
	struct err err = ERR_INIT;
	int r = agent_options_begin("key", "[--worker-user U] [--json]", argc, argv, &o);
	if (r != 0)
		return r > 0 ? 0 : LISTEN_TERMINATED;
	int status = o.worker_user ? show_of(o.worker_user, o.json) : 0;
	if (o.worker_user == NULL && show(o.json, &err) < 0) {
		log_err(&err);
		status = LISTEN_TERMINATED;
	}
	agent_options_done(&o);
	return status;
}
