#include "agent/actions/native.h"

#include "agent/actions/policy.h"
#include "base/core/str.h"

#include <strings.h>

static const char none[] = "none";
static const char *const words[] = {"own", "actions/checkout"};

static bool is_word(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(word, words[i]) == 0)
			return true;
	return false;
}

int native_check(const char *list, struct err *err)
{
	bool alone = false;
	size_t count = 0;
	for (char *word; (word = policy_word(&list)) != NULL; free(word), count++) {
		alone |= strcmp(word, none) == 0;
		if (strcmp(word, none) == 0 || is_word(word))
			continue;
		int r = err_set(err, ERR_INVALID, "'%.100s' is no action that is carried out here", word);
		free(word);
		return err_hint(err, r, "none, own or actions/checkout, with commas");
	}
	if (count == 0)
		return err_hint(err, err_set(err, ERR_INVALID, "the list names nothing"), "write none or own");
	return alone && count > 1 ? err_set(err, ERR_INVALID, "'none' stands alone") : 0;
}

bool native_has(const char *list, const char *name)
{
	bool found = false;
	for (char *word; (word = policy_word(&list)) != NULL; free(word))
		found |= strcasecmp(word, name) == 0;
	return found;
}

const char *native_repository(const char *list, const char *given)
{
	if (list != NULL && native_has(list, none))
		return "";
	return given != NULL ? given : DAVIT_ACTIONS_REPOSITORY;
}
