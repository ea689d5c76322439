#include "providers/s3/target.h"

#include "base/core/mem.h"
#include "providers/s3/keeper.h"
#include "schemas/targets/s3.h"

#include <stdlib.h>
#include <string.h>

struct s3_target {
	struct target t;
	struct s3 *s3;
	char *prefix;
};

static int open_target(struct view *v, struct err *err)
{
	const struct s3_target *t = (const struct s3_target *)(const void *)v;
	(void)err;
	/* Nothing is asked of it: whoever uses it asks for what it needs. */
	if (v->facts.identity == NULL)
		v->facts.identity = xasprintf("s3:%s/%s/%s", s3_host(t->s3), s3_bucket(t->s3), t->prefix);
	return 0;
}

static void free_target(struct target *t)
{
	struct s3_target *own = (struct s3_target *)(void *)t;
	target_done(t);
	s3_free(own->s3);
	free(own->prefix);
	free(own);
}

static const struct target_type s3_type = {
	.name = "s3", .open = open_target, .free = free_target, .keeper = &s3_keeper};

/* In the order of the schema. */
static const char *const providers[] = {"aws", "backblaze", "ceph", "cloudflare", "garage", "minio", "ovh", "scaleway"};

int s3_target_new(const struct target_config *config, struct target **ret, struct err *err)
{
	const struct target_s3 *given = config->kind.typed;
	const struct s3_config login = {.url = given->url,
	                                .region = given->region,
	                                .bucket = given->bucket,
	                                .access_key = given->access_key,
	                                .secret_key = given->secret_key,
	                                .session_token = given->session_token,
	                                .ca_file = given->ca_file,
	                                .host_style = given->style == TARGET_S3_STYLE_HOST,
	                                .provider = given->has_provider ? providers[given->provider] : NULL};
	struct s3 *s3 = NULL;
	int r = s3_new(&login, &s3, err);
	if (r < 0)
		return err_wrap(err, r, "target '%s'", config->name);
	struct s3_target *t = xcalloc(1, sizeof(*t));
	size_t len = strlen(given->prefix);
	t->t.view.kind = &s3_type;
	t->t.view.name = xstrdup(config->name);
	t->s3 = s3;
	t->prefix = xasprintf("%s%s", given->prefix, len > 0 && given->prefix[len - 1] != '/' ? "/" : "");
	*ret = &t->t;
	return 0;
}

static const struct s3_target *own_of(const struct view *v)
{
	return v->kind == &s3_type ? (const struct s3_target *)(const void *)v : NULL;
}

struct s3 *s3_of_target(const struct view *v)
{
	const struct s3_target *t = own_of(v);
	return t ? t->s3 : NULL;
}

const char *s3_prefix_of_target(const struct view *v)
{
	const struct s3_target *t = own_of(v);
	return t ? t->prefix : "";
}
