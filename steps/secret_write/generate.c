/* Generated values: made by the CSPRNG here, sent to the target, recorded nowhere. */
#include "base/secret/base64.h"
#include "base/core/rand.h"
#include "base/secret/mask.h"
#include "steps/secret_write/secret_write.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

struct form {
	const char *name;
	long long min, max, usual;
};
static const struct form forms[] = {
	{"hex", 16, 1024, 32},    /* digits */
	{"base64", 12, 1024, 32}, /* bytes before encoding */
	{"ascii", 12, 1024, 32},  /* letters and digits */
	{"uuid", 0, 0, 0},
};

static const struct form *parse(const char *spec, long long *ret_length, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const struct form *f = &forms[i];
		if (!str_starts(spec, f->name))
			continue;
		const char *number = spec + strlen(f->name);
		if (*number == '\0') {
			*ret_length = f->usual;
			return f;
		}
		if (f->max > 0 && str_parse_i64(number + (*number == ':'), f->min, f->max, ret_length))
			return f;
		if (f->max > 0) {
			err_hint(err, err_set(err, ERR_INVALID, "'%s' is not a length that is made", spec),
			         "%s takes %lld to %lld, such as %s%lld", f->name, f->min, f->max, f->name, f->usual);
			return NULL;
		}
	}
	err_hint(err, err_set(err, ERR_INVALID, "'%s' is not a kind of value that is made", spec),
	         "hex32, base64:32, ascii40 (letters and digits) or uuid");
	return NULL;
}

int secret_generate_check(const char *spec, struct err *err)
{
	long long length;
	return parse(spec, &length, err) != NULL ? 0 : ERR_INVALID;
}

static void make_hex(size_t digits, struct str *out)
{
	char *text = xmalloc(digits + 1);
	rand_hex(text, digits);
	str_append_n(out, text, digits);
	explicit_bzero(text, digits + 1);
	free(text);
}

static void make_base64(size_t bytes, struct str *out)
{
	unsigned char raw[1024];
	rand_fill(raw, bytes);
	base64_encode(raw, bytes, out);
	explicit_bzero(raw, sizeof(raw));
}

int secret_generate(const char *spec, struct str *out, struct err *err)
{
	long long length;
	const struct form *f = parse(spec, &length, err);
	if (f == NULL)
		return ERR_INVALID;
	if (strcmp(f->name, "hex") == 0) {
		make_hex((size_t)length, out);
	} else if (strcmp(f->name, "base64") == 0) {
		make_base64((size_t)length, out);
	} else if (strcmp(f->name, "ascii") == 0) {
		for (long long i = 0; i < length; i++)
			str_append_c(out, letters[rand_below(sizeof(letters) - 1)]);
	} else {
		char uuid[37];
		rand_uuid4(uuid);
		str_append(out, uuid);
		explicit_bzero(uuid, sizeof(uuid));
	}
	mask_add(mask_process(), str_peek(out), out->len);
	return 0;
}
