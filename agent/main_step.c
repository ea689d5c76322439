/* davit-step: the program that davit executes for deployments and typed steps, with their libraries (libgit2, libssh2,
 * libarchive), and for what reads the journal (libpq). Called as `davit-step COMMAND …`, or as `davit-step NAME …` for `step NAME`. */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"
#include "agent/program.h"
#include "base/data/json.h"
#include "base/core/log.h"
#include "base/core/mem.h"
#include "base/core/str.h"
#include "engine/run/step.h"
#include "engine/journal/store.h"
#include "steps/registry.h"

enum { LARGE_PIECE = 1 << 20 };

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	bool only_prints; /* output that did not arrive is a failure */
} commands[] = {
	{"deploy", cmd_deploy, false},       {"step", cmd_step, false},
	{"rollback", cmd_rollback, false},   {"recover", cmd_recover, false},
	{"unlock", cmd_unlock, false},       {"finish", cmd_finish, false},
	{"releases", cmd_releases, false},   {"status", cmd_status, false},
	{"explain", cmd_explain, false},     {"validate", cmd_validate, false},
	{"copy", cmd_copy, false},           {"unpack-action", cmd_unpack_action, false},
	{"approve", cmd_approve, false},     {"reject", cmd_reject, false},
	{"continue", cmd_continue, false},   {"approvals", cmd_approvals, true},
	{"history", cmd_history, true},      {"show", cmd_show, true},
	{"report", cmd_report, true},        {"journal", cmd_journal, false},
	{"licences", cmd_licences, true},    {"state", cmd_state, false},
	{"git-token", cmd_git_token, false},
};

int command_run(const char *name, int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(name, commands[i].name) == 0) {
			int status = commands[i].run(argc, argv);
			return commands[i].only_prints && cli_output_failed() && status == 0 ? 1 : status;
		}
	return -1;
}

#ifdef DAVIT_TEST_HOOKS
/* For the crash tests: dies as by kill -9 after so many journal records, or counts them, a byte each in a file. */
static long records_to_live;
static int records_fd = -1;

static void count_record(void)
{
	if (records_fd >= 0 && write(records_fd, "\n", 1) != 1)
		abort();
	if (--records_to_live == 0)
		raise(SIGKILL);
}

static void install_test_hooks(void)
{
	const char *at = getenv("DAVIT_TEST_KILL_AT"), *counter = getenv("DAVIT_TEST_RECORDS");
	long long number = 0;
	if (at != NULL && !str_parse_i64(at, 1, 1000000, &number))
		return;
	if (counter != NULL)
		records_fd = open(counter, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	records_to_live = (long)number;
	store_after_write = count_record;
}
#endif

/* Lists of hundreds of thousands of files grow by being moved. The threshold would rise with the first of them that is freed; from then on
 * each move would leave a hole in the heap. */
static void keep_large_pieces_apart(void)
{
#ifdef __GLIBC__
	(void)mallopt(M_MMAP_THRESHOLD, LARGE_PIECE);
#endif
}

int main_step(int argc, char **argv)
{
	json_wipe_freed();
	keep_large_pieces_apart();
#ifdef DAVIT_TEST_HOOKS
	install_test_hooks();
#endif
	log_setup(LOG_INFO, LOG_TEXT, NULL);
	if (argc < 2) {
		fputs("davit-step is executed by davit; `davit --help` lists its commands\n", stderr);
		return 2;
	}
	int status = command_run(argv[1], argc - 1, argv + 1);
	if (status >= 0)
		return status;
	if (step_find(argv[1]) != NULL)
		return cmd_step(argc, argv); /* argv[0] replaces the word `step` */
	fprintf(stderr, "davit-step: unknown command or step '%s'\n  `davit schema` lists the steps\n", argv[1]);
	return 2;
}
