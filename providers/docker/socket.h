/* Questions to the engine's own API, many at once: a docker command for each takes longer than the answer. Only looked at, and only where the
 * engine is the host's own socket. This process asks it by itself where it is the host; on another one that host's curl does. */
#pragma once
#include "providers/docker/docker.h"

/* What is asked: the containers of a project, and images by their names. */
struct docker_questions {
	const char *project;
	const struct strv *images;
};

/* Adds to a script what finds the engine, or has the answers; it ends the script. Nothing is printed where the engine is behind a context or a
 * network, or the host has no curl: then docker_project and docker_images are to be asked. */
void docker_socket_ask(const struct docker *d, struct str *script, const struct docker_questions *q);
/* `said`: what the script printed. false: there is no answer to all of that. images: as docker_images has them. */
bool docker_socket_read(const struct docker *d, const struct str *said, const struct docker_questions *q,
                        struct docker_containers *ret, json_t **ret_images);
