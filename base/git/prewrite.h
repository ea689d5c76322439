/* The files of a first checkout, written by a second thread while the pack is still being received and indexed: libgit2's indexer
 * takes one core and hands out nothing of what it decodes, so this decodes the same bytes beside it.
 *
 * Only an optimisation: cases it cannot handle (deltas, objects above EARLY_OBJECT_MAX, an order in which a blob comes before its
 * tree, anything unknown) are left to git_area_write_tree, which takes over written files by path, object id and stat. Only the
 * indexer checks the pack: until it accepts it nothing written here counts, and the caller removes it.
 * Trees that ask for conversion (.gitattributes) end it before it would write something wrong.
 *
 * Only for a work area that holds nothing but .git. Memory: EARLY_QUEUE of the pack, one object, a table of what is expected. */
#pragma once
#include "base/core/err.h"
#include <git2.h>
#include <stdint.h>
#include <sys/stat.h>

enum { EARLY_QUEUE = 4 << 20, EARLY_OBJECT_MAX = 16 << 20, EARLY_EXPECTED_MAX = 1 << 20, EARLY_PATH_MAX = 4095 };

struct git_early;
struct git_early_file {
	char *path;
	git_oid id;
	uint32_t mode;
	bool lfs_pointer;
	struct stat st;
};

/* root: the work tree, borrowed until git_early_end. NULL: no thread could be made. */
struct git_early *git_early_start(int root, const char *commit);
/* The pack, as it arrives; waits while the queue is full. */
void git_early_feed(struct git_early *e, const void *data, size_t len);
/* Ends the thread: after all bytes fed so far, or with at_once after its current object. The writers of git_area_write_tree
 * handle the rest faster. */
void git_early_end(struct git_early *e, bool at_once);
/* The written files; none when something was not as expected. Other entries below root, except .git, may be left over too. */
const struct git_early_file *git_early_files(const struct git_early *e, size_t *ret_count);
void git_early_free(struct git_early *e);

/* The decoder of a pack alone, for the fuzz target: object() for each that is whole and not a delta; false ends it. */
struct git_unpack;
typedef bool (*git_unpack_fn)(void *context, git_object_t type, const char *data, size_t len);
struct git_unpack *git_unpack_new(git_unpack_fn object, void *context);
/* false: it is over: everything was read, object() ended it, or it is not a pack. */
bool git_unpack_feed(struct git_unpack *u, const void *data, size_t len);
void git_unpack_free(struct git_unpack *u);
