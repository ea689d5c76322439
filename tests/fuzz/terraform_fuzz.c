/* Events, plans, the words about a lock, and the files of a configuration are read within their bounds, whatever they are; what is called
 * sensitive is in no row. The first byte chooses. */
#include "base/core/mem.h"
#include "providers/terraform/backend.h"
#include "providers/terraform/event.h"
#include "providers/terraform/plan.h"

#include <ctype.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_none(const void *context, const char *name)
{
	(void)context;
	(void)name;
	return false;
}

static void read_event(const char *text, size_t len)
{
	struct terraform_event e;
	if (!terraform_event_read(text, len, &e))
		return;
	if (e.message == NULL)
		abort();
	terraform_event_done(&e);
}

static void read_lock(const char *text, size_t len)
{
	_cleanup_free_ char *whole = xstrndup(text, len);
	struct terraform_lock l;
	terraform_lock_read(whole, &l);
	/* It becomes an argument. */
	if (l.id != NULL && !isalnum((unsigned char)*l.id))
		abort();
	terraform_lock_done(&l);
}

static void read_plan(const char *text, size_t len)
{
	_cleanup_json_ json_t *doc = NULL;
	struct terraform_plan p;
	if (json_parse(text, len, 1 << 20, &doc, NULL) < 0 || terraform_plan_read(doc, &p, NULL) < 0)
		return;
	for (size_t i = 0; i < p.count; i++) {
		_cleanup_free_ char *before = json_text(p.rows[i].before), *after = json_text(p.rows[i].after);
		if (p.rows[i].address == NULL)
			abort();
	}
	terraform_plan_done(&p);
}

static void read_backend(const char *text, size_t len, bool json)
{
	struct terraform_backend b = {0};
	struct terraform_quirks q = {0};
	terraform_backend_find(text, len, json, &b);
	terraform_backend_quirks(&b, "w", has_none, NULL, &q);
	terraform_quirks_done(&q);
	terraform_backend_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	const char *text = (const char *)data + 1;
	switch (*data) {
	case 'e':
		read_event(text, size - 1);
		break;
	case 'l':
		read_lock(text, size - 1);
		break;
	case 'p':
		read_plan(text, size - 1);
		break;
	default:
		read_backend(text, size - 1, *data == 'j');
	}
	return 0;
}
