/* What a gate can ask: one line a probe here, and one in schemas/CMakeLists.txt. */
#include "steps/health_gate/health_gate.h"

extern const struct probe_type http_probe, tcp_probe, command_probe, tls_probe, dns_probe, container_probe,
	compose_probe, postgres_probe, unit_probe;

const struct probe_type *const probe_types[] = {
	&http_probe,      &tcp_probe,     &command_probe,  &tls_probe,  &dns_probe,
	&container_probe, &compose_probe, &postgres_probe, &unit_probe, NULL,
};

const struct probe_type *probe_type_of(const struct health_gate_checks *in)
{
	for (size_t i = 0; probe_types[i] != NULL; i++)
		if (probe_types[i]->is_asked(in))
			return probe_types[i];
	return NULL;
}

bool gate_is_there(const struct health_gate_checks *in, const struct probe_type *type)
{
	return type->start == NULL || (type->ask != NULL && in->from != NULL);
}
