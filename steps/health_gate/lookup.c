#include "steps/health_gate/health_gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_MAX = 64 << 10, STACK = 512 << 10 };

struct gate_lookup {
	atomic_int holders; /* the check and the thread */
	int done_fd;        /* readable when what follows is there */
	const char *why;    /* NULL: it resolved */
	struct addrinfo *list;
	struct strv addresses;
	char *host, *resolver;
	char port[8];
};

void gate_lookup_release(struct gate_lookup *l)
{
	if (l == NULL || atomic_fetch_sub(&l->holders, 1) != 1)
		return;
	if (l->list != NULL)
		freeaddrinfo(l->list);
	strv_done(&l->addresses);
	closep(&l->done_fd);
	free(l->host);
	free(l->resolver);
	free(l);
}

static void add_address(struct gate_lookup *l, int family, const void *address)
{
	char text[INET6_ADDRSTRLEN];
	if (inet_ntop(family, address, text, sizeof(text)) != NULL && !strv_has(&l->addresses, text))
		strv_add(&l->addresses, text);
}

static void ask_system(struct gate_lookup *l, int flags)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
	int code = getaddrinfo(l->host, l->port, &hints, &l->list);
	l->why = code != 0 ? gai_strerror(code) : NULL;
	for (const struct addrinfo *a = code == 0 ? l->list : NULL; a != NULL; a = a->ai_next) {
		if (a->ai_family == AF_INET)
			add_address(l, AF_INET, &((const struct sockaddr_in *)(const void *)a->ai_addr)->sin_addr);
		else if (a->ai_family == AF_INET6)
			add_address(l, AF_INET6, &((const struct sockaddr_in6 *)(const void *)a->ai_addr)->sin6_addr);
	}
}

static bool read_server(const char *resolver, struct sockaddr_in *ret)
{
	_cleanup_free_ char *host = NULL;
	int port = 53;
	*ret = (struct sockaddr_in){.sin_family = AF_INET};
	if (strchr(resolver, ':') == NULL)
		host = xstrdup(resolver);
	else if (gate_split_address(resolver, &host, &port, NULL) < 0)
		return false;
	ret->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &ret->sin_addr) == 1;
}

static void take_records(struct gate_lookup *l, const unsigned char *answer, int len, ns_type type)
{
	ns_msg message;
	if (len <= 0 || ns_initparse(answer, len, &message) < 0)
		return;
	for (int i = 0; i < ns_msg_count(message, ns_s_an); i++) {
		ns_rr record;
		if (ns_parserr(&message, ns_s_an, i, &record) < 0 || ns_rr_type(record) != type)
			continue;
		if (type == ns_t_a && ns_rr_rdlen(record) == sizeof(struct in_addr))
			add_address(l, AF_INET, ns_rr_rdata(record));
		else if (type == ns_t_aaaa && ns_rr_rdlen(record) == sizeof(struct in6_addr))
			add_address(l, AF_INET6, ns_rr_rdata(record));
	}
}

/* code: of the last answer; -1: none came. */
static const char *why_nothing(int code)
{
	switch (code) {
	case ns_r_nxdomain:
		return "there is no such name";
	case ns_r_noerror:
		return "the name has no address";
	default:
		return "the DNS server does not answer";
	}
}

static void ask_server(struct gate_lookup *l)
{
	static const ns_type types[] = {ns_t_a, ns_t_aaaa};
	struct sockaddr_in server;
	if (!read_server(l->resolver, &server)) {
		l->why = "the DNS server's address is not usable";
		return;
	}
	_cleanup_free_ unsigned char *answer = xmalloc(ANSWER_MAX);
	int code = -1;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		int len = gate_ask_server(&server, l->host, types[i], answer, ANSWER_MAX);
		code = len >= NS_HFIXEDSZ ? answer[3] & 0x0f : -1;
		take_records(l, answer, len, types[i]);
	}
	l->why = l->addresses.count == 0 ? why_nothing(code) : NULL;
}

static void finish(struct gate_lookup *l)
{
	uint64_t one = 1;
	ssize_t n = write(l->done_fd, &one, sizeof(one));
	(void)n;
}

static void *look_up(void *context)
{
	struct gate_lookup *l = context;
	if (l->resolver != NULL)
		ask_server(l);
	else
		ask_system(l, AI_ADDRCONFIG);
	finish(l);
	gate_lookup_release(l);
	return NULL;
}

static bool start_thread(struct gate_lookup *l)
{
	pthread_t thread;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	atomic_fetch_add(&l->holders, 1);
	int r = pthread_create(&thread, &attr, look_up, l);
	pthread_attr_destroy(&attr);
	if (r != 0)
		atomic_fetch_sub(&l->holders, 1);
	return r == 0;
}

/* Numbers need no resolver. */
static bool is_number(struct gate_lookup *l)
{
	if (l->resolver != NULL)
		return false;
	ask_system(l, AI_NUMERICHOST | AI_NUMERICSERV);
	return l->why == NULL;
}

struct gate_lookup *gate_lookup_start(const char *host, int port, const char *resolver)
{
	struct gate_lookup *l = xcalloc(1, sizeof(*l));
	atomic_init(&l->holders, 1);
	l->host = xstrdup(host);
	l->resolver = xstrdup(resolver);
	snprintf(l->port, sizeof(l->port), "%d", port);
	l->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->done_fd < 0) {
		gate_lookup_release(l);
		return NULL;
	}
	if (is_number(l)) {
		finish(l);
		return l;
	}
	if (start_thread(l))
		return l;
	gate_lookup_release(l);
	return NULL;
}

int gate_lookup_fd(const struct gate_lookup *l)
{
	return l->done_fd;
}

int gate_lookup_result(const struct gate_lookup *l, const struct addrinfo **ret_list, const struct strv **ret_addresses,
                       const char **ret_why)
{
	*ret_list = l->list;
	*ret_addresses = &l->addresses;
	*ret_why = l->why;
	return l->why == NULL ? 0 : ERR_NOT_FOUND;
}
