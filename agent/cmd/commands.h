/* The commands of the program davit, one file each (agent/cmd/NAME.c); argv[0] is the command's name. They return the exit status. */
#pragma once
int cmd_agent(int argc, char **argv);
int cmd_completion(int argc, char **argv);
int cmd_schema(int argc, char **argv);
int cmd_expr(int argc, char **argv);
int cmd_workflow(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int worker_run(int argc, char **argv); /* agent/worker: one job, started by the listener */

/* Beside the forge in davit-forge. */
int cmd_page(int argc, char **argv); /* `davit agent page` */
int cmd_run(int argc, char **argv);

/* The commands of davit-step. */
int cmd_deploy(int argc, char **argv);
int cmd_step(int argc, char **argv);
int cmd_rollback(int argc, char **argv);
int cmd_recover(int argc, char **argv);
int cmd_unlock(int argc, char **argv);
int cmd_finish(int argc, char **argv);
int cmd_approve(int argc, char **argv);
int cmd_reject(int argc, char **argv);
int cmd_continue(int argc, char **argv);
int cmd_releases(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_state(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_validate(int argc, char **argv);
int cmd_copy(int argc, char **argv);
int cmd_approvals(int argc, char **argv);
int cmd_history(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_journal(int argc, char **argv);
int cmd_licences(int argc, char **argv);      /* `davit --version --licences` */
int cmd_unpack_action(int argc, char **argv); /* for the worker */
int cmd_git_token(int argc, char **argv);     /* likewise */
/* The command of davit-step of that name; -1: there is none. */
int command_run(const char *name, int argc, char **argv);
