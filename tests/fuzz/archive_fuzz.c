/* Whatever the archive says, nothing outside the directory changes: a neighbour of it keeps its content, and no other appears. */
#include "base/archive/archive.h"
#include "base/sys/fs.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct source {
	const unsigned char *data;
	size_t left;
};

static int give(void *context, const void **data, size_t *len, struct err *err)
{
	struct source *s = context;
	(void)err;
	*data = s->data;
	*len = MIN(s->left, (size_t)700);
	s->data += *len;
	s->left -= *len;
	return 0;
}

static char *place;

static void remove_place(void)
{
	fs_remove_tree(AT_FDCWD, place, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source s = {data, size};
	struct archive_limits limits = {1 << 20, 1000};
	struct err err = ERR_INIT;
	struct tree beside = {0};

	if (!place) {
		if (fs_make_temp_dir("archive-fuzz", &place, &err) < 0)
			abort();
		atexit(remove_place);
	}
	_cleanup_close_ int top = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0 || fs_write_replace(top, "outside", "safe", 4, 0600, &err) < 0 || mkdirat(top, "in", 0755) < 0)
		abort();
	int in = openat(top, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = archive_unpack(give, &s, in, &limits, NULL, &err);
	if (r < 0 && err.frame_count == 0)
		abort(); /* a failure without a reason */
	close(in);
	if (fs_remove_tree(top, "in", &err) < 0)
		abort();
	_cleanup_(str_done) struct str text = STR_INIT(100);
	if (tree_walk(top, NULL, false, NULL, &beside, &err) < 0 || beside.count != 1 ||
	    fs_read(top, "outside", 100, &text, &err) < 0 || strcmp(text.data, "safe") != 0)
		abort();
	tree_done(&beside);
	return 0;
}
