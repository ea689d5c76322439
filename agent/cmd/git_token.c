/* davit-step git-token: keeps the token of a checkout for later steps of the job, or removes it, as the JSON object on standard input says. The worker
 * executes it.
 *
 * keep (false: remove), root, below, server, authorization, directory, file, views ([[.git, file], …]), submodules ("true", "recursive"),
 * owner_id, ssh (name, key, known_hosts, command): struct git_token. */
#include "agent/cmd/commands.h"
#include "base/data/json.h"
#include "base/git/token.h"
#include "base/secret/mask.h"
#include "base/sys/fs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REQUEST_MAX = 256 << 10, VIEWS_MAX = 8 };

static size_t read_views(const json_t *list, struct git_token_view views[VIEWS_MAX])
{
	size_t i, count = 0;
	json_t *pair;
	json_array_foreach((json_t *)(uintptr_t)list, i, pair)
	{
		const char *git_dir = json_string_value(json_array_get(pair, 0)),
			   *file = json_string_value(json_array_get(pair, 1));
		if (git_dir != NULL && file != NULL && count < VIEWS_MAX)
			views[count++] = (struct git_token_view){git_dir, file};
	}
	return count;
}

static enum git_token_submodules submodules_of(const char *text)
{
	if (text == NULL)
		return GIT_TOKEN_NO_SUBMODULES;
	return strcmp(text, "recursive") == 0 ? GIT_TOKEN_ALL_SUBMODULES : GIT_TOKEN_OWN_SUBMODULES;
}

static int carry_out(const json_t *request, struct err *err)
{
	struct git_token_view views[VIEWS_MAX];
	bool broken = false;
	struct git_token t = {.root = json_get_string(request, "root"),
	                      .below = json_get_string(request, "below"),
	                      .server = json_get_string(request, "server"),
	                      .authorization = json_get_string(request, "authorization"),
	                      .directory = json_get_string(request, "directory"),
	                      .file = json_get_string(request, "file"),
	                      .submodules = submodules_of(json_get_string(request, "submodules")),
	                      .owner_id = json_get_string(request, "owner_id"),
	                      .views = views,
	                      .view_count = read_views(json_object_get(request, "views"), views)};
	if (t.owner_id != NULL && t.owner_id[0] == '\0')
		t.owner_id = NULL;
	const json_t *ssh = json_get_object(request, "ssh");
	t.ssh_name = json_get_string(ssh, "name");
	t.ssh_key = json_get_string(ssh, "key");
	t.ssh_known_hosts = json_get_string(ssh, "known_hosts");
	t.ssh_command = json_get_string(ssh, "command");
	bool keep = json_get_bool(request, "keep", false);
	if (t.root == NULL || t.below == NULL || t.server == NULL || t.directory == NULL ||
	    (keep && t.authorization == NULL) ||
	    (keep && t.ssh_name != NULL && (t.ssh_key == NULL || t.ssh_command == NULL)))
		return err_set(err, ERR_INVALID, "the request is incomplete");
	if (keep) {
		mask_add(mask_process(), t.authorization, strlen(t.authorization));
		return git_token_keep(&t, err);
	}
	int r = git_token_remove(&t, &broken, err);
	if (r >= 0 && broken)
		puts("The configuration of the work area could not be read: it was removed.");
	return r;
}

int cmd_git_token(int argc, char **argv)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(REQUEST_MAX);
	_cleanup_json_ json_t *request = NULL;
	struct err err = ERR_INIT;
	char line[2048];
	(void)argv;
	if (argc != 1) {
		fputs("usage: davit-step git-token < REQUEST\n", stderr);
		return 2;
	}
	int r = fs_read_fd(STDIN_FILENO, "standard input", REQUEST_MAX - 1, &text, &err);
	if (r >= 0)
		r = json_parse(str_peek(&text), text.len, REQUEST_MAX, &request, &err);
	if (r >= 0)
		r = carry_out(request, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err_line(&err, line, sizeof(line)));
	return r < 0 ? 1 : 0;
}
