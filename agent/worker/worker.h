/* `davit worker`: one job, started by the listener, which speaks on standard input (agent/listener/handover.h). */
#pragma once
int worker_run(int argc, char **argv);
