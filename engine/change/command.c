/* "command": what a command did. Nobody can look at it; its step runs it and, where it can, takes it back. */
#include "engine/change/change.h"

const struct change_type change_command = {.name = "command", .flags = CHANGE_BLIND};
