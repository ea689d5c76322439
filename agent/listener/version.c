/* The runner version that the services are told, refreshed from a document that the operator's key signs: at the start, once a day, and
 * when a service refuses the version. The last good one is kept, so that a restart needs no answer. It only raises what is built in. */
#include "agent/listener/endpoint_priv.h"

#include <fcntl.h>
#include <stdlib.h>

#include "agent/service/version.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/sys/fs.h"

enum {
	DAY_MS = 24 * 3600 * 1000,
	REFUSED_MS = 15 * 60 * 1000, /* while a registration waits for a newer one */
	LEAST_MS = 60 * 1000,        /* between two questions, whoever asks */
	TIMEOUT_MS = 30000,
	KEY_MAX = 16 << 10,
};

static bool is_url(const char *source)
{
	return str_starts(source, "https://") || str_starts(source, "http://");
}

static char *cache_path(const struct listener *l)
{
	return l->store != NULL ? fs_join(l->store->dir, "runner-version") : NULL;
}

static bool is_waited_for(const struct listener *l)
{
	for (size_t i = 0; i < l->endpoint_count; i++)
		if (l->endpoints[i]->step == STEP_VERSION)
			return true;
	return false;
}

/* For this process, and by the environment for those that it starts. */
static void tell(struct listener *l, const char *version)
{
	wire_set_runner_version(version);
	(void)setenv(WIRE_VERSION_VARIABLE, version, 1);
	if (l->http != NULL)
		http_set_user_agent(l->http, wire_user_agent());
}

/* kept: our own copy, whose time may have passed since. */
static int take(struct listener *l, const struct str *text, bool kept, struct err *err)
{
	struct signed_version v;
	int r = version_read(str_peek(text), text->len, l->version.key, &v, err);
	if (r >= 0 && !kept)
		r = version_check_time(&v, clock_wall_ms(), err);
	if (r < 0)
		return r;
	if (v.serial < l->version.serial)
		return err_set(err, ERR_INVALID, "the signed runner version is an old one: serial %lld, after %lld",
		               (long long)v.serial, (long long)l->version.serial);
	if (v.serial == l->version.serial)
		return 0;
	_cleanup_free_ char *path = kept ? NULL : cache_path(l);
	if (path != NULL && (r = fs_write_atomic(AT_FDCWD, path, str_peek(text), text->len, 0600, err)) < 0)
		return err_wrap(err, r, "keep the signed runner version");
	l->version.serial = v.serial;
	if (version_is_newer(v.version, wire_runner_version())) {
		tell(l, v.version);
		if (!kept)
			listener_say("The services are told runner version %s from now on.", v.version);
	}
	return 0;
}

static void load_kept(struct listener *l)
{
	_cleanup_free_ char *path = cache_path(l);
	_cleanup_(str_done) struct str text = STR_INIT(VERSION_DOCUMENT_MAX);
	struct err err = ERR_INIT;
	if (path == NULL || !fs_exists(AT_FDCWD, path))
		return;
	int r = fs_read(AT_FDCWD, path, VERSION_DOCUMENT_MAX, &text, &err);
	if (r >= 0)
		r = take(l, &text, true, &err);
	/* Another key may have been named: then its first document counts, whatever its serial. */
	if (r < 0) {
		err_wrap(&err, r, "the runner version that was kept is not used");
		log_err(&err);
	}
}

int version_begin(struct listener *l, struct err *err)
{
	const struct listener_options *o = &l->options;
	_cleanup_(str_done) struct str pem = STR_INIT(KEY_MAX);
	if (o->runner_version != NULL)
		tell(l, o->runner_version);
	if (o->version_source == NULL)
		return 0;
	int r = fs_read(AT_FDCWD, o->version_key, KEY_MAX, &pem, err);
	if (r >= 0)
		r = ed25519_key_read_pem(str_peek(&pem), pem.len, l->version.key, err);
	if (r < 0)
		return err_wrap(err, r, "read --version-key");
	load_kept(l);
	l->version.due_ms = o->probe > 0 ? 0 : clock_mono_ms();
	return 0;
}

/* The first failure of a streak is told. A URL may hold a credential, and is not. */
static void asked(struct listener *l, const struct str *text, int r, struct err *err)
{
	char line[ERR_FRAME_SIZE * 2];
	int64_t pause = is_waited_for(l) ? REFUSED_MS : DAY_MS;
	l->version.due_ms = clock_mono_ms() + registration_pace(pause);
	l->version.asked_wall_ms = clock_wall_ms();
	if (r >= 0)
		r = take(l, text, false, err);
	if (r < 0 && !l->version.failed)
		log_warning("listen", "--version-source brings no runner version: %s; the services are told %s",
		            err_line(err, line, sizeof(line)), wire_runner_version());
	l->version.failed = r < 0;
	for (size_t i = 0; i < l->endpoint_count; i++)
		endpoint_version_changed(l->endpoints[i]);
}

static void url_answered(void *context, int result, struct http_response *response, const struct err *failure)
{
	struct listener *l = context;
	struct err err = ERR_INIT;
	int r = result < 0 ? err_set(&err, result, "it does not answer (%s)", err_code_name(result)) : 0;
	if (r >= 0 && response->status != 200)
		r = err_set(&err, ERR_NETWORK, "it answers with status %d", response->status);
	(void)failure;
	asked(l, &response->body, r, &err);
}

static void ask(struct listener *l)
{
	const char *source = l->options.version_source;
	l->version.asked_ms = clock_mono_ms();
	if (is_url(source)) {
		struct call_request q = {
			.url = xstrdup(source), .timeout_ms = TIMEOUT_MS, .max_body = VERSION_DOCUMENT_MAX};
		l->version.due_ms = 0;
		call_start(l, &l->version.call, &q, url_answered, l);
		return;
	}
	_cleanup_(str_done) struct str text = STR_INIT(VERSION_DOCUMENT_MAX);
	struct err err = ERR_INIT;
	int r = fs_read(AT_FDCWD, source, VERSION_DOCUMENT_MAX, &text, &err);
	asked(l, &text, r, &err);
}

void version_timer(struct listener *l, int64_t now_ms)
{
	if (l->version.due_ms != 0 && now_ms >= l->version.due_ms && !l->stopping && !call_is_running(&l->version.call))
		ask(l);
}

bool version_refused(struct listener *l)
{
	if (l->version.due_ms == 0 && !call_is_running(&l->version.call))
		return false;
	if (!call_is_running(&l->version.call)) {
		int64_t earliest = l->version.asked_ms + registration_pace(LEAST_MS);
		l->version.due_ms = MIN(l->version.due_ms, earliest);
	}
	return true;
}

json_t *version_describe(const struct listener *l)
{
	if (l->options.version_source == NULL)
		return json_null();
	char when[CLOCK_TEXT_SIZE];
	return json_pack("{s:I, s:o, s:b}", "serial", (json_int_t)l->version.serial, "asked",
	                 l->version.asked_wall_ms != 0 ? json_string(clock_rfc3339(l->version.asked_wall_ms, when))
	                                               : json_null(),
	                 "good", !l->version.failed);
}

void version_end(struct listener *l)
{
	call_cancel(&l->version.call);
}
