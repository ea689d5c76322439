/* What runs on the target. Whatever reads terraform's output outlives who waits for it: terraform dies of a broken pipe, in the middle of
 * its work. */
#include "steps/terraform/terraform.h"

#include "base/sys/fs.h"

int terraform_directory(const struct step_context *c, const struct view *v, char **ret, struct err *err)
{
	const struct terraform_in *in = c->input;
	if (*in->directory == '/') {
		*ret = xstrdup(in->directory);
		return 0;
	}
	if (strcmp(v->kind->name, "local") != 0) {
		err_set(err, ERR_INVALID, "'%s' is relative to the source tree, which is not on '%s'", in->directory,
		        v->name);
		return err_hint(err, ERR_INVALID,
		                "run it on this machine (a `local` target), or bring the files there first and name "
		                "their absolute path");
	}
	*ret = fs_join(c->deployment->source_root != NULL ? c->deployment->source_root : "/", in->directory);
	return 0;
}

/* The input's own come last: they win. */
struct field_pair *terraform_env(const struct terraform_in *in, struct arena *arena, size_t *ret_count)
{
	const struct field_pair fixed[] = {{"TF_IN_AUTOMATION", "1"},
	                                   {"TF_INPUT", "0"},
	                                   {"CHECKPOINT_DISABLE", "1"},
	                                   {"NO_COLOR", "1"},
	                                   {"TF_WORKSPACE", in->workspace != NULL ? in->workspace : "default"},
	                                   {"TF_PLUGIN_CACHE_DIR", in->plugin_cache}};
	struct field_pair *env =
		xcalloc(ARRAY_SIZE(fixed) + in->variables.count + in->env.count + 1, sizeof(struct field_pair));
	size_t count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (fixed[i].value != NULL)
			env[count++] = fixed[i];
	for (size_t i = 0; i < in->variables.count; i++)
		env[count++] = (struct field_pair){arena_printf(arena, "TF_VAR_%s", in->variables.items[i].key),
		                                   in->variables.items[i].value};
	for (size_t i = 0; i < in->env.count; i++)
		env[count++] = in->env.items[i];
	*ret_count = count;
	return env;
}

/* ---- the pieces ---- */

/* relay: hands lines on, and goes on when nobody reads them any more. */
static const char common[] =
	"umask 077; unset TF_CLI_ARGS TF_CLI_ARGS_init TF_CLI_ARGS_validate TF_CLI_ARGS_plan TF_CLI_ARGS_show TF_CLI_ARGS_apply\n"
	"unset TF_CLI_ARGS_state TF_CLI_ARGS_untaint TF_CLI_ARGS_force_unlock TF_LOG TF_LOG_CORE TF_LOG_PROVIDER TF_LOG_PATH\n"
	"part() { n=$(wc -c <\"$3\") && printf 'davit %s %s %s\\n' \"$1\" \"$2\" $((n)) && cat \"$3\"; }\n"
	"relay() { trap '' INT TERM HUP PIPE; while IFS= read -r l || [ -n \"$l\" ]; do printf '%s\\n' \"$l\"; done; } 2>/dev/null\n"
	"words() { tail -c 16000 \"$1\" >\"$1.cut\"; part \"$2\" \"$3\" \"$1.cut\"; }\n"
	"numbers() { sed -n -e 's/^  \"serial\": \\([0-9]*\\),*$/serial \\1/p' -e 's/^  \"lineage\": \"\\([A-Za-z0-9-]*\\)\",*$/lineage \\1/p'; }\n";

/* The working directory of a look goes with it. */
static const char scratch[] = "w=$(mktemp -d \"${TMPDIR:-/tmp}/davit-terraform-XXXXXXXXXX\") || exit 90\n"
			      "trap 'rm -rf \"$w\"' EXIT; trap : INT TERM HUP\n"
			      "TF_DATA_DIR=$w/data; export TF_DATA_DIR\n";

static void assign(struct str *out, const char *name, const char *value)
{
	str_appendf(out, "%s=", name);
	str_append_shell(out, value);
	str_append_c(out, '\n');
}

static void head(const struct terraform_in *in, const char *directory, struct str *out)
{
	str_append(out, common);
	assign(out, "p", in->program);
	str_append(out, "command -v \"$p\" >/dev/null 2>&1 || { printf 'davit missing 1 0\\n'; exit 0; }\ncd -- ");
	str_append_shell(out, directory);
	str_append(out, " 2>/dev/null || { printf 'davit directory 1 0\\n'; exit 0; }\n");
}

static void init_words(const struct terraform_in *in, struct str *out)
{
	str_append(out, "\"$p\" init -input=false -no-color -lockfile=readonly");
	for (size_t i = 0; i < in->backend_config.count; i++) {
		_cleanup_free_ char *word = xasprintf("-backend-config=%s=%s", in->backend_config.items[i].key,
		                                      in->backend_config.items[i].value);
		str_append_c(out, ' ');
		str_append_shell(out, word);
	}
}

static void look_head(const struct terraform_in *in, const char *directory, struct str *out)
{
	head(in, directory, out);
	str_append(out, scratch);
	init_words(in, out);
	str_append(out, " >\"$w/init\" 2>&1 </dev/null || { words \"$w/init\" init 1; exit 0; }\n");
}

/* A state in a file is read without its lock: a plan writes nothing on its target. `local` is what the backend's own note says. */
static const char lock_word[] = "lock=-lock-timeout=%llds\n"
				"if ! [ -s \"$TF_DATA_DIR/terraform.tfstate\" ] || grep -q '^ *\"type\": \"local\"' "
				"\"$TF_DATA_DIR/terraform.tfstate\"; then lock=-lock=false; fi\n";

/* Options never begin a value of ours: each is joined to its own. */
static void plan_words(const struct terraform_in *in, struct str *out)
{
	str_append(out,
	           "{ trap : INT TERM HUP; \"$p\" plan -input=false $lock -json -detailed-exitcode -out=\"$w/plan\"");
	for (size_t i = 0; i < in->var_files.count; i++) {
		_cleanup_free_ char *word = xasprintf("-var-file=%s", in->var_files.items[i]);
		str_append_c(out, ' ');
		str_append_shell(out, word);
	}
	str_append(out, " </dev/null 2>\"$w/noise\"; echo $? >\"$w/status\"; } | relay >&2\n");
}

void terraform_plan_script(const struct terraform_in *in, const char *directory, struct str *out)
{
	look_head(in, directory, out);
	str_append(
		out,
		"pwd -P >\"$w/real\"; part real 0 \"$w/real\"\n"
		"[ ! -e errored.tfstate ] || printf 'davit errored 1 0\\n'\n"
		"if [ -s .terraform/environment ]; then part selected 0 .terraform/environment; fi\n"
		"\"$p\" validate -json >\"$w/validate\" 2>&1 </dev/null || { part validate 1 \"$w/validate\"; exit 0; }\n");
	str_appendf(out, lock_word, (long long)in->lock_timeout_ms / 1000);
	plan_words(in, out);
	str_append(
		out,
		"s=$(cat \"$w/status\" 2>/dev/null || echo 1)\n"
		"words \"$w/noise\" noise \"$s\"\n"
		"case $s in 0|2) ;; *) exit 0;; esac\n"
		"\"$p\" state pull 2>/dev/null </dev/null | numbers >\"$w/numbers\" &\n"
		"\"$p\" show -json \"$w/plan\" >\"$w/show\" 2>\"$w/noise\" </dev/null || { wait; words \"$w/noise\" noise 1; exit 0; }\n"
		"wait; part numbers 0 \"$w/numbers\"; part show \"$s\" \"$w/show\"; part plan \"$s\" \"$w/plan\"\n");
}

/* ---- apply ---- */

/* follow: notes the events that say what became of a resource. ask: who holds the lock, asked when the first change has begun: from then on
 * it is this very process, which holds it until its end. An answer that came behind that end counts for nothing. */
static const char following[] =
	"ask() { \"$p\" untaint -lock-timeout=0s -no-color terraform_data.davit_asks_who_holds_the_lock >\"$w/asked\" 2>&1 </dev/null\n"
	" head -c 4000 \"$w/asked\" >\"$w/asking\"; rm -f \"$w/asked\"; [ -e \"$w/status\" ] || mv -f \"$w/asking\" \"$w/lock\"; }\n"
	"follow() { trap '' INT TERM HUP PIPE; asked=; while IFS= read -r l || [ -n \"$l\" ]; do\n"
	" case $l in\n"
	" '{\"@level\":\"'*'\"type\":\"apply_start\"'*|'{\"@level\":\"'*'\"type\":\"apply_complete\"'*|"
	"'{\"@level\":\"'*'\"type\":\"apply_errored\"'*)\n"
	"  printf '%s\\n' \"$l\" >>\"$w/log\"\n"
	"  [ \"$lock\" = -lock=false ] || [ \"$asked\" ] || { asked=1; ask & };;\n"
	" esac; printf '%s\\n' \"$l\"\n"
	"done; wait; } 2>/dev/null\n";

void terraform_apply_script(const struct terraform_in *in, const char *directory, const char *work, const char *kept,
                            struct str *out)
{
	head(in, directory, out);
	assign(out, "w", work);
	assign(out, "kept", kept);
	str_append(out, "TF_DATA_DIR=$w/data; export TF_DATA_DIR; trap : INT TERM HUP\n");
	str_append(out, following);
	init_words(in, out);
	str_append(out, " >\"$w/init\" 2>&1 </dev/null || { words \"$w/init\" init 1; exit 0; }\n");
	str_appendf(out, lock_word, (long long)in->lock_timeout_ms / 1000);
	/* A state in a file is locked here: only asking for its lock is of no use, since that one goes with its process. */
	str_appendf(out,
	            "{ trap : INT TERM HUP; \"$p\" apply -input=false -lock-timeout=%llds -json \"$w/plan\" </dev/null "
	            "2>\"$w/noise\"; echo $? >\"$w/status\"; } | follow\n",
	            (long long)in->lock_timeout_ms / 1000);
	str_append(
		out,
		"rm -f \"$w/plan\"; { printf 'status %s\\n' \"$(cat \"$w/status\")\"\n"
		"if [ -e errored.tfstate ] && mkdir -p -m 700 \"$kept\" && cp errored.tfstate \"$kept/$$.new\" &&\n"
		" mv \"$kept/$$.new\" \"$kept/$(date -u +%Y%m%dT%H%M%SZ)-$$.tfstate\"; then sync -f \"$kept\" 2>/dev/null || sync; echo 'errored 1'; fi\n"
		"\"$p\" state pull 2>/dev/null </dev/null | numbers; echo end; } >\"$w/facts.new\"; mv -f \"$w/facts.new\" \"$w/facts\"\n"
		"words \"$w/noise\" noise \"$(cat \"$w/status\")\" >&2\n");
}

void terraform_unlock_script(const struct terraform_in *in, const char *directory, const char *id, struct str *out)
{
	look_head(in, directory, out);
	assign(out, "id", id);
	str_append(out, following);
	/* The lock is asked for again right before it is freed: some backends free whatever is there. */
	str_append(
		out,
		"ask; part lock 0 \"$w/lock\"\n"
		"h=$(sed -n 's/^.*ID=//p' \"$w/lock\" | head -n 1)\n"
		"[ \"$h\" ] || h=$(sed -n 's/^[^A-Za-z]*ID: *//p' \"$w/lock\" | head -n 1)\n"
		"{ [ \"$id\" ] && [ \"$h\" = \"$id\" ]; } || exit 0\n"
		"\"$p\" force-unlock -force \"$id\" >\"$w/noise\" 2>&1 </dev/null; words \"$w/noise\" unlocked $?\n");
}
