/* The authorities of a check's own. */
#include "base/net/certificate.h"
#include "steps/health_gate/health_gate.h"

int gate_read_ca(const struct step_context *c, const char *ca, char **ret, struct err *err)
{
	const char *root = c->deployment->source_root;
	return certificate_authorities(root != NULL ? root : ".", ca, ret, err);
}
