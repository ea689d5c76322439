/* The entry at a path of a target, and its JSON form NODE (engine/record/change.h has the shape). */
#pragma once
#include "base/data/json.h"
#include <sys/types.h>

enum node_type { NODE_ABSENT, NODE_FILE, NODE_DIR, NODE_LINK, NODE_OTHER };
struct node {
	enum node_type type;
	mode_t mode; /* permission bits, setuid, setgid, sticky */
	uid_t uid;
	gid_t gid;
	char owner[64], group[64]; /* names if they are known, else the numbers */
	int64_t size, mtime_ns;
	char *link; /* of a link: its target; else NULL */
};
void node_done(struct node *n);

json_t *node_to_json(const struct node *n, const char *digest);
enum node_type node_type_of(const json_t *node); /* of such a JSON object */
/* The node that results from `before` when the given members are set; NULL and mode < 0 stay as they are. type: "file",
 * "dir". */
json_t *node_after(const char *type, const json_t *before, const char *owner, const char *group, long mode);
const char *node_type_name(const json_t *node); /* "absent" when NULL */
long node_mode(const json_t *node);             /* -1: unknown */
/* True when the two differ in type, mode, owner, group, digest or link, where both have a value. */
bool node_differs(const json_t *before, const json_t *after);
