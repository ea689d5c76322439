/* A key in a user's authorized_keys, found by its type and its base64, whatever its options and comment are. The user writes the file, not
 * root: what a user laid into a home must lead root nowhere. */
#include "base/core/mem.h"
#include "base/secret/digest.h"
#include "steps/machine/machine.h"

#include <ctype.h>
#include <string.h>

enum { ID_DIGITS = 16 };

static const char look[] =
	"user=${1%%:*} h=; e=$(getent passwd \"$user\") && h=$(echo \"$e\" | cut -d: -f6)\n"
	"f=$h/.ssh/authorized_keys; say user \"$user\"\n"
	"[ -d \"$h/.ssh\" ] || note no_dir yes\n"
	"[ ! -L \"$f\" ] || note link yes\n"
	"[ ! -e \"$h/.ssh/.davit-keys\" ] || note part yes\n"
	"if [ -n \"$h\" ] && [ -f \"$f\" ]; then\n"
	"  line=$(BLOB=${2#* } awk '!/^[ \\t]*#/ {for (i = 1; i <= NF; i++) if ($i == ENVIRON[\"BLOB\"]) {print; exit}}' \"$f\")\n"
	"else line=; note no_file yes; fi\n"
	"if [ -n \"$line\" ]; then say type key; say line \"$line\"; else say type absent; fi\n";

/* A file that was not there and is empty again goes, and so does its directory. */
static const char turn[] =
	"h=$(getent passwd \"$TO_user\" | cut -d: -f6); d=$h/.ssh; f=$d/authorized_keys; t=$d/.davit-keys\n"
	"[ -n \"$h\" ] || { [ \"$TO_type\" = absent ] && exit 0; fail \"there is no user $TO_user\"; }\n"
	"if [ \"$TO_type\" = absent ] && [ ! -f \"$f\" ]; then rm -f \"$t\"; else\n"
	"[ ! -L \"$f\" ] || fail \"$f is a link\"\n"
	"umask 077; [ -d \"$d\" ] || mkdir \"$d\"\n"
	"rm -f \"$t\"; if [ -f \"$f\" ]; then cp -p \"$f\" \"$t\"; else : >\"$t\"; fi; from=$f; [ -f \"$f\" ] || from=/dev/null\n"
	"BLOB=${ARG#* } LINE=$TO_line awk '/^[ \\t]*#/ {print; next}\n"
	"  {for (i = 1; i <= NF; i++) if ($i == ENVIRON[\"BLOB\"]) {if (ENVIRON[\"LINE\"] != \"\" && !done++) print ENVIRON[\"LINE\"]; next} print}\n"
	"  END {if (ENVIRON[\"LINE\"] != \"\" && !done) print ENVIRON[\"LINE\"]}' \"$from\" >\"$t\"\n"
	"sync \"$t\" 2>/dev/null || sync; mv -f \"$t\" \"$f\"\n"
	"fi\n"
	"if [ \"$TO_type\" = absent ]; then\n"
	"  [ -z \"$NOTE_no_file\" ] || [ -s \"$f\" ] || rm -f \"$f\"\n"
	"  [ -z \"$NOTE_no_dir\" ] || rmdir \"$d\" 2>/dev/null || :\n"
	"fi\n";

const struct machine_kind machine_key = {.change = MACHINE_CHANGE("key"), .look = look, .turn = turn, .as = "TO_user"};

/* ---- a line ---- */

static bool is_type(const char *word, size_t len)
{
	static const char *const types[] = {"ssh-ed25519",
	                                    "ssh-rsa",
	                                    "ecdsa-sha2-nistp256",
	                                    "ecdsa-sha2-nistp384",
	                                    "ecdsa-sha2-nistp521",
	                                    "sk-ssh-ed25519@openssh.com",
	                                    "sk-ecdsa-sha2-nistp256@openssh.com"};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strlen(types[i]) == len && strncmp(types[i], word, len) == 0)
			return true;
	return false;
}

/* Behind a word, in which blanks between quotation marks are none. NULL: a mark is not closed. */
static const char *word_end(const char *p)
{
	bool quoted = false;
	for (; *p && (quoted || (*p != ' ' && *p != '\t')); p++) {
		if (*p == '\\' && p[1] == '"')
			p++;
		else if (*p == '"')
			quoted = !quoted;
	}
	return quoted ? NULL : p;
}

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

bool machine_key_read(const char *line, char **ret_key)
{
	const char *type = skip_blanks(line), *type_end = word_end(type);
	if (type_end != NULL && !is_type(type, (size_t)(type_end - type))) {
		type = skip_blanks(type_end);
		type_end = word_end(type);
	}
	/* Behind a # is a comment, whatever it holds. */
	if (type_end == NULL || *skip_blanks(line) == '#' || !is_type(type, (size_t)(type_end - type)) ||
	    !machine_text_fits(line))
		return false;
	const char *blob = skip_blanks(type_end);
	size_t len = strspn(blob, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
	if (len < 16 || (blob[len] != '\0' && blob[len] != ' '))
		return false;
	*ret_key = xasprintf("%.*s %.*s", (int)(type_end - type), type, (int)len, blob);
	return true;
}

char *machine_key_id(const char *user, const char *key)
{
	char hex[DIGEST_HEX];
	digest_of(key, strlen(key), hex);
	return xasprintf("%s:%.*s", user, ID_DIGITS, hex);
}
