/* secrets: private keys and tokens that should not be in a repository. A finding names the kind and the place, never the value. */
#include "agent/validate/validate.h"

#include <ctype.h>
#include <string.h>

/* What services document of their tokens: a beginning, then at least so many characters of letters, digits and `others`. */
static const struct token_form {
	const char *kind, *prefix, *others;
	size_t min;
	bool upper; /* capitals and digits only */
} forms[] = {
	{"a GitHub token", "ghp_", "", 36, false},
	{"a GitHub token", "gho_", "", 36, false},
	{"a GitHub token", "ghu_", "", 36, false},
	{"a GitHub token", "ghs_", "", 36, false},
	{"a GitHub token", "ghr_", "", 36, false},
	{"a GitHub token", "github_pat_", "_", 50, false},
	{"a GitLab token", "glpat-", "-_", 20, false},
	{"an access key of AWS", "AKIA", "", 16, true},
	{"an access key of AWS", "ASIA", "", 16, true},
	{"an access key of Scaleway", "SCW", "", 17, true},
	{"a Slack token", "xoxb-", "-", 24, false},
	{"a Slack token", "xoxp-", "-", 24, false},
	{"a Google API key", "AIza", "-_", 35, false},
	{"a Stripe key", "sk_live_", "", 24, false},
	{"a Stripe key", "rk_live_", "", 24, false},
	{"an npm token", "npm_", "", 36, false},
	{"a Docker Hub token", "dckr_pat_", "-_", 20, false},
	{"a PyPI token", "pypi-AgEIcHlwaS5vcmc", "-_", 50, false},
	{"a SendGrid key", "SG.", "-_.", 60, false},
	{"a Hetzner or DigitalOcean token", "dop_v1_", "", 64, false},
};

static bool belongs(const struct token_form *form, char c)
{
	if (form->upper)
		return isupper((unsigned char)c) || isdigit((unsigned char)c);
	return isalnum((unsigned char)c) || (c != '\0' && strchr(form->others, c) != NULL);
}

/* A token needs some variety: `ghp_xxxxxxxx…` in a manual is none. */
static bool is_varied(const char *p, size_t len)
{
	bool seen[256] = {false};
	size_t kinds = 0;
	for (size_t i = 0; i < len; i++)
		if (!seen[(unsigned char)p[i]]) {
			seen[(unsigned char)p[i]] = true;
			kinds++;
		}
	return kinds >= 8;
}

static const struct token_form *token_at(const char *p, const char *end, size_t *ret_len)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		size_t prefix = strlen(forms[i].prefix), len = 0;
		if ((size_t)(end - p) < prefix + forms[i].min || memcmp(p, forms[i].prefix, prefix) != 0)
			continue;
		while (p + prefix + len < end && belongs(&forms[i], p[prefix + len]))
			len++;
		bool exact =
			!forms[i].upper || len == forms[i].min; /* capitals are common: only the whole word is one */
		if (len >= forms[i].min && exact && is_varied(p + prefix, len)) {
			*ret_len = prefix + len;
			return &forms[i];
		}
	}
	return NULL;
}

/* "-----BEGIN … PRIVATE KEY-----" with something like a key behind it. */
static bool is_private_key(const char *line, size_t len, const char *end)
{
	static const char begin[] = "-----BEGIN ", kind[] = "PRIVATE KEY";
	const char *at = memmem(line, len, begin, sizeof(begin) - 1);
	if (at == NULL)
		return false;
	const char *name = memmem(at, (size_t)(line + len - at), kind, sizeof(kind) - 1);
	if (name == NULL)
		return false;
	size_t body = 0;
	const char *p = name + sizeof(kind) - 1; /* a key in one line has "\n" written out */
	for (; p < end && body < 64; p++) {
		if (isalnum((unsigned char)*p) || *p == '+' || *p == '/' || *p == '=')
			body++;
		else if (*p == '<' || *p == '.' || *p == '$' || *p == '{')
			return false; /* a place holder */
	}
	return body >= 64;
}

static void scan_line(const struct validate_file *file, const char *line, size_t len, int number)
{
	const char *end = line + len;
	for (const char *p = line; p < end; p++) {
		if (p > line && (isalnum((unsigned char)p[-1]) || p[-1] == '_'))
			continue;
		size_t found;
		const struct token_form *form = token_at(p, end, &found);
		if (form == NULL)
			continue;
		finding_add(file->findings, file->name, (struct yaml_mark){number, (int)(p - line) + 1}, FINDING_ERROR,
		            "token", "revoke it: whoever has the repository has it; then keep it as a secret",
		            "%s stands in a tracked file", form->kind);
		p += found - 1;
	}
}

void validate_secrets(const struct validate_file *file)
{
	const char *p = file->data, *end = p + file->len;
	if (memchr(p, '\0', file->len < 8000 ? file->len : 8000) != NULL)
		return; /* as git tells a binary file */
	for (int number = 1; p < end; number++) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		size_t len = (size_t)((stop != NULL ? stop : end) - p);
		if (is_private_key(p, len, end))
			finding_add(
				file->findings, file->name, (struct yaml_mark){number, 1}, FINDING_ERROR, "private-key",
				"make another key and take this one out of use: whoever has the repository has it; then keep it as a secret",
				"a private key stands in a tracked file");
		scan_line(file, p, len, number);
		p += len + 1;
	}
}
