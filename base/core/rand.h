/* Randomness, behind an interface like the clock's. The default is the kernel's (getentropy); a failure ends the process. */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef void (*rand_fill_fn)(void *context, void *data, size_t size);
void rand_set_source(rand_fill_fn fill, void *context); /* NULL: the system's */
void rand_fill(void *data, size_t size);
uint64_t rand_below(uint64_t bound);     /* 0..bound-1, unbiased; bound > 0 */
void rand_hex(char *buf, size_t digits); /* digits + NUL */
void rand_uuid4(char buf[37]);
