/* Verifies the received files before the switch. */
#include "steps/archive_upload/archive_upload.h"
#include "base/secret/digest.h"
#include "base/sys/fs.h"

/* The connection authenticates the bytes and tar says if it could write them, so a sample is enough for very many files. */
enum { VERIFY_AUTO = 1000, VERIFY_SAMPLE = 250 };

static int differs(const char *path, const char *release, struct view *v, struct err *err)
{
	return err_set(err, ERR_CONFLICT, "'%s' in '%s' on '%s' is not as it was sent", path, release, v->name);
}

int upload_verify_full(struct view *v, const char *release, const struct manifest *m, struct err *err)
{
	struct tree now = {0};
	int r = host_tree(v, release, true, &now, err);

	if (r < 0)
		return err_wrap(err, r, "look at the files of '%s' on '%s'", release, v->name);
	for (size_t i = 0; i < m->tree.count && r == 0; i++) {
		const struct tree_entry *e = &m->tree.entries[i], *there = tree_find(&now, e->path);
		if (!there || !manifest_same(e, there))
			r = differs(e->path, release, v, err);
	}
	tree_done(&now);
	return r;
}

/* All regular files, or an evenly spread sample if there are more than VERIFY_AUTO. */
static size_t choose_files(const struct upload *u, const size_t *sent, size_t sent_count, size_t *files)
{
	size_t count = 0, kept = 0;

	for (size_t i = 0; i < sent_count; i++) {
		if (S_ISREG(u->source->tree.entries[sent[i]].mode))
			files[count++] = sent[i];
	}
	if (u->in->verify != ARCHIVE_UPLOAD_VERIFY_AUTO || count <= VERIFY_AUTO)
		return count;
	for (; kept < VERIFY_SAMPLE; kept++)
		files[kept] = files[kept * count / VERIFY_SAMPLE];
	return kept;
}

int upload_verify_sent(struct view *v, const struct upload *u, const size_t *sent, size_t sent_count, struct err *err)
{
	const struct tree *t = &u->source->tree;
	_cleanup_free_ size_t *files = xcalloc(sent_count + 1, sizeof(*files));
	size_t count = choose_files(u, sent, sent_count, files);
	int64_t bytes = 0;
	_cleanup_free_ const char **names = xcalloc(count + 1, sizeof(*names));
	_cleanup_free_ char(*hex)[65] = xcalloc(count + 1, sizeof(*hex));

	if (count == 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		names[i] = t->entries[files[i]].path;
		bytes += t->entries[files[i]].size;
	}
	int r = target_digests(v, u->at.release, names, count, bytes, hex, err);
	if (r < 0)
		return err_wrap(err, r, "look at the files of '%s' on '%s'", u->at.release, v->name);
	for (size_t i = 0; i < count; i++) {
		char want[DIGEST_HEX];
		tree_entry_hex(&t->entries[files[i]], want);
		if (strcmp(hex[i], want) != 0)
			return differs(names[i], u->at.release, v, err);
	}
	return 0;
}
