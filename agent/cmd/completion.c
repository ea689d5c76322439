/* `davit completion SHELL`: what that shell runs to complete a command line. The words themselves are asked of each command when they are
 * wanted (`davit COMMAND --complete`), from the table that its --help is made of. */
#include <stdio.h>
#include <string.h>

#include "agent/cmd/cli.h"
#include "agent/cmd/commands.h"

/* Both read lines of WORD, ARGUMENT and HELP with a tab between them. `agent` has parts, each with options of its own. */
static const char bash[] =
	"# davit completion bash: source it, or put it into a directory of bash-completion as `davit`.\n"
	"_davit() {\n"
	"  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} word argument help values='' words='' path=()\n"
	"  [ \"$COMP_CWORD\" -lt 2 ] || path=(\"${COMP_WORDS[1]}\")\n"
	"  [ \"$COMP_CWORD\" -lt 3 ] || [ \"${COMP_WORDS[1]}\" != agent ] || path+=(\"${COMP_WORDS[2]}\")\n"
	"  case ${path[0]-} in -*) path=() ;; esac\n"
	"  while IFS=$'\\t' read -r word argument help; do\n"
	"    words+=\" $word\"\n"
	"    [ \"$word\" != \"$prev\" ] || [ \"$argument\" = - ] || values=$argument\n"
	"  done < <(\"${COMP_WORDS[0]}\" \"${path[@]}\" --complete 2>/dev/null)\n"
	"  case $values in\n"
	"  *[a-z]'|'*) COMPREPLY=($(compgen -W \"${values//|/ }\" -- \"$cur\")); return ;;\n"
	"  ?*) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
	"  esac\n"
	"  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	"  case $cur in -*) ;; *) [ \"$COMP_CWORD\" -lt 2 ] || COMPREPLY+=($(compgen -f -- \"$cur\")) ;; esac\n"
	"}\n"
	"complete -o filenames -F _davit davit\n";

static const char zsh[] =
	"#compdef davit\n"
	"# davit completion zsh: put it into a directory of $fpath as `_davit`, or source it after compinit.\n"
	"_davit() {\n"
	"  local word argument help values=''\n"
	"  local -a path_words shown\n"
	"  (( CURRENT < 3 )) || path_words=(\"${words[2]}\")\n"
	"  (( CURRENT < 4 )) || [[ ${words[2]} != agent ]] || path_words+=(\"${words[3]}\")\n"
	"  [[ ${path_words[1]-} != -* ]] || path_words=()\n"
	"  while IFS=$'\\t' read -r word argument help; do\n"
	"    shown+=(\"$word:$help\")\n"
	"    [[ $word != ${words[CURRENT-1]} || $argument == - ]] || values=$argument\n"
	"  done < <(\"${words[1]}\" \"${path_words[@]}\" --complete 2>/dev/null)\n"
	"  case $values in\n"
	"  *[a-z]'|'*) compadd -- \"${(@s:|:)values}\"; return ;;\n"
	"  ?*) _files; return ;;\n"
	"  esac\n"
	"  _describe davit shown\n"
	"  (( CURRENT < 3 )) || [[ ${words[CURRENT]} == -* ]] || _files\n"
	"}\n"
	"[[ ${funcstack[1]-} == _davit ]] && _davit \"$@\" || compdef _davit davit\n";

static const char fish[] =
	"# davit completion fish: put it into ~/.config/fish/completions as davit.fish, or source it.\n"
	"function __davit_words\n"
	"    set -l typed (commandline -opc)\n"
	"    set -l asked\n"
	"    if test (count $typed) -ge 2; and not string match -q -- '-*' $typed[2]\n"
	"        set asked $typed[2]\n"
	"        if test $typed[2] = agent; and test (count $typed) -ge 3\n"
	"            set -a asked $typed[3]\n"
	"        end\n"
	"    end\n"
	"    for line in ($typed[1] $asked --complete 2>/dev/null)\n"
	"        set -l part (string split \\t -- $line)\n"
	"        if test $part[1] = $typed[-1]; and test $part[2] != -\n"
	"            if string match -qr '[a-z][|]' -- $part[2]\n"
	"                string split '|' -- $part[2]\n"
	"            else\n"
	"                __fish_complete_path (commandline -ct)\n"
	"            end\n"
	"            return\n"
	"        end\n"
	"        set -a __davit_shown $part[1]\\t$part[3]\n"
	"    end\n"
	"    printf '%s\\n' $__davit_shown\n"
	"    set -e __davit_shown\n"
	"    if test (count $typed) -ge 2; and not string match -q -- '-*' (commandline -ct)\n"
	"        __fish_complete_path (commandline -ct)\n"
	"    end\n"
	"end\n"
	"complete -c davit -f -a '(__davit_words)'\n";

static const struct {
	const char *name, *script;
} shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};

int cmd_completion(int argc, char **argv)
{
	static const struct cli_option options[] = {{0}};
	const struct cli_command command = {
		.name = "completion",
		.usage = "bash|zsh|fish",
		.summary = "Prints what makes that shell complete davit's commands, options and their values.",
		.options = options,
		.min_rest = 1,
		.max_rest = 1};
	struct cli_rest rest = {0};
	int status = cli_parse(&command, argc, argv, &rest);
	if (status >= 0)
		return status;
	for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
		if (strcmp(rest.words[0], shells[i].name) != 0)
			continue;
		fputs(shells[i].script, stdout);
		return 0;
	}
	struct err err = ERR_INIT;
	err_set(&err, ERR_INVALID, "'%.60s' is not a shell that davit knows", rest.words[0]);
	err_hint(&err, ERR_INVALID, "bash, zsh or fish");
	return cli_fail(&err, 2);
}
