/* checkout_bench URL COMMIT DIR: one checkout into DIR, by the code of the step, without the agent around it. Prints the time of fetch
 * and of the work tree in milliseconds. For tests/bench/checkout.py and the integration test of the work area. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/core/clock.h"
#include "base/net/http.h"
#include "base/core/log.h"
#include "base/git/area.h"

static int fail(const struct err *err)
{
	log_err(err);
	return 1;
}

int main(int argc, char **argv)
{
	struct err err = ERR_INIT;
	struct wait wait = WAIT_INIT;
	struct http_config config = {0};
	if (argc < 4) {
		fputs("usage: checkout_bench URL COMMIT DIR [REF] [keep]\n", stderr);
		return 2;
	}
	struct http *http _cleanup_(http_freep) = http_new(&config, &err);
	struct git_area *area _cleanup_(git_area_freep) = NULL;
	struct git_remote_access remote = {.http = http, .url = argv[1], .wait = &wait};
	struct git_area_result result = {0};
	bool clean = argc < 6 || strcmp(argv[5], "keep") != 0;
	struct git_wanted want _cleanup_(git_wanted_done) = {.ref = argc > 4 && argv[4][0] ? xstrdup(argv[4]) : NULL};
	const char *depth = getenv("DEPTH");
	int64_t start = clock_mono_ms();
	if (!git_wanted_by_id(&want, argv[2]))
		return 2;
	if (http == NULL || git_area_open(argv[3], ".", argv[1], clean, &area, &err) < 0)
		return fail(&err);
	if (git_area_bring(area, &remote, &want, depth ? atoi(depth) : 1, clean, &result, &err) < 0)
		return fail(&err);
	printf("{\"fetch_ms\":%lld,\"tree_ms\":%lld,\"files\":%zu,\"written\":%zu,\"removed\":%zu,\"lfs\":%zu,\"submodules\":%zu}\n",
	       (long long)result.fetch_ms, (long long)(clock_mono_ms() - start - result.fetch_ms), result.files,
	       result.written, result.removed, result.lfs_pointers, result.submodules);
	return 0;
}
