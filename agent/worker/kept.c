#include "agent/worker/kept.h"

#include "agent/service/wire.h"
#include "base/core/clock.h"
#include "base/core/log.h"
#include "base/net/http.h"
#include "base/secret/base64.h"
#include "base/secret/seal.h"
#include "base/sys/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

enum {
	COUNT_MAX = 64,
	BYTES_MAX = 64 << 20,
	ONE_MAX = 16 << 20, /* what can be sealed */
	VALID_MS = 6 * 60 * 60 * 1000,
	GIVEN_UP_MS = 7 * 24 * 60 * 60 * 1000, /* behind the end of its token */
	CLAIMS_MAX = 64 << 10,
	DRAIN_MS = 30000,
	CALL_MS = 60000,
	EXIT_BASE = 100,
};
static const char place[] = "unsent";

/* ---- writing ---- */

/* The token's own end; 0: it does not say. Not verified: the service does that. */
static int64_t token_ends_ms(const char *token)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(CLAIMS_MAX);
	_cleanup_json_ json_t *claims = NULL;
	const char *from = strchr(token, '.'), *to = from != NULL ? strchr(from + 1, '.') : NULL;
	if (to == NULL || base64_decode(from + 1, (size_t)(to - from - 1), &text, NULL) < 0 ||
	    json_parse(str_peek(&text), text.len, CLAIMS_MAX, &claims, NULL) < 0)
		return 0;
	int64_t seconds = json_get_int(claims, "exp", 0);
	return seconds > 0 && seconds < INT64_MAX / 1000 ? seconds * 1000 : 0;
}

struct kept_file {
	char *name;
	int64_t bytes, changed_s;
};

static struct kept_file *list_kept(const char *directory, size_t *ret_count)
{
	struct kept_file *files = NULL;
	size_t cap = 0;
	DIR *dir = opendir(directory);
	*ret_count = 0;
	for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
		struct stat st;
		if (strspn(entry->d_name, "0123456789abcdefABCDEF-") != strlen(entry->d_name) ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		files = xgrow(files, &cap, *ret_count + 1, sizeof(*files));
		files[(*ret_count)++] = (struct kept_file){xstrdup(entry->d_name), st.st_size, st.st_mtime};
	}
	if (dir != NULL)
		closedir(dir);
	return files;
}

static struct kept_file *oldest_but(struct kept_file *files, size_t count, const char *id)
{
	struct kept_file *oldest = NULL;
	for (size_t i = 0; i < count; i++)
		if (files[i].bytes >= 0 && strcmp(files[i].name, id) != 0 &&
		    (oldest == NULL || files[i].changed_s < oldest->changed_s))
			oldest = &files[i];
	return oldest;
}

static void make_room(const char *state, const char *id, int64_t need)
{
	size_t count;
	_cleanup_free_ char *directory = fs_join(state, place);
	_cleanup_free_ struct kept_file *files = list_kept(directory, &count);
	int64_t total = need;
	size_t left = count + 1;
	for (size_t i = 0; i < count; i++) {
		bool replaced = strcmp(files[i].name, id) == 0;
		total += replaced ? 0 : files[i].bytes;
		left -= replaced;
	}
	for (struct kept_file *f; (left > COUNT_MAX || total > BYTES_MAX) && (f = oldest_but(files, count, id)) != NULL;
	     left--) {
		log_warning("worker", "the result of job %s was not sent, and is dropped: too many wait", f->name);
		(void)seal_erase_at(state, place, f->name, NULL);
		total -= f->bytes;
		f->bytes = -1;
	}
	for (size_t i = 0; i < count; i++)
		free(files[i].name);
}

static json_t *record_of(const struct job *j, const json_t *completion, enum result result, bool taken)
{
	int64_t now = clock_wall_ms(), ends = token_ends_ms(j->run.token);
	json_t *record =
		json_pack("{s:i, s:I, s:I, s:i, s:b}", "format", 1, "kept_at", (json_int_t)now, "valid_until",
	                  (json_int_t)(ends > 0 ? ends : now + VALID_MS), "result", (int)result, "taken", (int)taken);
	run_job_write(&j->run, record);
	json_object_set(record, "completion", (json_t *)(uintptr_t)completion);
	return record;
}

bool kept_write(struct job *j, const json_t *completion, enum result result, bool taken)
{
	const char *state = job_setting(j, "state_dir");
	if (j->watched || state[0] == '\0')
		return false;
	struct err err = ERR_INIT;
	/* Where both services are told, the older one shows less. */
	static const char *const services[] = {"older_results", "results"};
	_cleanup_json_ json_t *record = record_of(j, completion, result, taken), *logs = reports_keep(j->reports);
	json_object_update(record, logs);
	char *text = json_text(record);
	for (size_t i = 0; logs != NULL && i < ARRAY_SIZE(services) && strlen(text) > ONE_MAX; i++) {
		explicit_bzero(text, strlen(text));
		free(text);
		json_object_del(record, services[i]);
		text = json_text(record);
	}
	size_t len = strlen(text);
	make_room(state, j->run.job_id, (int64_t)len);
	int r = seal_write_at(state, place, j->run.job_id, text, len, &err);
	explicit_bzero(text, len);
	free(text);
	if (r < 0) {
		err_wrap(&err, r, "keep the result of this job until it is sent");
		log_err(&err);
	}
	return r >= 0;
}

void kept_erase(struct job *j)
{
	const char *state = job_setting(j, "state_dir");
	if (j->watched || state[0] == '\0')
		return;
	/* Not synced: what comes back after a power cut is asked for once, and not waited for any more. */
	_cleanup_free_ char *path = xasprintf("%s/%s/%s", state, place, j->run.job_id);
	(void)unlink(path);
}

/* ---- sending ---- */

struct delivery {
	json_t *record;
	struct run_job run;
	struct http *http;
	bool taken; /* perhaps, by an earlier try (runservice_completed) */
};

static void delivery_done(struct delivery *d)
{
	run_job_done(&d->run);
	http_free(d->http);
	json_decref(d->record);
}

static int read_record(const char *state, const char *job_id, struct delivery *d, struct err *err)
{
	_cleanup_(str_done) struct str text = STR_SECRET_INIT(ONE_MAX);
	int r = seal_read_at(state, place, job_id, &text, err);
	if (r >= 0)
		r = json_parse(str_peek(&text), text.len, ONE_MAX, &d->record, err);
	if (r >= 0)
		r = run_job_load(d->record, &d->run, err);
	if (r >= 0 && (json_get_object(d->record, "completion") == NULL || strcmp(d->run.job_id, job_id) != 0))
		r = err_set(err, ERR_PROTOCOL, "what is kept of job %s is not of format 1", job_id);
	return r;
}

/* Before the result: a service takes no more of a job that is over. */
static void send_logs(struct delivery *d)
{
	struct reports *reports = reports_new();
	int64_t until = clock_mono_ms() + DRAIN_MS, left;
	if (!reports_restore(reports, d->http, &d->run, d->record))
		log_warning("worker", "what is kept of the logs of job '%s' is damaged", d->run.name);
	while (!reports_is_idle(reports) && (left = until - clock_mono_ms()) > 0)
		if (http_step(d->http, NULL, 0, left, NULL) < 0)
			break;
	reports_free(reports);
}

/* The last of the requests that the end takes decides. */
static enum runservice_end send_once(struct delivery *d, const json_t *body, struct err *err)
{
	enum runservice_end end = RUNSERVICE_REFUSED;
	bool before = d->taken;
	for (int index = 0;; index++) {
		struct service_request q = {.url = NULL};
		struct http_response response = {.status = 0};
		struct err failure = ERR_INIT;
		int r = d->run.type->complete(&d->run, body, index, &q, err);
		if (r <= 0)
			return r < 0 ? RUNSERVICE_REFUSED : end;
		q.timeout_ms = CALL_MS;
		err_clear(err);
		d->taken = before;
		r = service_request_perform(d->http, &q, d->run.token, NULL, &response, &failure);
		end = runservice_completed(&d->run, r, &response, &failure, &d->taken, err);
		http_response_done(&response);
		service_request_done(&q);
	}
}

static enum runservice_end send_completion(struct delivery *d, bool *ret_failed, struct err *err)
{
	const json_t *whole = json_get_object(d->record, "completion");
	json_t *body = json_incref((json_t *)(uintptr_t)whole);
	enum runservice_end end = RUNSERVICE_REFUSED;
	for (int refusals = 0; body != NULL && end == RUNSERVICE_REFUSED;) {
		char line[ERR_FRAME_SIZE];
		end = send_once(d, body, err);
		if (end == RUNSERVICE_SENT)
			*ret_failed = strcmp(json_get_string(body, "conclusion"), "failed") == 0;
		json_decref(body);
		body = end != RUNSERVICE_REFUSED
		               ? NULL
		               : runservice_smaller(whole, ++refusals, err_line(err, line, sizeof(line)));
	}
	return end;
}

static void note_taken(const char *state, struct delivery *d)
{
	struct err err = ERR_INIT;
	json_object_set_new(d->record, "taken", json_true());
	char *text = json_text(d->record);
	size_t len = strlen(text);
	if (seal_write_at(state, place, d->run.job_id, text, len, &err) < 0)
		log_err(&err);
	explicit_bzero(text, len);
	free(text);
}

static int deliver(const char *state, struct delivery *d)
{
	struct err err = ERR_INIT;
	char line[ERR_FRAME_SIZE];
	bool failed = false;
	struct http_config config = wire_http_config();
	int result = (int)json_get_int(d->record, "result", RESULT_FAILED);
	enum runservice_end end = RUNSERVICE_GONE;
	bool known = d->taken = json_is_true(json_object_get(d->record, "taken"));
	d->http = http_new(&config, &err);
	if (d->http == NULL) {
		log_err(&err);
		return KEPT_LATER;
	}
	if (runservice_prepare(d->http, &d->run, NULL, &err) < 0) {
		end = err.code == ERR_AUTH ? RUNSERVICE_GONE : RUNSERVICE_LATER;
	} else {
		send_logs(d);
		end = send_completion(d, &failed, &err);
	}
	/* The service says what it still takes, since the clock may be wrong; this bounds how long one that is away is asked. */
	if (end == RUNSERVICE_LATER && clock_wall_ms() > json_get_int(d->record, "valid_until", 0) + GIVEN_UP_MS)
		end = RUNSERVICE_GONE;
	switch (end) {
	case RUNSERVICE_SENT:
		log_info("worker", "the kept result of job '%s' is sent", d->run.name);
		break;
	case RUNSERVICE_LATER:
		log_debug("worker", "the kept result of job '%s': %s", d->run.name, err_line(&err, line, sizeof(line)));
		if (d->taken && !known)
			note_taken(state, d);
		return KEPT_LATER;
	default:
		log_warning("worker", "the kept result of job '%s' is dropped: %s", d->run.name,
		            err_line(&err, line, sizeof(line)));
		break;
	}
	(void)seal_erase_at(state, place, d->run.job_id, NULL);
	if (end != RUNSERVICE_SENT)
		return KEPT_DROPPED;
	return EXIT_BASE + (failed ? (int)RESULT_FAILED : MIN(MAX(result, 0), (int)RESULT_NONE));
}

int kept_deliver(const char *state_dir, const char *job_id)
{
	struct err err = ERR_INIT;
	struct delivery d = {0};
	int r = read_record(state_dir, job_id, &d, &err), status = KEPT_NONE;
	if (r >= 0) {
		status = deliver(state_dir, &d);
	} else if (r != ERR_NOT_FOUND) {
		log_err(&err);
		(void)seal_erase_at(state_dir, place, job_id, NULL);
	}
	delivery_done(&d);
	return status;
}
