/* `davit worker`: one job, started by the listener, which speaks on standard input (agent/listener/handover.h). */
#pragma once
int cmd_worker(int argc, char **argv);
