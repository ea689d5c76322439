#include "agent/actions/policy.h"

#include "agent/service/wire.h"

#include <ctype.h>
#include <strings.h>

enum { NAME_MAX_LEN = 2048 };
static const char image_start[] = "docker://", of_workspace[] = "./", between[] = ", \t\r\n\v\f";

bool policy_is_commit(const char *ref)
{
	size_t digits = strspn(ref, "0123456789abcdef");
	return ref[digits] == '\0' && (digits == 40 || digits == 64);
}

char *policy_word(const char **list)
{
	const char *from = *list + strspn(*list, between);
	size_t len = strcspn(from, ",");
	*list = from + len;
	while (len > 0 && isspace((unsigned char)from[len - 1]))
		len--;
	return len > 0 ? xstrndup(from, len) : NULL;
}

static bool is_pattern(const char *word)
{
	const char *slash = strchr(word, '/');
	return strcmp(word, of_workspace) == 0 || str_starts(word, image_start) ||
	       (slash != NULL && slash != word && slash[1] != '\0' && strchr(word, '@') == NULL);
}

int policy_check(const char *policy, struct err *err)
{
	bool alone = false;
	size_t count = 0;
	for (char *word; (word = policy_word(&policy)) != NULL; free(word), count++) {
		bool whole = strcmp(word, "all") == 0 || strcmp(word, "none") == 0;
		alone |= strcmp(word, "none") == 0;
		if (whole || strcmp(word, "pinned") == 0 || is_pattern(word))
			continue;
		int r = err_set(err, ERR_INVALID, "'%.100s' names no actions", word);
		free(word);
		return err_hint(err, r,
		                "all, none, pinned, OWNER/*, OWNER/REPO[/PATH], ./ or docker://IMAGE, with commas");
	}
	if (count == 0)
		return err_hint(err, err_set(err, ERR_INVALID, "the list names nothing"), "write all or none");
	return alone && count > 1 ? err_set(err, ERR_INVALID, "'none' stands alone") : 0;
}

static void lower(char *text)
{
	for (; *text != '\0'; text++)
		*text = (char)tolower((unsigned char)*text);
}

/* An image's word covers all of its tags and digests. */
static bool covers_image(const char *pattern, const char *name)
{
	const char *last = strrchr(name, '/');
	_cleanup_free_ char *tagged = xstrndup(name, (size_t)(last - name) + strcspn(last, "@")),
			    *plain = xstrndup(name, (size_t)(last - name) + strcspn(last, "@:"));
	return str_glob(pattern, name) || str_glob(pattern, tagged) || str_glob(pattern, plain);
}

/* OWNER/REPO covers its subdirectories too. A word is for names of its own kind only: a registry's host is no owner. */
static bool covers(const char *pattern, const char *name)
{
	if (strcmp(name, of_workspace) == 0 || strcmp(pattern, of_workspace) == 0)
		return strcmp(name, pattern) == 0;
	if (str_starts(name, image_start) || str_starts(pattern, image_start))
		return str_starts(name, image_start) && str_starts(pattern, image_start) && covers_image(pattern, name);
	_cleanup_free_ char *below = xasprintf("%s/*", pattern);
	return str_glob(pattern, name) || str_glob(below, name);
}

/* The name that the words of a policy are compared with. free() */
static char *policy_name(const json_t *reference, bool *ret_remote)
{
	const char *name = wire_string(reference, "name"), *path = wire_string(reference, "path"),
		   *image = wire_string(reference, "image"), *kind = wire_string(reference, "repositoryType");
	*ret_remote = false;
	if (image != NULL)
		return xasprintf("%s%.*s", image_start, NAME_MAX_LEN, image);
	if (kind != NULL && strcasecmp(kind, "self") == 0)
		return xstrdup(of_workspace);
	*ret_remote = true;
	return xasprintf("%s%s%s", name != NULL ? name : "", path != NULL && path[0] != '\0' ? "/" : "",
	                 path != NULL ? path : "");
}

int policy_allows_image(const char *policy, const char *image, struct err *err)
{
	_cleanup_json_ json_t *reference = json_pack("{s:s}", "image", image);
	if (policy_allows(policy, reference, NULL) == 0)
		return 0;
	int r = err_set(err, ERR_REFUSED, "docker://%.*s is not among the images that may run on this host",
	                NAME_MAX_LEN, image);
	return err_hint(err, r, "the agent is configured with --actions %s", policy);
}

int policy_allows(const char *policy, const json_t *reference, struct err *err)
{
	bool remote, pinned = false, named = policy[0] == '\0', only_pinned = true;
	_cleanup_free_ char *name = policy_name(reference, &remote), *shown = xstrdup(name);
	const char *ref = wire_string(reference, "ref"), *list = policy;
	lower(name);
	for (char *word; (word = policy_word(&list)) != NULL; free(word)) {
		lower(word);
		pinned |= strcmp(word, "pinned") == 0;
		only_pinned &= strcmp(word, "pinned") == 0;
		named |= strcmp(word, "all") == 0 || covers(word, name);
	}
	named |= pinned && only_pinned && !str_starts(name, image_start);
	int r = 0;
	if (!named) {
		r = err_set(err, ERR_REFUSED, "uses: %s%s%s is not among the actions that may run on this host", shown,
		            remote ? "@" : "", remote && ref != NULL ? ref : "");
		return err_hint(err, r, "the agent is configured with --actions %s", policy);
	}
	if (pinned && remote && (ref == NULL || !policy_is_commit(ref))) {
		r = err_set(err, ERR_REFUSED, "uses: %s@%s names no commit, which this host asks for", shown,
		            ref != NULL ? ref : "");
		return err_hint(err, r, "write the whole digest of a commit behind the @ (--actions %s)", policy);
	}
	return 0;
}
