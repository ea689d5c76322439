#include "base/git/lfs_pointer.h"

#include "base/core/str.h"

#include <limits.h>

static const char *const versions[] = {"https://git-lfs.github.com/spec/v1", "https://hawser.github.com/spec/v1",
                                       "http://git-media.io/v/2"};

struct lines {
	const char *at, *end;
};

/* The value of the next line, if it is of that key; the caller frees it. */
static char *next_value(struct lines *l, const char *key)
{
	size_t key_len = strlen(key), left = (size_t)(l->end - l->at);
	if (left <= key_len || memcmp(l->at, key, key_len) != 0 || l->at[key_len] != ' ')
		return NULL;
	const char *value = l->at + key_len + 1, *end = memchr(value, '\n', (size_t)(l->end - value));
	l->at = end != NULL ? end + 1 : l->end;
	end = end != NULL ? end : l->end;
	return xstrndup(value, (size_t)(end - value) - (end > value && end[-1] == '\r'));
}

static bool is_version(const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		if (text != NULL && strcmp(text, versions[i]) == 0)
			return true;
	return false;
}

static bool is_oid(const char *text)
{
	static const char kind[] = "sha256:";
	return text != NULL && str_starts(text, kind) && strlen(text) == sizeof(kind) - 1 + LFS_OID - 1 &&
	       strspn(text + sizeof(kind) - 1, "0123456789abcdef") == LFS_OID - 1;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

enum lfs_kind lfs_pointer_read(const char *data, size_t len, struct lfs_pointer *ret)
{
	struct lines l = {data, data + len};
	long long size = 0;
	if (len >= LFS_POINTER_MAX || memchr(data, '\0', len) != NULL)
		return LFS_NONE;
	while (l.at < l.end && is_space(*l.at))
		l.at++;
	while (l.end > l.at && is_space(l.end[-1]))
		l.end--;
	_cleanup_free_ char *version = next_value(&l, "version");
	if (!is_version(version))
		return LFS_NONE;
	if ((size_t)(l.end - l.at) > 4 && memcmp(l.at, "ext-", 4) == 0)
		return LFS_EXTENDED;
	_cleanup_free_ char *oid = next_value(&l, "oid"), *bytes = next_value(&l, "size");
	if (!is_oid(oid) || bytes == NULL || !str_parse_i64(bytes, 0, LLONG_MAX, &size) || l.at < l.end)
		return LFS_NONE;
	memcpy(ret->oid, strchr(oid, ':') + 1, LFS_OID);
	ret->size = (uint64_t)size;
	return LFS_CONTENT;
}
