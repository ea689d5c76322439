/* Finds and ends all processes of a command that was begun and whose end was never noted (docs/semantics.md 5).
 *
 * A command's note LOCK_DIR/pids/PID holds two lines: "START BOOT GROUP" (start time in ticks since boot, boot id, process group),
 * and "MARK USER TIME GRACE" (each `-` where there is none): the mark that its environment carries, the user it runs as, on a target
 * without /proc the seconds at which its shell began, and how many seconds it may take to end by itself (it may be left out). The first line alone is a process that noted itself for an operation. */
#pragma once
#include "base/core/str.h"

enum { COMMAND_MARK_DIGITS = 32 };
/* The variable that carries the mark, in the environment of the command and of all its children. */
#define COMMAND_MARK_NAME "DAVIT_COMMAND"

/* A new mark: random, one a command, so that processes left by an earlier command on purpose are told apart. */
void command_mark(char mark[COMMAND_MARK_DIGITS + 1]);

/* POSIX sh; ends all processes of a command, and waits until none is left. Its arguments: PID START GROUP MARK TIME as in the note
 * (GROUP 0: that of PID, if it leads one), ROUNDS (0: the default), WHOSE: `all`, or `mine` for processes that this user may end, and
 * GRACE: so many seconds they have to end by themselves, and as many once SIGINT has told them to.
 * Status 0: nothing is left. */
extern const char command_end_script[];
