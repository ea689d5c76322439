/* A symbolic link. */
#include "schemas/resources/link.h"
#include "steps/apply/apply.h"
#include "steps/apply/kinds/path.h"

static int want(struct resource_call *x, const struct resource *r, const json_t *before, json_t **ret,
                struct str *content, struct err *err)
{
	const struct resource_link *in = r->in;
	bool stays = apply_ignores(r, "to") && strcmp(node_type_name(before), "link") == 0;
	(void)x;
	(void)content;
	(void)err;
	*ret = json_pack("{s:s,s:s}", "type", "link", "link", stays ? json_get_string(before, "link") : in->to);
	return 0;
}

static void remember(const struct resource *r, json_t *row)
{
	const struct resource_link *in = r->in;
	json_object_set_new(row, "to", json_string(in->to));
}

const struct resource_type resource_link = {
	.choice = RESOURCE_LINK_CHOICE,
	.change = &change_link,
	.remove = &change_remove,
	.space = PATH_SPACE,
	.nests = true,
	.what = "link",
	.plain = true,
	.id = path_id,
	.bars = path_bars,
	.ahead = path_ahead,
	.look = path_look,
	.want = want,
	.first = path_first,
	.differs = node_differs,
	.remember = remember,
};
