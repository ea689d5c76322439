/* What `agent status` reads of a running agent: what it was told beside the records, and when the queue answered last. The
 * answers of all registrations are written together, at most once a minute. */
#include "agent/listener/listener_priv.h"

#include <unistd.h>

#include "base/core/clock.h"

enum { WRITE_MS = 60000 };

static json_t *string_or_null(const char *text)
{
	return text != NULL ? json_string_lossy(text, strlen(text)) : json_null();
}

void running_write(struct listener *l)
{
	if (l->store == NULL)
		return;
	_cleanup_json_ json_t *running = json_object();
	json_t *polls = json_object();
	for (size_t i = 0; i < l->endpoint_count; i++)
		if (l->endpoints[i]->answered_wall_ms > 0)
			json_object_set_new(polls, l->endpoints[i]->id,
			                    json_integer(l->endpoints[i]->answered_wall_ms));
	json_object_set_new(running, "pid", json_integer(getpid()));
	json_object_set_new(running, "worker_user", string_or_null(l->options.worker_user));
	json_object_set_new(running, "native", string_or_null(l->options.native));
	json_object_set_new(running, "isolation", string_or_null(l->options.isolation));
	json_object_set_new(running, "polls", polls);
	records_write_running(l->store, running);
	l->running_written_ms = clock_mono_ms();
	l->running_due_ms = 0;
}

void running_note_poll(struct endpoint *e)
{
	struct listener *l = e->listener;
	e->answered_wall_ms = clock_wall_ms();
	e->heard_ms = clock_mono_ms();
	/* Together with an answer: an agent that waits is not woken for it. */
	if (l->store != NULL && e->heard_ms >= l->running_written_ms + WRITE_MS)
		l->running_due_ms = e->heard_ms;
}

void running_timer(struct listener *l, int64_t now_ms)
{
	if (l->running_due_ms != 0 && now_ms >= l->running_due_ms)
		running_write(l);
}

void running_begin(struct listener *l)
{
	_cleanup_json_ json_t *before = l->store != NULL ? records_read_running(l->store) : NULL;
	const json_t *polls = json_get_object(before, "polls");
	for (size_t i = 0; i < l->endpoint_count; i++)
		if (l->endpoints[i]->id != NULL)
			l->endpoints[i]->answered_wall_ms = json_get_int(polls, l->endpoints[i]->id, 0);
	running_write(l);
}
