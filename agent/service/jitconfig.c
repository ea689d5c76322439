/* --jitconfig: base64 of {".runner": base64, ".credentials": base64, ".credentials_rsaparams": base64} [1.11 to 1.13].
 * The official runner writes these files; here they are only read. */
#include "agent/service/oauth.h"
#include "agent/service/registration.h"
#include "agent/service/wire.h"
#include "base/secret/base64.h"

#include <strings.h>

enum { JIT_MAX = 1 << 20 };

/* The JSON object in a base64 string. what: for messages. */
static int decode_object(const char *text, size_t len, const char *what, json_t **ret, struct err *err)
{
	_cleanup_(str_done) struct str bytes = STR_SECRET_INIT(JIT_MAX);
	if (len > JIT_MAX || base64_decode(text, len, &bytes, NULL) < 0)
		return err_set(err, ERR_INVALID, "%s is not base64", what);
	const char *data = str_peek(&bytes);
	size_t size = bytes.len;
	if (size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
		data += 3;
		size -= 3;
	}
	json_t *value = NULL;
	if (json_parse(data, size, JIT_MAX, &value, NULL) < 0 || !json_is_object(value)) {
		json_decref(value);
		return err_set(err, ERR_INVALID, "%s holds no JSON object", what);
	}
	*ret = value;
	return 0;
}

static int decode_file(const json_t *files, const char *name, json_t **ret, struct err *err)
{
	const char *text = wire_string(files, name);
	if (text == NULL)
		return err_set(err, ERR_INVALID, "%s is missing", name);
	return decode_object(text, strlen(text), name, ret, err);
}

static int check_names(const json_t *files, struct err *err)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)files, name,
	                    value) if (strchr(name, '/') != NULL || strchr(name, '\\') != NULL ||
	                               str_starts(name, "..")) return err_set(err, ERR_INVALID,
	                                                                      "it names the file '%.100s', which lies "
	                                                                      "outside of a runner's directory",
	                                                                      name);
	return 0;
}

static int read_runner(const json_t *runner, struct registration *reg, struct err *err)
{
	reg->id = wire_int(runner, "agentId", 0);
	reg->name = xstrdup(wire_string(runner, "agentName"));
	reg->group_id = wire_int(runner, "poolId", 0);
	reg->group = xstrdup(wire_string(runner, "poolName"));
	reg->url = xstrdup(wire_string(runner, "gitHubUrl"));
	reg->server_url = xstrdup(wire_string(runner, "serverUrl"));
	reg->broker_url = xstrdup(wire_string(runner, "serverUrlV2"));
	const char *work = wire_string(runner, "workFolder");
	reg->work = xstrdup(work ? work : "_work");
	reg->ephemeral = wire_bool(runner, "ephemeral", false);
	reg->disable_update = wire_bool(runner, "disableUpdate", false);
	if (reg->name == NULL)
		return err_set(err, ERR_INVALID, ".runner has no agentName");
	bool broker = wire_bool(runner, "useV2Flow", false);
	if (broker ? reg->broker_url == NULL : reg->server_url == NULL)
		return err_set(err, ERR_INVALID, ".runner has no %s", broker ? "serverUrlV2" : "serverUrl");
	if (!broker)
		free(TAKE(reg->broker_url));
	return 0;
}

static int read_credentials(const json_t *credentials, struct registration *reg, struct err *err)
{
	const char *scheme = wire_string(credentials, "scheme");
	const json_t *data = wire_get(credentials, "data");
	if (scheme == NULL || strcasecmp(scheme, "OAuth") != 0)
		return err_set(err, ERR_UNSUPPORTED, ".credentials has the scheme '%.60s'; only OAuth is supported",
		               scheme ? scheme : "");
	reg->client_id = xstrdup(wire_string(data, "clientId"));
	reg->authorization_url = xstrdup(wire_string(data, "authorizationUrl"));
	reg->token_url = xstrdup(wire_string(data, "oauthEndpointUrl"));
	reg->pss = wire_bool(data, "requireFipsCryptography", false);
	if (reg->client_id == NULL || reg->authorization_url == NULL)
		return err_set(err, ERR_INVALID, ".credentials lacks clientId or authorizationUrl");
	return 0;
}

static int read_key(const json_t *params, struct str *out, struct err *err)
{
	_cleanup_(oauth_key_freep) struct oauth_key *key = NULL;
	int r = oauth_key_read_params(params, &key, err);
	return r < 0 ? r : oauth_key_write_pem(key, out, err);
}

static int read_files(const char *text, struct registration *reg, struct str *key, struct err *err)
{
	_cleanup_json_ json_t *files = NULL, *runner = NULL, *credentials = NULL, *params = NULL;
	int r = decode_object(text, strlen(text), "the text", &files, err);
	if (r >= 0)
		r = check_names(files, err);
	if (r >= 0)
		r = decode_file(files, ".runner", &runner, err);
	if (r >= 0)
		r = decode_file(files, ".credentials", &credentials, err);
	if (r >= 0)
		r = decode_file(files, ".credentials_rsaparams", &params, err);
	if (r >= 0)
		r = read_runner(runner, reg, err);
	if (r >= 0)
		r = read_credentials(credentials, reg, err);
	if (r >= 0)
		r = read_key(params, key, err);
	return r;
}

int registration_from_jit(const char *text, struct registration *ret, struct str *ret_key, struct err *err)
{
	struct registration reg = {0};
	int r = read_files(text, &reg, ret_key, err);
	if (r < 0) {
		registration_done(&reg);
		return err_wrap(err, r, "read the just-in-time configuration");
	}
	*ret = reg;
	return 0;
}
