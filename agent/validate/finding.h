/* What is found in a file: kept in a list, sorted, and printed in one of four forms. */
#pragma once
#include "base/data/yaml.h"

enum finding_severity { FINDING_ERROR, FINDING_WARNING };

struct finding {
	char *file;       /* as the user may open it */
	int line, column; /* from 1; 0: the file as a whole */
	enum finding_severity severity;
	const char *code; /* static: "unknown-key"; docs/findings.md has each */
	char *message;
	char *hint; /* NULL: none */
};

struct findings {
	struct finding *items;
	size_t count, cap, left_off; /* left_off: found beyond FINDINGS_MAX */
};
enum { FINDINGS_MAX = 1000 };

/* The page of a code, docs/findings/CODE.md: all of it, and its first sentences. NULL at the end. */
struct finding_page {
	const char *code, *meaning, *text;
};
extern const struct finding_page finding_pages[];
const struct finding_page *finding_page_of(const char *code); /* NULL: there is none */
/* What a code means, in Markdown; NULL: there is none. */
const char *finding_meaning(const char *code);

enum finding_format { FINDING_TEXT, FINDING_JSON, FINDING_GITHUB, FINDING_SARIF };

/* hint: the caller's; NULL for none. Control characters of the text are shown, not written. */
void finding_add(struct findings *f, const char *file, struct yaml_mark mark, enum finding_severity severity,
                 const char *code, const char *hint, const char *fmt, ...) _printf_(7, 8);
/* Takes over what was read: faults without a code of their own get `code`. */
void finding_add_faults(struct findings *f, const char *file, const struct faults *faults,
                        enum finding_severity severity, const char *code);
/* An error of a reader: "NAME:3:7: …" gives the place. */
void finding_add_err(struct findings *f, const char *file, const char *code, const struct err *err);
void findings_sort(struct findings *f); /* by file, line, column; equal ones are dropped */
size_t findings_count(const struct findings *f, enum finding_severity severity);
/* The whole list. TEXT: a line each with its hint below; GITHUB: workflow commands; SARIF: 2.1.0. files: how many were read. */
void findings_print(const struct findings *f, enum finding_format format, size_t files, bool colours, FILE *out);
void findings_done(struct findings *f);
