/* davit: the table of commands. It needs no library and executes the program that has the command: davit-agent, davit-step where libssh2, libgit2,
 * libarchive or libpq are wanted, davit-forge where libmicrohttpd is. So an idle agent does not carry what only steps need, and no command loads the
 * libraries of two programs, which takes longer than many a command. In the one file (DAVIT_ONE_FILE) it calls the first two instead. */
#include <stdio.h>
#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/program.h"
#include "base/core/log.h"
#include "base/core/mem.h"

struct command {
	const char *name, *program;
	const char *summary; /* NULL: not for people */
};

static const struct command commands[] = {
	{"agent", "davit-agent", "register with GitHub, take jobs and run them: configure, run, status, remove"},
	{"deploy", "davit-step", "carry out a deployment file, or show its plan"},
	{"step", "davit-step", "carry out one typed step"},
	{"rollback", "davit-step", "undo a deployment, or go to a named earlier release"},
	{"recover", "davit-step", "finish or undo what a dead process left"},
	{"unlock", "davit-step", "free a lock, with proof or with consent"},
	{"finish", "davit-step", "decide the deployment of a job"},
	{"approve", "davit-step", "agree to the plan of a deployment that waits for it, and carry it on"},
	{"reject", "davit-step", "close a deployment that waits for approval"},
	{"continue", "davit-step", "carry an approved deployment on"},
	{"approvals", "davit-step", "which deployments wait for approval, and their plans"},
	{"releases", "davit-step", "what each target runs, what `rollback --to` takes, who holds the lock"},
	{"status", "davit-step", "how each target is: services, resources, what davit released there"},
	{"copy", "davit-step", "the key of copies of snapshots, and what is in one"},
	{"explain", "davit-step", "where each value comes from that a deployment file writes, and what it hides"},
	{"validate", "davit-step", "look through workflows, actions and deployment files, without any login"},
	{"history", "davit-step", "what was deployed, when and how it ended"},
	{"show", "davit-step", "one deployment: each change and each probe"},
	{"report", "davit-step", "one deployment as a page for a browser"},
	{"journal", "davit-step", "where the journal lies: here, or in PostgreSQL for several machines"},
	{"state", "davit-step", "what is kept of the state of an environment; back to a former version"},
	{"watch", "davit-agent",
         "carry out the deployments that GitHub has, by asking for them: no runner, no webhook"},
	{"schema", "davit-agent", "the schemas of the steps; check a document against a schema"},
	{"workflow", "davit-agent", "the jobs and steps of a workflow as they would run"},
	{"expr", "davit-agent", "evaluate an expression of the workflow language"},
	{"run", "davit-forge", "run a workflow here, without GitHub"},
	{"forge", "davit-forge", "GitHub on loopback, for trials and tests"},
	{"completion", "davit-agent", "complete davit's commands and options in a shell"},
	{"worker", "davit-agent", NULL},
	{"unpack-action", "davit-step", NULL},
	{"git-token", "davit-step", NULL},
};

static int print_words(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].summary != NULL)
			printf("%s\t-\t%s\n", commands[i].name, commands[i].summary);
	return cli_output_failed();
}

static void print_help(FILE *out)
{
	fputs("davit lowers a new version onto a server and can always haul it back.\n\nusage: davit COMMAND [options]\n\n",
	      out);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].summary != NULL)
			fprintf(out, "  %-10s  %s\n", commands[i].name, commands[i].summary);
	fputs("\n`davit help COMMAND` tells more, `davit --version --licences` what davit is made of. Exit: 0 done, 1 failed and undone, 2 refused, 3 another plan,\n"
	      "4 a person is needed, 5 locked, 7 waits for approval, 130 cancelled and undone.\n",
	      out);
}

static int unknown(const char *name)
{
	const char *names[ARRAY_SIZE(commands)];
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	const char *nearest = str_nearest(name, names, ARRAY_SIZE(commands));
	fprintf(stderr, "davit: unknown command '%s'%s%s%s\n  `davit --help` lists them\n", name,
	        nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
	return 2;
}

/* argv[0] is the program, argv[1] the command. */
static int run_command(char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		/* davit-forge knows its commands by the name of the program. */
		bool keeps_word = strcmp(commands[i].program, "davit-forge") != 0;
		return program_run(commands[i].program, keeps_word ? argv : argv + 1);
	}
	return unknown(argv[1]);
}

/* `help COMMAND WORD…` is `COMMAND WORD… --help`. */
static int help_of(int argc, char **argv)
{
	char help[] = "--help", **words = xcalloc((size_t)argc + 1, sizeof(*words));
	memcpy(words + 1, argv + 2, (size_t)(argc - 2) * sizeof(*words));
	words[0] = argv[0];
	words[argc - 1] = help;
	int status = run_command(words);
	free(words);
	return status;
}

/* `--version --licences WORD…` is what davit-step calls `licences WORD…`. */
static int licences_of(int argc, char **argv)
{
	char command[] = "licences", **words = xcalloc((size_t)argc, sizeof(*words));
	memcpy(words + 2, argv + 3, (size_t)(argc - 3) * sizeof(*words));
	words[0] = argv[0];
	words[1] = command;
	int status = program_run("davit-step", words);
	free(words);
	return status;
}

int main(int argc, char **argv)
{
	log_setup(LOG_INFO, LOG_TEXT, NULL);
	const char *called = argc > 0 ? program_called(argv[0]) : NULL;
	if (called != NULL)
		return program_run(called, argv);
	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	if (cli_wants_words(argc, argv))
		return print_words();
	const char *name = argv[1];
	if (strcmp(name, "help") == 0 && argc > 2)
		return help_of(argc, argv);
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		print_help(stdout);
		return cli_output_failed();
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
		if (argc > 2 && strcmp(argv[2], "--licences") == 0)
			return licences_of(argc, argv);
		puts("davit " DAVIT_VERSION);
		return cli_output_failed();
	}
	return run_command(argv);
}
