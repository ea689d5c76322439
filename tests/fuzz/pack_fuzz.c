/* Packs from the network, in the pieces that the first byte chooses: the decoder hands out whole objects only, the same ones however the
 * pack is cut, and what is written while a pack arrives stays below its directory. */
#include "base/secret/digest.h"
#include "base/sys/fs.h"
#include "base/git/prewrite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct seen {
	size_t objects, bytes;
	unsigned char last[20];
	char commit[41]; /* the first, for whom files are written */
};

static const char *const names[] = {
	[GIT_OBJECT_COMMIT] = "commit", [GIT_OBJECT_TREE] = "tree", [GIT_OBJECT_BLOB] = "blob"};

static bool on_object(void *context, git_object_t type, const char *data, size_t len)
{
	struct seen *s = context;
	if (type < GIT_OBJECT_COMMIT || type > GIT_OBJECT_BLOB || len > EARLY_OBJECT_MAX)
		abort();
	digest_git_object(names[type], data, len, s->last);
	if (type == GIT_OBJECT_COMMIT && s->commit[0] == '\0')
		str_hex(s->last, sizeof(s->last), s->commit);
	s->bytes += len;
	return ++s->objects < 1000 && s->bytes < (8 << 20);
}

static void unpack(const uint8_t *data, size_t size, size_t piece, struct seen *ret)
{
	struct git_unpack *u = git_unpack_new(on_object, ret);
	bool more = true;
	for (size_t at = 0; more && at < size; at += piece)
		more = git_unpack_feed(u, data + at, MIN(piece, size - at));
	git_unpack_free(u);
}

static void write_early(const uint8_t *data, size_t size, size_t piece, const char *commit)
{
	char place[] = "/tmp/davit-pack-XXXXXX";
	struct err err = ERR_INIT;
	size_t count = 0;
	if (mkdtemp(place) == NULL)
		abort();
	_cleanup_free_ char *tree = fs_join(place, "tree");
	if (mkdir(tree, 0700) < 0)
		abort();
	int root = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct git_early *e = git_early_start(root, commit);
	for (size_t at = 0; at < size; at += piece)
		git_early_feed(e, data + at, MIN(piece, size - at));
	git_early_end(e, false);
	const struct git_early_file *files = git_early_files(e, &count);
	for (size_t i = 0; i < count; i++) {
		struct stat st;
		if (fstatat(root, files[i].path, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != files[i].st.st_ino)
			abort();
	}
	git_early_free(e);
	close(root);
	if (fs_remove_tree(AT_FDCWD, tree, &err) < 0 || rmdir(place) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen whole = {0}, parts = {0};
	if (size < 2)
		return 0;
	size_t piece = (size_t)data[0] * 16 + 1;
	unpack(data + 1, size - 1, size, &whole);
	unpack(data + 1, size - 1, piece, &parts);
	if (memcmp(&whole, &parts, sizeof(whole)) != 0)
		abort();
	if (whole.commit[0] != '\0')
		write_early(data + 1, size - 1, piece, whole.commit);
	return 0;
}
