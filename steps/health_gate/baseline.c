/* The round before the first change. What is asked from this machine is asked on a thread of its own and, where an
 * answer takes long, beside the changes; so it uses nothing of the engine's: its own client, its own wait, a context that stays. Its checks
 * are read here once they are finished. */
#include "base/core/clock.h"
#include "steps/health_gate/health_gate.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TURN_MS = 10, TEXT_MAX = 8192 };

struct gate_baseline {
	struct gate_baseline *next;
	struct step_context context; /* the step's own is made anew when its input is */
	json_t *input;
	struct gate here, there; /* what is asked on targets is asked by the engine's own thread */
	bool begun, asked_there, over_once, *told;
	pthread_t thread;
	struct wait wait;
	int stop_fd;
};

struct tally {
	size_t all, bad, open;
	struct str text;
};

static struct gate_baseline *find(const struct step_context *c)
{
	const struct gate_memory *memory = c->memory;
	struct gate_baseline *b = memory != NULL ? memory->list : NULL;
	while (b != NULL && b->context.index != c->index)
		b = b->next;
	return b;
}

static void *ask(void *context)
{
	struct gate_baseline *b = context;
	struct err err = ERR_INIT;
	b->here.http = http_new(&(struct http_config){0}, &err);
	if (b->here.http != NULL)
		gate_run(&b->here, &err);
	return NULL;
}

static bool begin_thread(struct gate_baseline *b)
{
	sigset_t all, former;
	b->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->stop_fd < 0)
		return false;
	b->wait.cancel_fd = b->stop_fd;
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &former);
	int r = pthread_create(&b->thread, NULL, ask, b);
	pthread_sigmask(SIG_SETMASK, &former, NULL);
	return r == 0;
}

void gate_baseline_begin(const struct step_context *c)
{
	struct gate_memory *memory = c->memory;
	struct gate_baseline *b = xcalloc(1, sizeof(*b));
	b->context = *c;
	b->input = json_incref((json_t *)(uintptr_t)c->input_json);
	b->stop_fd = -1;
	b->wait = (struct wait)WAIT_INIT;
	b->next = memory->list;
	memory->list = b;
	const struct health_gate_in *in = b->context.input;
	gate_init(&b->here, &b->context, true);
	gate_init(&b->there, &b->context, true);
	b->here.silent = true;
	b->here.wait = &b->wait;
	for (size_t i = 0; i < in->checks_count; i++)
		gate_add(gate_is_there(&in->checks[i], probe_type_of(&in->checks[i])) ? &b->there : &b->here,
		         &in->checks[i], NULL);
	b->told = xcalloc(b->here.count + 1, sizeof(*b->told));
	b->begun = b->here.count > 0 && begin_thread(b);
}

static bool is_open(const struct gate_check *check)
{
	return !atomic_load(&check->finished);
}

/* What is bound by the time that it took before has to be waited for. */
static bool must_wait(const struct gate_baseline *b)
{
	for (size_t i = 0; b->begun && i < b->here.count; i++)
		if (is_open(&b->here.checks[i]) && b->here.checks[i].in->latency.has_times)
			return true;
	return false;
}

static bool is_over(const struct gate_baseline *b)
{
	for (size_t i = 0; b->begun && i < b->here.count; i++)
		if (is_open(&b->here.checks[i]))
			return false;
	return true;
}

static int ask_there(const struct step_context *c, struct gate_baseline *b, struct err *err)
{
	if (b->asked_there || b->there.count == 0)
		return 0;
	b->asked_there = true;
	b->there.http = c->http(c->engine);
	if (b->there.http == NULL)
		return err_set(err, ERR_INTERNAL, "this process has no HTTP client");
	return gate_run(&b->there, err);
}

static int wait_here(const struct step_context *c, const struct gate_baseline *b, int64_t most_ms, struct err *err)
{
	int64_t until = clock_mono_ms() + most_ms;
	int r = 0;
	while (r == 0 && !is_over(b) && (clock_mono_ms() < until || must_wait(b)))
		r = wait_ms(c->wait, TURN_MS, err);
	return r;
}

static void tell_here(struct gate_baseline *b)
{
	for (size_t i = 0; i < b->here.count; i++) {
		if (b->told[i] || is_open(&b->here.checks[i]))
			continue;
		b->told[i] = true;
		gate_tell(&b->here.checks[i], false);
	}
}

static void count(const struct gate *g, struct tally *t)
{
	for (size_t i = 0; i < g->count; i++) {
		const struct gate_check *check = &g->checks[i];
		t->all++;
		t->open += is_open(check);
		if (is_open(check) || check->passed)
			continue;
		str_appendf(&t->text, "%s%s %s", t->bad++ == 0 ? "" : "; ", check->label, str_peek(&check->seen));
	}
}

/* An answer that came behind the first change speaks for the version before only when it is good: what else is it may come of the change. */
int gate_baseline_end(const struct step_context *c, int64_t wait_ms_, struct err *err)
{
	struct gate_baseline *b = find(c);
	if (b == NULL)
		return err_set(err, ERR_TIMEOUT, "nothing was asked before the first change");
	int r = ask_there(c, b, err);
	if (r == 0)
		r = wait_here(c, b, wait_ms_, err);
	if (r < 0)
		return r;
	_cleanup_(str_done) struct str text = STR_INIT(TEXT_MAX);
	struct tally t = {.text = text};
	count(&b->here, &t);
	count(&b->there, &t);
	text = t.text;
	tell_here(b);
	bool late = b->over_once;
	b->over_once = true;
	if (t.bad > 0 && !late)
		return err_set(err, ERR_FAILED, "%zu of %zu checks do not pass now: %s", t.bad, t.all, str_peek(&text));
	if (t.bad > 0 || t.open > 0)
		return err_set(err, ERR_TIMEOUT, "%zu of %zu checks had not answered when the first change began",
		               t.open + t.bad, t.all);
	return 0;
}

static void baseline_free(struct gate_baseline *b)
{
	uint64_t one = 1;
	ssize_t n = b->begun ? write(b->stop_fd, &one, sizeof(one)) : 0;
	(void)n;
	if (b->begun)
		pthread_join(b->thread, NULL);
	struct http *own = TAKE(b->here.http);
	gate_done(&b->here);
	gate_done(&b->there);
	http_free(own);
	closep(&b->stop_fd);
	json_decref(b->input);
	free(b->told);
	free(b);
}

void gate_baseline_forget(void *memory_)
{
	struct gate_memory *memory = memory_;
	while (memory->list != NULL) {
		struct gate_baseline *b = memory->list;
		memory->list = b->next;
		baseline_free(b);
	}
}

static int64_t p95_of(const struct gate *g, const struct health_gate_checks *in)
{
	for (size_t i = 0; i < g->count; i++)
		if (g->checks[i].in == in && !is_open(&g->checks[i]) && g->checks[i].passed)
			return gate_percentile(&g->checks[i], 95);
	return -1;
}

int64_t gate_baseline_p95(const struct step_context *c, const struct health_gate_checks *in)
{
	const struct gate_baseline *b = find(c);
	if (b == NULL || c->deployment->undoing)
		return -1;
	const struct health_gate_in *now = c->input, *then = b->context.input;
	size_t index = (size_t)(in - now->checks);
	if (index >= then->checks_count)
		return -1;
	int64_t ms = p95_of(&b->here, &then->checks[index]);
	return ms >= 0 ? ms : p95_of(&b->there, &then->checks[index]);
}
