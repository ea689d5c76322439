/* The manifest of the release that is valid now. It is read line by line: as a list it would be as large as the source's. */
#pragma once
#include "steps/common/manifest.h"

struct upload_former {
	const struct str *
		text; /* of the manifest, of which every line can be read; borrowed while it is planned. NULL: there is none */
	json_t *head;
	bool *distrusted; /* one for each entry: it is not as it was sent; NULL: none is looked at */
};
void upload_former_done(struct upload_former *f);

/* One way through its entries, in their order. A distrusted one is like no other. */
struct upload_former_lines {
	struct manifest_reader reader; /* `entry` and `blob` if `there` */
	const struct upload_former *former;
	size_t index;
	bool there;
};
void upload_former_begin(const struct upload_former *f, struct upload_former_lines *ret); /* at the first one */
void upload_former_next(struct upload_former_lines *l);
void upload_former_end(struct upload_former_lines *l);
