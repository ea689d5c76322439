/* commit: the commit that the work tree stands on, read where git keeps it. */
#include <git2.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "agent/run/run_priv.h"
#include "base/git/extensions.h"

static void *load(void *unused)
{
	git_libgit2_init();
	git_extensions_allow();
	return unused;
}

void run_load_git(void)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, load, NULL) == 0)
		pthread_detach(thread);
}

static void repository_freep(git_repository **r)
{
	git_repository_free(*r);
}

static void commit_freep(git_commit **c)
{
	git_commit_free(*c);
}

static json_t *person(const git_signature *who)
{
	return json_pack("{s:o, s:o}", "name", json_string_lossy(who->name, strlen(who->name)), "email",
	                 json_string_lossy(who->email, strlen(who->email)));
}

/* With the offset of the place where it was made, as git and GitHub show it. */
static json_t *time_of(const git_signature *who)
{
	time_t local = (time_t)(who->when.time + who->when.offset * 60);
	int offset = who->when.offset < 0 ? -who->when.offset : who->when.offset;
	char text[64];
	struct tm parts;
	gmtime_r(&local, &parts);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
	return json_stringf("%s%c%02d:%02d", text, who->when.offset < 0 ? '-' : '+', offset / 60, offset % 60);
}

static json_t *show(const git_commit *commit, const char *id)
{
	const char *message = git_commit_message(commit);
	size_t len = strlen(message);
	char tree[GIT_OID_HEXSZ + 1];
	while (len > 0 && message[len - 1] == '\n')
		len--;
	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:[], s:[], s:[]}", "id", id, "tree_id",
	                 git_oid_tostr(tree, sizeof(tree), git_commit_tree_id(commit)), "distinct", 1, "message",
	                 json_string_lossy(message, len), "timestamp", time_of(git_commit_committer(commit)), "author",
	                 person(git_commit_author(commit)), "committer", person(git_commit_committer(commit)), "added",
	                 "removed", "modified");
}

int run_read_commit(const struct deployment_source *source, json_t **ret, struct err *err)
{
	_cleanup_(repository_freep) git_repository *repo = NULL;
	_cleanup_(commit_freep) git_commit *commit = NULL;
	git_oid id;
	if (git_repository_open(&repo, source->git_dir) != 0 || git_oid_fromstr(&id, source->commit) != 0 ||
	    git_commit_lookup(&commit, repo, &id) != 0) {
		const git_error *e = git_error_last();
		return err_set(err, ERR_IO, "read the commit %s: %s", source->commit,
		               e != NULL ? e->message : "libgit2 gives no reason");
	}
	*ret = show(commit, source->commit);
	return 0;
}
