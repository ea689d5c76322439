/* codes: what each code of a finding means: the pages of docs/findings, which pages.py makes a table of. */
#include "agent/validate/finding.h"

#include <string.h>

const struct finding_page *finding_page_of(const char *code)
{
	for (const struct finding_page *p = finding_pages; p->code != NULL; p++)
		if (strcmp(p->code, code) == 0)
			return p;
	return NULL;
}

const char *finding_meaning(const char *code)
{
	const struct finding_page *p = finding_page_of(code);
	return p != NULL ? p->meaning : NULL;
}
