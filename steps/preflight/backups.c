/* How old the newest good backup is: of files that somebody else makes, by the target's own clock; of snapshots of this deployment, by the
 * time in their name, which is this machine's. One that is damaged is told, and does not count. */
#include "steps/preflight/preflight.h"

#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "steps/common/paths.h"
#include "steps/common/retention.h"
#include "steps/sources/sources.h"

#include <stdio.h>

struct wanted {
	const struct step_context *c;
	struct view *v;
	const char *what;
	int64_t most_ms;
	const char *pointer;
	struct faults *faults;
};

void preflight_validate_backups(const struct preflight_in *in, struct faults *faults)
{
	for (size_t i = 0; i < in->backups.count; i++) {
		const struct field_pair *one = &in->backups.items[i];
		_cleanup_(str_done) struct str at = STR_INIT(1024);
		long long ms;
		preflight_at_key(&at, "backups", one->key);
		if (one->key[0] != '/' && strchr(one->key, ' ') == NULL) {
			faults_add(faults, NULL, str_peek(&at), "'%s' is neither a path nor a source and what it keeps",
			           one->key);
			faults_hint(faults, "/var/backups/shop, or \"postgres shop\"");
		}
		if (str_parse_duration_ms(one->value, &ms) < 0 || ms <= 0) {
			faults_add(faults, NULL, str_peek(&at), "'%s' is not an age", one->value);
			faults_hint(faults, "26h, 7d");
		}
	}
}

static void judge_age(const struct wanted *w, int64_t age_ms, const char *name)
{
	char age[CLOCK_TEXT_SIZE], most[CLOCK_TEXT_SIZE];
	if (age_ms <= w->most_ms)
		return;
	faults_add(w->faults, NULL, w->pointer, "the newest backup of '%s' on '%s' is %s old, more than %s: %s",
	           w->what, w->v->name, clock_duration(age_ms, age), clock_duration(w->most_ms, most), name);
	faults_hint(w->faults, "make one now, and find out why there was none since");
}

static void say_none(const struct wanted *w)
{
	faults_add(w->faults, NULL, w->pointer, "there is no good backup of '%s' on '%s'", w->what, w->v->name);
	faults_hint(w->faults, "make one before anything is changed");
}

/* ---- files ---- */

/* The newest file that is not empty, without following links: "AGE NAME". find's -newer is in POSIX, its -printf is not. */
static const char newest_script[] =
	"[ -r \"$P\" ] || exit 1\n"
	"n=$(find \"$P\" -type f -size +0c -exec sh -c 'for f; do if [ -z \"$n\" ] || [ \"$f\" -nt \"$n\" ]; then n=$f; fi; done; "
	"printf \"%s\\n\" \"$n\"' sh {} + 2>/dev/null |\n"
	"  { n=; while IFS= read -r f; do if [ -z \"$n\" ] || [ \"$f\" -nt \"$n\" ]; then n=$f; fi; done; printf '%s' \"$n\"; })\n"
	"[ -n \"$n\" ] || exit 1\n"
	"m=$(stat -c %Y -- \"$n\" 2>/dev/null || stat -f %m -- \"$n\") && echo \"$(($(date +%s) - m)) $n\"\n";

static int check_path(const struct wanted *w, struct err *err)
{
	const struct field_pair env[] = {{"P", w->what}};
	_cleanup_(str_done) struct str out = STR_INIT(64 << 10);
	char *end;
	int r = step_ask(w->v, newest_script, env, 1, NULL, &out, err);
	if (r < 0)
		return r;
	long long age = strtoll(str_peek(&out), &end, 10);
	if (r != 0 || end == str_peek(&out)) {
		say_none(w);
		return 0;
	}
	str_truncate(&out, strcspn(str_peek(&out), "\n"));
	judge_age(w, age * 1000, *end == ' ' ? str_peek(&out) + (end - str_peek(&out)) + 1 : "");
	return 0;
}

/* ---- snapshots ---- */

static bool keeps_path(const json_t *head, const char *path)
{
	size_t i;
	json_t *one;
	json_array_foreach(json_object_get(head, "paths"), i, one)
	{
		const char *kept = json_get_string(one, "path");
		if (kept != NULL && strcmp(kept, path) == 0)
			return true;
	}
	return false;
}

/* Files have no subject: their manifest names the paths. */
static int is_wanted(const struct wanted *w, const char *place, bool *ret, struct err *err)
{
	static const char files[] = "files ";
	_cleanup_free_ char *file = fs_join(place, "subject");
	_cleanup_(str_done) struct str subject = STR_INIT(SUBJECT_MAX);
	_cleanup_json_ json_t *head = NULL;
	int r = host_read(w->v, file, SUBJECT_MAX - 1, &subject, err);
	*ret = r == 0 && strcmp(str_peek(&subject), w->what) == 0;
	if (r != ERR_NOT_FOUND)
		return r;
	err_clear(err);
	if (!str_starts(w->what, files) || source_read_head(w->v, place, &head, err) < 0) {
		err_clear(err);
		return 0;
	}
	*ret = keeps_path(head, w->what + strlen(files));
	return 0;
}

/* "20260131T102030-3fa94c": when it was made. */
static int64_t made_ms(const char *id)
{
	char text[CLOCK_TEXT_SIZE];
	int64_t ms = 0;
	if (strlen(id) < RETENTION_TIME)
		return 0;
	snprintf(text, sizeof(text), "%.4s-%.2s-%.2sT%.2s:%.2s:%.2s.000Z", id, id + 4, id + 6, id + 9, id + 11,
	         id + 13);
	return clock_parse_rfc3339(text, &ms) == 0 ? ms : 0;
}

/* 1: it is one that is good. */
static int judge_place(const struct wanted *w, const char *id, const char *place, struct err *err)
{
	char line[ERR_FRAME_SIZE];
	bool wanted = false;
	int r = is_wanted(w, place, &wanted, err);
	if (r < 0 || !wanted)
		return r;
	r = source_check(w->v, place, NULL, err);
	if (r == ERR_CONFLICT || r == ERR_INVALID) {
		faults_warn(w->faults, w->pointer, "a backup of '%s' does not count: %s", w->what,
		            err_line(err, line, sizeof(line)));
		faults_hint(w->faults, "the next one that is good is looked for; find out what changed it");
		err_clear(err);
		return 0;
	}
	if (r < 0)
		return r;
	judge_age(w, clock_wall_ms() - made_ms(id), id);
	return 1;
}

static int judge_snapshot(const struct wanted *w, const char *dir, const char *id, struct err *err)
{
	_cleanup_free_ char *snapshot = fs_join(dir, id);
	_cleanup_(strv_done) struct strv places = {0};
	int r = host_list(w->v, snapshot, &places, err);
	for (size_t i = 0; r == 0 && i < places.count; i++) {
		_cleanup_free_ char *place = fs_join(snapshot, places.items[i]);
		r = judge_place(w, id, place, err);
	}
	return r;
}

static int check_snapshots(const struct wanted *w, struct err *err)
{
	_cleanup_free_ char *dir = source_snapshots_dir(w->c, w->v);
	_cleanup_(retention_done) struct retention_list kept = {0};
	int r = retention_list(w->v, dir, "", "", &kept, err);
	for (size_t i = kept.count; r == 0 && i-- > 0;)
		r = judge_snapshot(w, dir, kept.items[i].name, err);
	if (r == 0)
		say_none(w);
	return r < 0 ? r : 0;
}

int preflight_check_backups(const struct step_context *c, struct view *v, struct faults *faults, struct err *err)
{
	const struct preflight_in *in = c->input;
	for (size_t i = 0; i < in->backups.count; i++) {
		long long most = 0;
		_cleanup_(str_done) struct str at = STR_INIT(1024);
		preflight_at_key(&at, "backups", in->backups.items[i].key);
		str_parse_duration_ms(in->backups.items[i].value, &most);
		const struct wanted w = {.c = c,
		                         .v = v,
		                         .what = in->backups.items[i].key,
		                         .most_ms = most,
		                         .pointer = str_peek(&at),
		                         .faults = faults};
		int r = w.what[0] == '/' ? check_path(&w, err) : check_snapshots(&w, err);
		if (r < 0)
			return r;
	}
	return 0;
}
