/* What libyaml says of a text that is not YAML, in the words of somebody who wrote the text. */
#pragma once
#include "base/core/str.h"

#include <yaml.h>

struct yaml_words {
	char text[200];
	char hint[200];      /* "": none */
	size_t line, column; /* from 0, where the fault is; not always where libyaml noticed it */
};

/* false: nothing better is known than what libyaml says. */
bool yaml_words(const char *data, size_t len, const yaml_parser_t *parser, struct yaml_words *ret);
