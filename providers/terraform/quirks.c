/* What is known to go wrong with a kind of backends, told before anything is asked of it. */
#include "providers/terraform/backend.h"

struct check {
	const struct terraform_backend *b;
	const char *workspace;
	bool (*has)(const void *context, const char *name);
	const void *context;
	struct terraform_quirks *ret;
};

static void add(const struct check *k, bool unlocked, const char *hint, char *text)
{
	struct terraform_quirks *q = k->ret;
	q->items = xgrow(q->items, &q->cap, q->count + 1, sizeof(q->items[0]));
	q->items[q->count++] = (struct terraform_quirk){.hint = hint, .text = text, .unlocked = unlocked};
}

void terraform_quirks_done(struct terraform_quirks *q)
{
	for (size_t i = 0; i < q->count; i++)
		free(q->items[i].text);
	free(q->items);
	*q = (struct terraform_quirks){0};
}

/* Given here, be it by an expression, or by the variable of the environment. */
static bool given(const struct check *k, const char *key, const char *variable)
{
	return json_object_get(k->b->settings, key) != NULL || (variable != NULL && k->has(k->context, variable));
}

/* Is it set to true, or perhaps? */
static bool on(const struct check *k, const char *key)
{
	const json_t *value = json_object_get(k->b->settings, key);
	const char *text = json_string_value(value);
	return json_is_true(value) || json_is_null(value) || (text != NULL && strcmp(text, "true") == 0);
}

static bool off(const struct check *k, const char *key)
{
	const json_t *value = json_object_get(k->b->settings, key);
	const char *text = json_string_value(value);
	return json_is_false(value) || (text != NULL && strcmp(text, "false") == 0);
}

static void of_http(const struct check *k)
{
	const char *address = terraform_backend_get(k->b, "address");
	if (!given(k, "address", "TF_HTTP_ADDRESS"))
		add(k, false, "give it in the configuration, in backend_config, or as TF_HTTP_ADDRESS in env",
		    xstrdup("the http backend has no `address`"));
	if (!given(k, "lock_address", "TF_HTTP_LOCK_ADDRESS"))
		add(k, true, "give `lock_address` and `unlock_address`",
		    xstrdup("the http backend has no `lock_address`: nothing locks the state"));
	else if (!given(k, "unlock_address", "TF_HTTP_UNLOCK_ADDRESS"))
		add(k, false, "give `unlock_address`",
		    xstrdup("the http backend has a `lock_address` and no `unlock_address`: its lock would stay for ever"));
	if (k->workspace != NULL && strcmp(k->workspace, "default") != 0)
		add(k, false, "give each its own `address`, or use a backend that has workspaces",
		    xasprintf("the http backend has no workspaces, and '%s' is asked for", k->workspace));
	if (on(k, "skip_cert_verification") && !json_is_null(json_object_get(k->b->settings, "skip_cert_verification")))
		add(k, false, "give `client_ca_certificate_pem`",
		    xasprintf("the http backend trusts any certificate (`skip_cert_verification`) of %s",
		              address != NULL ? address : "its address"));
}

/* The service, where it is not AWS itself; NULL: it is, or nobody can tell. */
static const char *endpoint(const struct check *k)
{
	const char *url = terraform_backend_get(k->b, "endpoints.s3");
	if (url == NULL)
		url = terraform_backend_get(k->b, "endpoint");
	return url != NULL && strstr(url, "amazonaws.com") == NULL ? url : NULL;
}

static void of_s3(const struct check *k)
{
	static const char *const needed[] = {"skip_credentials_validation", "skip_region_validation",
	                                     "skip_requesting_account_id"};
	const char *url = endpoint(k);
	_cleanup_(str_done) struct str missing = STR_INIT(1024);
	if (!on(k, "use_lockfile") && !given(k, "dynamodb_table", NULL))
		add(k, true, "set `use_lockfile = true` (terraform 1.10 and newer), or give a `dynamodb_table`",
		    xstrdup("the s3 backend has neither `use_lockfile` nor `dynamodb_table`: nothing locks the state"));
	for (size_t i = 0; url != NULL && i < ARRAY_SIZE(needed); i++)
		if (!on(k, needed[i]))
			str_appendf(&missing, "%s%s", missing.len > 0 ? ", " : "", needed[i]);
	if (missing.len > 0)
		add(k, false,
		    "set each to true; a service that refuses uploads needs `skip_s3_checksum = true`, one without names "
		    "of buckets in its host `use_path_style = true`",
		    xasprintf("%s is not AWS, and the s3 backend would ask AWS for what only AWS has: %s", url,
		              str_peek(&missing)));
}

void terraform_backend_quirks(const struct terraform_backend *b, const char *workspace,
                              bool (*has)(const void *context, const char *name), const void *context,
                              struct terraform_quirks *ret)
{
	const struct check k = {b, workspace, has, context, ret};
	const char *type = b->type != NULL ? b->type : "local";
	if (strcmp(type, "http") == 0)
		of_http(&k);
	else if (strcmp(type, "s3") == 0)
		of_s3(&k);
	else if (strcmp(type, "consul") == 0 && off(&k, "lock"))
		add(&k, true, "leave `lock` out",
		    xstrdup("the consul backend has `lock = false`: nothing locks the state"));
	else if (strcmp(type, "oss") == 0 && !given(&k, "tablestore_table", NULL))
		add(&k, true, "give `tablestore_endpoint` and `tablestore_table`",
		    xstrdup("the oss backend has no `tablestore_table`: nothing locks the state"));
	else if (strcmp(type, "cloud") == 0 || strcmp(type, "remote") == 0)
		add(&k, false, "use a backend that keeps the state alone",
		    xasprintf(
			    "`%s` plans and applies on another machine: the plan that is judged here would not be the one that "
			    "runs there",
			    type));
}
