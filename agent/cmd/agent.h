/* The parts of `davit agent`, one file each. argv[0] is the part's word; they return the exit status of the official
 * runner's counterparts (0 done, 1 failed). */
#pragma once
#include "agent/listener/options.h"
#include "agent/listener/records.h"

int agent_configure(int argc, char **argv);
int agent_remove(int argc, char **argv);
int agent_status(int argc, char **argv);
int agent_key(int argc, char **argv);
int agent_run(int argc, char **argv);
int agent_policy(int argc, char **argv);
int agent_autoscale(int argc, char **argv);
int agent_page(int argc, char **argv); /* executes davit-forge */
int agent_install(int argc, char **argv);
int agent_uninstall(int argc, char **argv);
int agent_update(int argc, char **argv);
/* Internal: registers again, by the credential that is kept. The running agent starts it. */
int agent_renew(int argc, char **argv);
/* Internal: becomes USER and executes PROGRAM. The agent starts processes of another user with it. */
int agent_as_user(int argc, char **argv);

/* Options of a part; prints help or warnings. 0: continue; 1: help was printed; negative: the error was reported. */
int agent_options_begin(const char *part, const char *usage, int argc, char **argv, struct agent_options *ret);
