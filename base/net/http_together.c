/* Several that ask the same client at once, each in a fiber: http_perform() gives its turn away where it would wait. */
#include "base/core/fiber.h"
#include "base/net/http_priv.h"

enum { MOST = 64 };

struct seat {
	struct fiber *fiber; /* NULL: free */
	struct http_turns *turns;
	size_t index;
	const bool *until; /* what it waits for; NULL: nothing */
};

struct http_turns {
	struct seat seats[MOST];
	struct seat *active; /* whose turn it is; NULL: whoever called http_together() */
	size_t count, taken; /* of the calls; of the seats */
	size_t next;         /* the call that comes next */
	void (*one)(void *context, size_t i);
	void *context;
	int stopped; /* 0, or the error that ends every wait */
	struct err err;
};

bool http_turns_inside(const struct http *h)
{
	return h->turns != NULL && h->turns->active != NULL;
}

int http_turns_wait(struct http *h, const bool *until, struct err *err)
{
	struct http_turns *t = h->turns;
	struct seat *own = t->active;
	own->until = until;
	fiber_yield(own->fiber);
	own->until = NULL;
	if (*until || t->stopped == 0)
		return 0;
	if (err != NULL)
		*err = t->err;
	return t->stopped;
}

static void sit(struct fiber *f, void *context)
{
	struct seat *s = context;
	(void)f;
	s->turns->one(s->turns->context, s->index);
}

static void take_seats(struct http_turns *t, size_t most)
{
	for (size_t i = 0; i < most && t->next < t->count && t->stopped == 0; i++) {
		struct seat *s = &t->seats[i];
		if (s->fiber != NULL)
			continue;
		*s = (struct seat){.turns = t, .index = t->next++};
		s->fiber = fiber_new(sit, s);
		t->taken++;
	}
}

static int give_turn(struct http_turns *t, struct seat *s, struct err *err)
{
	t->active = s;
	int r = fiber_resume(s->fiber, err);
	t->active = NULL;
	if (r == 0 && !fiber_is_over(s->fiber))
		return 0;
	fiber_free(TAKE(s->fiber));
	t->taken--;
	return r;
}

/* Everyone who can go on. Returns how many could. */
static size_t give_turns(struct http_turns *t, size_t most)
{
	size_t given = 0;
	for (size_t i = 0; i < most; i++) {
		struct seat *s = &t->seats[i];
		if (s->fiber == NULL || (s->until != NULL && !*s->until && t->stopped == 0))
			continue;
		given++;
		int r = give_turn(t, s, &t->err);
		if (r < 0 && t->stopped == 0)
			t->stopped = r;
	}
	return given;
}

static int run_alone(size_t count, void (*one)(void *context, size_t i), void *context, struct wait *w, struct err *err)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = wait_check(w, err);
		if (r == 0)
			one(context, i);
	}
	return r;
}

int http_together(struct http *h, size_t count, size_t most, void (*one)(void *context, size_t i), void *context,
                  struct wait *w, struct err *err)
{
	if (count < 2 || most < 2 || h->turns != NULL)
		return run_alone(count, one, context, w, err);
	_cleanup_free_ struct http_turns *t = xcalloc(1, sizeof(*t));
	*t = (struct http_turns){.count = count, .one = one, .context = context, .err = ERR_INIT};
	most = MIN(most, (size_t)MOST);
	h->turns = t;
	for (;;) {
		if (t->stopped == 0)
			t->stopped = wait_check(w, &t->err);
		take_seats(t, most);
		if (t->taken == 0)
			break;
		if (give_turns(t, most) > 0)
			continue;
		int r = http_turn(h, &t->err);
		if (r == 0)
			r = http_wait(h, w, &t->err);
		if (r < 0)
			t->stopped = r;
	}
	h->turns = NULL;
	if (t->stopped < 0 && err != NULL)
		*err = t->err;
	return t->stopped;
}
