/* options: `options:` as words [11.3]. They go to `docker create` in front of the image: a word that is neither an option nor the
 * value of one would be taken for the image, and another one than the host's policy has looked at would run. */
#include "agent/worker/containers/containers.h"

/* Options of `docker create` without a value. */
static const char *const switches[] = {"disable-content-trust",
                                       "help",
                                       "init",
                                       "interactive",
                                       "no-healthcheck",
                                       "oom-kill-disable",
                                       "privileged",
                                       "publish-all",
                                       "quiet",
                                       "read-only",
                                       "rm",
                                       "tty",
                                       "use-api-socket"};
static const char short_switches[] = "iPtq";

static bool is_switch(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(switches); i++)
		if (strcmp(name, switches[i]) == 0)
			return true;
	return false;
}

/* True if the next word is its value. */
static bool takes_next(const char *word)
{
	if (word[1] == '-')
		return strchr(word, '=') == NULL && !is_switch(word + 2);
	size_t plain = strspn(word + 1, short_switches);
	return word[1 + plain] != '\0' && word[2 + plain] == '\0';
}

int container_options(const char *text, struct strv *ret, struct err *err)
{
	shell_split(text, ret);
	for (size_t i = 0; i < ret->count; i++) {
		const char *word = ret->items[i];
		if (word[0] != '-' || word[1] == '\0' || strcmp(word, "--") == 0) {
			int r = err_set(err, ERR_INVALID, "options: '%.100s' is no option of docker create", word);
			return err_hint(err, r,
			                "write options and their values, as in `--cpus 1`; the image is another key");
		}
		if (takes_next(word) && ++i == ret->count)
			return err_set(err, ERR_INVALID, "options: '%.100s' has no value", word);
	}
	return 0;
}
