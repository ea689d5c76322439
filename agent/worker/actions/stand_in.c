/* stand_in: an action of GitHub's that a typed step of ours carries out, where the job's settings say so (`native`): without node and
 * without a download. Its inputs become the step's. */
#include "agent/worker/actions/stand_in.h"

#include "agent/actions/native.h"
#include "agent/actions/resolve.h"
#include "agent/service/wire.h"

#include <strings.h>

/* The last word of its name is the step. */
static const char native[] = "actions/checkout";

enum { OLDEST = 4, LATEST = 7 };

/* What becomes of an input: another name, none since it changes nothing here, or none unless it asks for something. */
enum fate { PASSED, DROPPED, REFUSED };
static const struct {
	const char *name, *ours;
	enum fate fate;
} inputs_of[] = {
	{"repository", NULL, PASSED},
	{"ref", NULL, PASSED},
	{"token", NULL, PASSED},
	{"path", NULL, PASSED},
	{"clean", NULL, PASSED},
	{"fetch-depth", NULL, PASSED},
	{"github-server-url", "server", PASSED},
	{"persist-credentials", NULL, DROPPED},
	{"set-safe-directory", NULL, DROPPED},
	{"show-progress", NULL, DROPPED},
	{"fetch-tags", NULL, REFUSED},
	{"submodules", NULL, REFUSED},
	{"lfs", NULL, REFUSED},
};

static bool is_version(const char *ref)
{
	long long major;
	size_t digits = ref != NULL && ref[0] == 'v' ? strspn(ref + 1, "0123456789") : 0;
	if (digits == 0 || digits > 2 || (ref[1 + digits] != '\0' && ref[1 + digits] != '.'))
		return false;
	_cleanup_free_ char *text = xstrndup(ref + 1, digits);
	return str_parse_i64(text, OLDEST, LATEST, &major);
}

bool stand_in_takes(const struct job *j, const json_t *reference)
{
	const char *name = wire_string(reference, "name"), *path = wire_string(reference, "path");
	return name != NULL && strcasecmp(name, native) == 0 && native_has(job_setting(j, "native"), native) &&
	       (path == NULL || path[0] == '\0') && is_version(wire_string(reference, "ref"));
}

void stand_in_resolve(const json_t *reference, struct uses *ret)
{
	const char *ref = wire_string(reference, "ref");
	*ret = (struct uses){.kind = USES_TYPED,
	                     .step = xstrdup(strrchr(native, '/') + 1),
	                     .shown = xasprintf("%s@%s", native, ref),
	                     .action = xstrdup(native),
	                     .ref = xstrdup(ref)};
}

static int take(const char *name, json_t *value, json_t *into, struct err *err)
{
	const char *text = json_string_value(value);
	size_t i = 0;
	while (i < ARRAY_SIZE(inputs_of) && strcasecmp(inputs_of[i].name, name) != 0)
		i++;
	enum fate fate = i < ARRAY_SIZE(inputs_of) ? inputs_of[i].fate : REFUSED;
	bool asks = text != NULL && text[0] != '\0' && strcasecmp(text, "false") != 0;
	if (fate == REFUSED && asks) {
		int r = err_set(err, ERR_UNSUPPORTED, "the input '%.60s' of %s is not carried out here", name, native);
		return err_hint(err, r, "`--repo %s=DIR`, with a clone of it there, runs the action itself", native);
	}
	if (fate == PASSED)
		json_object_set(into, inputs_of[i].ours != NULL ? inputs_of[i].ours : inputs_of[i].name, value);
	return 0;
}

json_t *stand_in_inputs(const struct uses *uses, const json_t *inputs, struct err *err)
{
	const char *name;
	json_t *value, *ours = json_object();
	int r = 0;
	if (strcmp(uses->action, native) != 0) {
		json_decref(ours);
		return json_incref((json_t *)(uintptr_t)inputs);
	}
	json_object_foreach((json_t *)(uintptr_t)inputs, name, value) if (r >= 0) r = take(name, value, ours, err);
	if (r >= 0)
		return ours;
	json_decref(ours);
	return NULL;
}
