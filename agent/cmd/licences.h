/* `davit --version --licences`: what the programs are made of. A part is {"name","version","licence": SPDX expression,"linked": "built in" or
 * "at run time"} and, where it is built in, its "text". All are new references. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

/* What the build says that it has put into this file (cmake/licences.py); NULL: it has put nothing into it but davit. */
json_t *licences_built_in(void);
/* The libraries of this program with their versions as they are now: in a file for each program. */
json_t *licences_linked(void);
json_t *licences_part(const char *name, const char *version, const char *licence, bool built_in);
/* Prints them; with_forge: also the parts of davit-forge, where that is found. Returns the exit status. */
int licences_print(bool json, bool with_forge);
