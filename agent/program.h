/* The programs of which davit is the table of commands: files beside it (program_exec.c), or parts of the same file (program_call.c). */
#pragma once

/* Carries out a command in the program that has it; argv as that program's own, argv[0] its name or, for davit-forge, the command's. Returns the
 * exit status; it does not return where the program is another file and can be executed. */
int program_run(const char *program, char **argv);
/* The program that this file was called as by its name argv0, NULL: it is the table. */
const char *program_called(const char *argv0);

/* What these programs do, without a `main` of their own. */
int main_agent(int argc, char **argv);
int main_step(int argc, char **argv);
