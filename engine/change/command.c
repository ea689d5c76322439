/* "command": the effect of a command. It cannot be looked at; its step runs it and, if possible, takes it back. */
#include "engine/change/change.h"

const struct change_type change_command = {.name = "command", .flags = CHANGE_BLIND};
