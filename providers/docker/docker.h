/* The Docker engine of a host, asked through the docker command there: what works for a person who is logged in works here, over a local
 * shell, over sudo and over SSH, with that person's contexts and registry logins. Everything that comes back is data from outside: names are
 * quoted before they become words of a shell, and shown without control characters. */
#pragma once
#include "base/data/json.h"
#include "engine/target/target.h"
#include "engine/target/host.h"

struct docker {
	struct view *v;
	struct target *t;             /* the same, to change something; NULL: only looking */
	const char *host;             /* DOCKER_HOST; NULL: the user's own context */
	const char *config;           /* DOCKER_CONFIG; NULL: the user's own */
	const struct field_pair *env; /* may hold secrets */
	size_t env_count;
	void (*on_line)(void *context, bool is_stderr, const char *line, size_t len);
	void *context;
};

/* ---- cli.c ---- */
struct docker_call {
	const char *script; /* for sh */
	const void *input;
	size_t input_len;
	int64_t timeout_ms;
	size_t max_output; /* 0: 8 MiB */
	bool changes;      /* guarded; otherwise it must only look */
	bool loud;         /* its lines go to on_line */
};
/* 0, whatever the exit status. ERR_TIMEOUT; ERR_REFUSED: there is no docker command, or its user may not use it. Where the engine does not
 * answer: ERR_NETWORK, or ERR_UNKNOWN where something may have been changed before. */
int docker_ask(const struct docker *d, const struct docker_call *call, struct target_result *ret, struct err *err);
/* The same, and an exit status other than 0 is ERR_FAILED with the reason among its errors. */
int docker_must(const struct docker *d, const struct docker_call *call, struct target_result *ret, struct err *err);
/* The last line that says something, masked, at most 300 bytes. free() */
char *docker_last_line(const struct str *text);
/* What the engine said first: the command sums it up behind that ("failed to start containers: web"). Where it said nothing, the last line. */
char *docker_reason(const struct str *text);

/* ---- containers.c ---- */
struct docker_container {
	char *id, *name, *service, *hash, *image; /* image: the id of what it runs */
	char *image_name, *state, *health, *started;
	char *directory, *files, *env_files; /* of its configuration, lists with commas; "" where compose did not say */
	int64_t restarts, exit_code;
	bool up;    /* running, restarting or paused */
	bool ended; /* has run, and does no more */
	bool killed_by_memory;
};
struct docker_containers {
	struct docker_container *items;
	size_t count, cap;
};
void docker_containers_done(struct docker_containers *l);
void docker_containers_sort(struct docker_containers *l); /* by service and name */
void docker_containers_drop(struct docker_containers *l, size_t index);
void docker_container_judge(struct docker_container *c); /* `up` and `ended`, by its state */
/* Those of a compose project, one-off ones left out, by service and name. */
int docker_project(const struct docker *d, const char *project, struct docker_containers *ret, struct err *err);
/* The last lines that a container wrote, both streams, for a person: without control characters. */
int docker_logs(const struct docker *d, const char *id, int lines, struct strv *ret, struct err *err);

/* ---- images.c ---- */
/* NAME → {"id","architecture","os"}; a name that is not there is not in it. */
int docker_images(const struct docker *d, const struct strv *names, json_t **ret, struct err *err);
/* The digests by which the engine knows images, given by their ids: "sha256:…" each, of the repositories that it pulled them from or pushed
 * them to. One that was made here has none. */
int docker_image_digests(const struct docker *d, const struct strv *ids, struct strv *ret, struct err *err);
/* What the registry says of a name: an array of {"platform":"linux/arm64","layers":{DIGEST: bytes}}, one an architecture; platform only where it
 * is said. ERR_NOT_FOUND with what the registry said. */
int docker_registry_image(const struct docker *d, const char *name, json_t **ret, struct err *err);
/* REPOSITORY@DIGEST of all images that are there and came from a registry, or went to one. 1: there are others too. */
int docker_known_names(const struct docker *d, struct strv *ret, struct err *err);
/* The directory where the engine keeps images, and what its machine calls itself. free() both */
int docker_root(const struct docker *d, char **ret_machine, char **ret_root, struct err *err);
/* "linux/amd64" of the engine. */
int docker_platform(const struct docker *d, char **ret, struct err *err);

/* ---- names.c ---- */
enum docker_name_kind { DOCKER_CONTAINER, DOCKER_NETWORK, DOCKER_VOLUME };
/* The compose project that owns a thing of that name; "" where nobody does; NULL: there is none. */
int docker_name_owner(const struct docker *d, enum docker_name_kind kind, const char *name, char **ret,
                      struct err *err);
