/* State that the agent keeps between runs: one directory a registration, only root's when the agent is root
 * (docs/semantics.md 2).
 *
 *   AGENT/registrations/ID/registration.json   the record (agent/service/registration.h), 0600
 *   AGENT/registrations/ID/key.pem             the private key, 0600
 *   AGENT/registrations/ID/state.json          {"state","text","since","pid"}: written when it changes
 *   AGENT/registrations/ID/session             id of the open session: a killed agent's is deleted by the next one
 *   AGENT/running.json                         of the last agent that ran: {"pid","worker_user","isolation","polls"}; what
 *                                              it was told beside the records, and when the queue answered each of them
 *   AGENT/sealed/job-JOBID                     a running job, sealed (base/secret/seal.h): see recovery.c
 *   AGENT/policy.yml                           which jobs may run here, where /etc/davit/policy.yml is not there
 *   AGENT/status.sock                          what the running agent says (agent/listener/live.h)
 *   AGENT/update.json                          another davit is to take over (agent/listener/update.h)
 *   AGENT/credentials/ID                       what administers a registration (agent/service/credential.h), sealed
 *   AGENT/runner-version                       the newest signed document (agent/service/version.h)
 *   AGENT/.env, AGENT/.path                    of the agent and its jobs (environment.c), where an administrator wrote them
 *   AGENT/lock                                 locked by the running agent; its pid stands in it
 *
 * AGENT: $DAVIT_STATE/agent; else /var/lib/davit-agent (root), else STATE/agent. */
#pragma once
#include <sys/types.h>

#include "agent/service/credential.h"
#include "agent/service/registration.h"

struct records {
	char *dir;
};
/* make: missing directories are made 0700. Refused: another owner, open to others, a network file system. ERR_NOT_FOUND:
 * not there. */
int records_open(bool make, struct records *ret, struct err *err);
void records_done(struct records *s);
/* Sorted ids; none is no error. */
int records_list(const struct records *s, struct strv *ret, struct err *err);
int records_load(const struct records *s, const char *id, struct registration *ret, struct err *err);
int records_load_key(const struct records *s, const char *id, struct str *out, struct err *err);
/* There is room to keep a registration: looked at before the service is asked for one. */
int records_room(const struct records *s, struct err *err);
/* Key first, record last: a registration exists once its record does. */
int records_save(const struct records *s, const char *id, const struct registration *r, const struct str *key,
                 struct err *err);
/* Sealed with a key of this host's. An empty one: forgets what was kept. */
int records_save_credential(const struct records *s, const char *id, const struct credential *c, struct err *err);
/* ret: CREDENTIAL_INIT. ERR_NOT_FOUND: none is kept. */
int records_load_credential(const struct records *s, const char *id, struct credential *ret, struct err *err);
/* Its record was written anew since that one was read. */
bool records_changed(const struct records *s, const char *id, const struct registration *since);
/* Of who configures or removes a registration, from before the service hears of it until it is kept or gone here; one at a time, the next one
 * waits, says so after a second, and gives up after five minutes (ERR_LOCKED). The descriptor keeps it. */
int records_hold(const struct records *s, struct wait *w, int *ret_fd, struct err *err);
bool records_are_held(const struct records *s);
/* The credential goes first. */
int records_delete(const struct records *s, const char *id, struct err *err);
bool records_has(const struct records *s, const char *id);
/* "github.com_acme_widgets_box-7-1a2b3c4d", lower case, its last part a digest of URL and name; NULL when the URL cannot
 * be read. free() */
char *records_id(const char *url, const char *name, struct err *err);
/* The registration of that URL and name, whatever its id. ERR_NOT_FOUND leaves err empty. */
int records_find(const struct records *s, const char *url, const char *name, char **ret_id, struct err *err);
/* The name of this registration's own directory below the work directory: "widgets-1a2b3c4d". free() */
char *records_area(const struct registration *r);

void records_write_state(const struct records *s, const char *id, const char *state, const char *text);
json_t *records_read_state(const struct records *s, const char *id);                      /* NULL: none */
void records_write_session(const struct records *s, const char *id, const char *session); /* NULL: none is open */
char *records_read_session(const struct records *s, const char *id);                      /* NULL: none; free() */
void records_write_running(const struct records *s, const json_t *running);
json_t *records_read_running(const struct records *s); /* NULL: none */

/* One running agent a directory. ERR_LOCKED names the holder. The descriptor keeps the lock. */
int records_lock(const struct records *s, int *ret_fd, struct err *err);
pid_t records_holder(const struct records *s); /* 0: not running */
