#include "providers/proxmox/guest_move.h"

#include "base/core/mem.h"
#include "engine/change/change.h"
#include "providers/proxmox/attributes.h"
#include "providers/proxmox/guest_params.h"
#include "providers/proxmox/properties.h"
#include "providers/proxmox/request.h"
#include "providers/proxmox/self.h"
#include "providers/proxmox/target.h"
#include "providers/proxmox/task.h"

#include <inttypes.h>
#include <string.h>

enum { ROUNDS_MAX = 16, SHUTDOWN_S = 60 };

static struct proxmox *server_of(const struct change_call *x)
{
	return proxmox_of_target(x->v);
}

int64_t guest_id_of(const struct change *c)
{
	int64_t id = json_get_int(c->after, "vmid", -1);
	return id > 0 ? id : json_get_int(c->before, "vmid", -1);
}

/* A new one is asked for only when the former one is gone; a destroy may have failed. */
int guest_is_gone(struct change_call *x, const struct change *c, bool *ret, struct err *err)
{
	static const char *const makes[] = {"vzcreate", "qmcreate", "vzclone", "qmclone", NULL};
	static const char *const destroys[] = {"vzdestroy", "qmdestroy", NULL};
	struct task_watch watch = {server_of(x), x->v->wait, NULL, NULL};
	*ret = request_task_is(c, makes);
	if (!request_task_is(c, destroys))
		return 0;
	int r = task_follow(&watch, c->task, proxmox_task_timeout(watch.p), err);
	*ret = r == 0;
	if (r == ERR_FAILED)
		err_clear(err);
	return r == ERR_FAILED ? 0 : r;
}

static bool is_absent(const json_t *node)
{
	const char *type = json_get_string(node, "type");
	return type == NULL || strcmp(type, "absent") == 0;
}

/* ---- one request ---- */

static int ask_guest(const struct guest_move *m, const struct guest *g, const char *method, const char *behind,
                     const json_t *params, struct err *err)
{
	_cleanup_free_ char *path = guest_path(g, behind);
	return request_task(m->x, method, path, params, err);
}

/* ---- the steps of a move ---- */

enum done { DONE_NOTHING = 0, DONE_SOMETHING = 1 };

static int did(int r)
{
	return r < 0 ? r : DONE_SOMETHING;
}

static int refuse_self(const struct guest_move *m, const struct guest *g, const char *what, struct err *err)
{
	return self_refuse(server_of(m->x), g, what, m->x->v->wait, err);
}

static int stop(const struct guest_move *m, const struct guest *g, bool gently, struct err *err)
{
	json_t *params _cleanup_json_ = gently ? json_pack("{s:b, s:i}", "forceStop", 1, "timeout", SHUTDOWN_S) : NULL;
	int r = refuse_self(m, g, "stopped", err);
	return r < 0 ? r : did(ask_guest(m, g, "POST", gently ? "/status/shutdown" : "/status/stop", params, err));
}

static int destroy(const struct guest_move *m, const struct guest *g, struct err *err)
{
	json_t *params _cleanup_json_ = json_pack("{s:b}", "purge", 1);
	const char *name = json_get_string(is_absent(m->from) ? m->to : m->from, "name");
	int r = refuse_self(m, g, "destroyed", err);
	if (r < 0)
		return r;
	if (name == NULL || g->name == NULL || strcmp(name, g->name) != 0)
		return err_set(err, ERR_CONFLICT, "guest %" PRId64 " is '%s' now, not '%s': it is not destroyed",
		               g->vmid, g->name != NULL ? g->name : "", name != NULL ? name : "");
	return g->running ? stop(m, g, false, err) : did(ask_guest(m, g, "DELETE", "", params, err));
}

static int create(const struct guest_move *m, const struct guest *g, struct err *err)
{
	const json_t *from = json_get_object(m->to, "clone");
	_cleanup_free_ char *path = NULL;
	json_t *params _cleanup_json_ = NULL;
	if (from != NULL) {
		struct guest source _cleanup_(guest_done) = {0};
		int64_t id = json_get_int(from, "from", -1);
		int r = guest_find(server_of(m->x), id, m->x->v->wait, &source, NULL, err);
		if (r < 0)
			return r;
		if (!source.there)
			return err_set(err, ERR_NOT_FOUND, "there is no guest %" PRId64 " to clone", id);
		path = guest_path(&source, "/clone");
		params = guest_params_clone(m->to, g->vmid, source.node);
	} else {
		path = xasprintf("/nodes/%s/%s", g->node, g->type);
		params = guest_params_create(m->to);
	}
	return did(request_task(m->x, "POST", path, params, err));
}

/* Settings first: what a start needs is there then. */
static int set_config(const struct guest_move *m, const struct guest *g, const json_t *now, struct err *err)
{
	json_t *params _cleanup_json_ = guest_params_config(now, m->from, m->to);
	const char *digest = json_get_string(g->config, "digest");
	if (params == NULL)
		return DONE_NOTHING;
	json_set_string(params, "digest", digest);
	return did(ask_guest(m, g, "PUT", "/config", params, err));
}

static int grow_disk(const struct guest_move *m, const struct guest *g, const json_t *now, struct err *err)
{
	const char *wanted = json_get_string(m->to, "disk"), *there = json_get_string(now, "disk");
	const char *key = attribute_root_disk(g->type, g->config);
	if (wanted == NULL || there == NULL || key == NULL || properties_size(wanted) <= properties_size(there))
		return DONE_NOTHING;
	json_t *params _cleanup_json_ = json_pack("{s:s, s:s}", "disk", key, "size", wanted);
	return did(ask_guest(m, g, "PUT", "/resize", params, err));
}

/* A state that another request brought about meanwhile is the wanted one, too. */
static int in_state(const struct guest_move *m, const struct guest *g, bool running, int r, struct err *err)
{
	struct guest now _cleanup_(guest_done) = {0};
	struct err looking = ERR_INIT;
	if (r != ERR_FAILED || guest_read(server_of(m->x), g->vmid, m->x->v->wait, &now, &looking) < 0 || !now.there ||
	    now.running != running)
		return r;
	err_clear(err);
	return DONE_SOMETHING;
}

static bool waits(const struct guest_move *m, const struct guest *g)
{
	for (size_t i = 0; i < json_array_size(g->waiting); i++) {
		const char *key = json_string_value(json_array_get(g->waiting, i));
		if (json_object_get(m->from, key) != NULL || json_object_get(m->to, key) != NULL)
			return true;
	}
	return false;
}

static int set_state(const struct guest_move *m, const struct guest *g, struct err *err)
{
	const char *status = json_get_string(m->to, "status");
	if (status == NULL)
		return DONE_NOTHING;
	bool running = strcmp(status, "running") == 0;
	if (!running)
		return g->running ? in_state(m, g, false, stop(m, g, true, err), err) : DONE_NOTHING;
	if (!g->running)
		return in_state(m, g, true, did(ask_guest(m, g, "POST", "/status/start", NULL, err)), err);
	if (!waits(m, g))
		return DONE_NOTHING;
	int r = refuse_self(m, g, "restarted", err);
	return r < 0 ? r : did(ask_guest(m, g, "POST", "/status/reboot", NULL, err));
}

static int is_old(const struct guest_move *m, const struct guest *g, bool *ret, struct err *err)
{
	bool gone = false;
	int r = m->anew && g->there ? guest_is_gone(m->x, m->c, &gone, err) : 0;
	*ret = m->anew && g->there && !gone;
	return r;
}

/* DONE_NOTHING: it is as wanted. */
static int next(const struct guest_move *m, const struct guest *g, struct err *err)
{
	bool old = false;
	if (is_absent(m->to))
		return g->there ? destroy(m, g, err) : DONE_NOTHING;
	int r = is_old(m, g, &old, err);
	if (r < 0 || old)
		return r < 0 ? r : destroy(m, g, err);
	if (!g->there)
		return create(m, g, err);
	json_t *now _cleanup_json_ = guest_node(g);
	r = set_config(m, g, now, err);
	if (r == DONE_NOTHING)
		r = grow_disk(m, g, now, err);
	return r == DONE_NOTHING ? set_state(m, g, err) : r;
}

/* Where it is, or where it shall be. */
static void place(const struct guest_move *m, struct guest *g)
{
	const json_t *node = is_absent(m->to) ? m->from : m->to;
	const char *host = json_get_string(node, "node"), *type = json_get_string(node, "type");
	if (g->there)
		return;
	snprintf(g->node, sizeof(g->node), "%s", host != NULL && upid_is_node(host) ? host : "");
	snprintf(g->type, sizeof(g->type), "%s", type != NULL ? type : "");
}

int guest_move(const struct guest_move *m, struct err *err)
{
	int64_t id = guest_id_of(m->c);
	if (server_of(m->x) == NULL || id < 0)
		return err_set(err, ERR_INVALID, "'%s' is no guest of target '%s'", m->c->path, m->x->v->name);
	for (int i = 0; i < ROUNDS_MAX; i++) {
		struct guest g _cleanup_(guest_done) = {0};
		int r = guest_find(server_of(m->x), id, m->x->v->wait, &g, NULL, err);
		if (r < 0)
			return r;
		place(m, &g);
		r = request_settle(m->x, &g, err);
		guest_done(&g);
		if (r == 0)
			r = guest_read(server_of(m->x), id, m->x->v->wait, &g, err);
		if (r < 0)
			return r;
		place(m, &g);
		r = next(m, &g, err);
		if (r <= 0)
			return r;
	}
	return err_set(err, ERR_FAILED, "guest %" PRId64 " does not become what was asked for", id);
}
