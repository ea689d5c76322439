/* Block volumes: sizes are counted in GB of 10^9 bytes, and only grow. */
#pragma once
#include "providers/scaleway/resource_move.h"

#define VOLUME_GB INT64_C(1000000000)

/* Grows it online, and waits until it has the size. */
int volume_grow(struct scaleway_move *m, const char *id, int64_t gb, struct err *err);
int64_t volume_gb(const json_t *object); /* -1: it has no size */
bool volume_is_used(const json_t *object);
