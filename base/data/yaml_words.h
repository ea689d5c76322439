/* Translates libyaml's errors into words for the author of the document. */
#pragma once
#include "base/core/str.h"

#include <yaml.h>

struct yaml_words {
	char text[200];
	char hint[200];      /* "": none */
	size_t line, column; /* from 0, the place of the fault; not always where libyaml noticed it */
};

/* false: nothing is known beyond libyaml's message. */
bool yaml_words(const char *data, size_t len, const yaml_parser_t *parser, struct yaml_words *ret);
