/* How a host is: resources, containers, and what davit keeps there. One script tells all of it in one go; nothing is locked or written.
 *
 *   script.c  what runs there       answer.c  its lines, read       containers.c  what the engine says of one
 *   certificates.c  what servers show       status.c  the targets
 *
 * What a host says is data from outside: bounded, read line by line by one table, and shown with its control characters visible. A line that
 * fits nothing is counted and dropped. */
#pragma once
#include "engine/run/engine.h"

enum { STATUS_OUTPUT_MAX = 4 << 20, STATUS_CONTAINERS_MAX = 500, STATUS_LOGS_MAX = 8, STATUS_LOG_LINES = 10 };

/* places: what deployment_file_places and replay_places give; only: one of its targets, NULL: all.
 * *ret: {"name","environment","targets":[{"name","host","user","identity","base","kind": of one that is no host,"error","hint","now_s","load":[1,5,15 minutes],"cpus","uptime_s",
 *   "clock_off_s","memory":{"total","available","swap_total","swap_free"},"disks":[{"mount","total","used","free","inodes","inodes_free"}],
 *   "docker":{"state":"ok"|"none"|"failed","error"},"containers":[containers.c],"deployed":[{"project","deployment"}],
 *   "open":[{"scope","renewed_s","deployment","host","user","made_ms","mark"}],"snapshots":[{"scope","deployment","place","made_s"}],
 *   "lock","paths": as of releases_read, "incomplete", "unexpected": lines that fitted nothing}],
 *   "certificates":[certificates.c]}.
 * Returns the number of targets that could not be asked, or a negative code if it cannot continue (a cancel). */
int status_read(const json_t *places, const char *only, const struct engine_options *o, json_t **ret, struct err *err);

/* ---- script.c ---- */
extern const char status_script[]; /* wants BASE, CONTAINER and IMAGE in its environment */
extern const char status_container_format[], status_image_format[];

/* ---- answer.c ---- */
/* What the script wrote, into the object of a target. base: the host's own. */
void status_answer(const char *text, size_t len, const char *base, int64_t now_s, json_t *target);

/* ---- certificates.c ---- */
/* Asked from this machine, as the gates of `places` ask: [{"address","server_name","names","issuer","ends_s","days","problem"}], none
 * where nothing is asked for; the problem is what is wrong with it, or why none was seen. */
int status_certificates(const json_t *places, const struct engine_options *o, json_t **ret, struct err *err);

/* ---- containers.c ---- */
/* A container as the format gives it → {"id","name","project","service","image","image_name","digest","state","exit","restarts","started_s",
 * "finished_s","health","probe","well","log":[lines]}; NULL: it is none. */
json_t *status_container(const json_t *said, int64_t host_now_s);
