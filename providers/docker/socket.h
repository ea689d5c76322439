/* Questions to the engine's own API, many in one call of the host's curl: a docker command for each takes longer than the answer. Only looked
 * at, and only where the engine is the host's own socket. */
#pragma once
#include "providers/docker/docker.h"

/* Puts a function into a script that prints the answers to all questions. They follow the line DOCKER_SOCKET_MARK, each with one behind it.
 * Nothing is printed where the engine is behind a context or a network, or the host has no curl: then docker_project and docker_images are to
 * be asked. */
#define DOCKER_SOCKET_MARK "\n--davit-engine--\n"
void docker_socket_ask(struct str *script, const char *project, const struct strv *images);
/* Reads what it printed. false: it does not answer all of that. images: as docker_images has them. */
bool docker_socket_read(const char *text, const struct strv *images, struct docker_containers *ret,
                        json_t **ret_images);
