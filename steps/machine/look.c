/* Looks at many things in one round trip: a function of sh for each kind, a line of input and a line of answer for each thing. The answer
 * comes from the target, which may say anything. */
#include "steps/machine/machine.h"
#include "base/core/mem.h"
#include "steps/machine/machine_priv.h"

#include <ctype.h>
#include <string.h>

enum {
	SCRIPT_MAX = 256 << 10,
	INPUT_MAX = 8 << 20,
	ANSWER_MAX = 8 << 20,
	VALUE_MAX = 16 << 10,
	LOOK_MS = 5 * 60 * 1000
};

const char machine_prelude[] =
	"PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C; export PATH LC_ALL; umask 022\n"
	"has() { command -v \"$1\" >/dev/null 2>&1; }\n"
	"say() { printf '\\t%s=' \"$1\"; printf %s \"$2\" | tr '\\n\\t' '  '; }\n"
	"note() { say \"+$1\" \"$2\"; }\n"
	"manager() { if has apt-get && has dpkg-query; then echo apt; elif has apk; then echo apk; elif has dnf && has rpm; then echo dnf; fi; }\n"
	"sort_names() { sort -u | tr '\\n' ',' | sed 's/^,*//; s/,$//'; }\n";

/* The loop reads from a descriptor of its own, since what a look calls may read its input. */
static const char loop[] = "n=0; tab=$(printf '\\t')\n"
			   "while IFS=\"$tab\" read -r kind id arg; do printf '%s' \"$n\"; n=$((n + 1))\n"
			   "look_$kind \"$id\" \"$arg\" \"$BEGUN\" </dev/null; echo; done\n";

bool machine_text_fits(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	return true;
}

void machine_sights_done(struct machine_sight *sights, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		json_decref(sights[i].node);
		json_decref(sights[i].notes);
		sights[i].node = sights[i].notes = NULL;
	}
}

static void add_function(const struct machine_kind *kind, struct str *script)
{
	str_appendf(script, "look_%s() {\n%s\n}\n", kind->change.name, kind->look);
}

static void write_script(const struct machine_sight *sights, size_t count, struct str *script)
{
	str_append(script, machine_prelude);
	for (size_t i = 0; i < count; i++) {
		bool known = false;
		for (size_t k = 0; k < i; k++)
			known |= sights[k].kind == sights[i].kind;
		if (!known)
			add_function(sights[i].kind, script);
	}
	str_append(script, loop);
}

/* ---- the answer ---- */

static int unexpected(const struct view *v, const char *what, struct err *err)
{
	return err_set(err, ERR_PROTOCOL, "unexpected reply of '%s' when it was asked about %s", v->name, what);
}

/* The name of a member is a word of ours: it becomes the name of a variable again. */
static bool is_name(const char *name)
{
	if (!islower((unsigned char)*name))
		return false;
	for (const char *p = name; *p; p++)
		if (!islower((unsigned char)*p) && *p != '_')
			return false;
	return true;
}

static bool read_member(struct machine_sight *s, char *member)
{
	bool is_note = *member == '+';
	char *name = member + is_note, *value = strchr(name, '=');
	if (value == NULL)
		return false;
	*value++ = '\0';
	if (!is_name(name) || strlen(value) > VALUE_MAX)
		return false;
	for (char *p = value; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	json_set_string(is_note ? s->notes : s->node, name, value);
	return true;
}

static bool read_line(struct machine_sight *s, size_t index, char *line)
{
	char number[24], *word = strsep(&line, "\t");
	snprintf(number, sizeof(number), "%zu", index);
	s->node = json_object();
	s->notes = json_object();
	if (strcmp(word, number) != 0)
		return false;
	while ((word = strsep(&line, "\t")) != NULL)
		if (!read_member(s, word))
			return false;
	return json_get_string(s->node, "type") != NULL;
}

static int read_answer(const struct view *v, char *rest, struct machine_sight *sights, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		char *line = rest != NULL ? strsep(&rest, "\n") : NULL;
		if (line == NULL || !read_line(&sights[i], i, line))
			return unexpected(v, sights[i].id, err);
	}
	return rest != NULL && *rest != '\0' ? unexpected(v, sights[count - 1].id, err) : 0;
}

int machine_look_begun(struct view *v, struct machine_sight *sights, size_t count, const char *begun, struct err *err)
{
	_cleanup_(str_done) struct str script = STR_INIT(SCRIPT_MAX), input = STR_INIT(INPUT_MAX);
	_cleanup_(target_result_done) struct target_result result = TARGET_RESULT_INIT;
	const struct field_pair env[] = {{.key = "BEGUN", .value = begun != NULL ? begun : ""},
	                                 {.key = "PLANNING", .value = begun == NULL ? "yes" : ""}};
	if (count == 0)
		return 0;
	write_script(sights, count, &script);
	for (size_t i = 0; i < count; i++)
		str_appendf(&input, "%s\t%s\t%s\n", sights[i].kind->change.name, sights[i].id,
		            sights[i].arg != NULL ? sights[i].arg : "");
	const struct target_command command = {.script = str_peek(&script),
	                                       .input = str_peek(&input),
	                                       .input_len = input.len,
	                                       .env = env,
	                                       .env_count = ARRAY_SIZE(env),
	                                       .timeout_ms = LOOK_MS,
	                                       .max_output = ANSWER_MAX};
	if (script.failed || input.failed)
		return err_set(err, ERR_LIMIT, "too much is asked of '%s' at once", v->name);
	int r = host_query(v, &command, &result, err);
	if (r == 0 && result.timed_out)
		r = err_set(err, ERR_TIMEOUT, "'%s' did not answer in time", v->name);
	if (r == 0)
		r = read_answer(v, result.out.len > 0 ? result.out.data : NULL, sights, count, err);
	if (r < 0)
		machine_sights_done(sights, count);
	return r;
}

int machine_look(struct view *v, struct machine_sight *sights, size_t count, struct err *err)
{
	return machine_look_begun(v, sights, count, NULL, err);
}
