/* Connections where names do not resolve in time, and through a proxy. The name server is one of ours that never
 * answers: resolv.conf is bound over in a private mount namespace, so that part needs root. */
#include "unit/cmocka_all.h"
#include "base/core/clock.h"
#include "base/sys/fs.h"
#include "base/net/http.h"
#include "base/net/net.h"
#include "harness/server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>

/* True once names go to a server that is there and silent. */
static bool silence_names(void)
{
	static const char resolv[] = "nameserver 127.0.0.77\noptions timeout:30 attempts:3\n";
	_cleanup_free_ char *dir = NULL;
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = inet_addr("127.0.0.77")};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (geteuid() != 0 || fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    fs_make_temp_dir("davit-net", &dir, NULL) < 0)
		return false;
	_cleanup_free_ char *path = fs_join(dir, "resolv.conf");
	bool done = fs_write_replace(AT_FDCWD, path, resolv, sizeof(resolv) - 1, 0644, NULL) == 0 &&
	            mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0;
	fs_remove_tree(AT_FDCWD, dir, NULL);
	/* fd stays open: its silence is the point. */
	return done;
}

static void a_name_server_that_does_not_answer_does_not_outlast_the_deadline(void **state)
{
	(void)state;
	struct net_conn *c = NULL;
	struct err err = ERR_INIT;
	struct wait w = WAIT_INIT;
	if (!silence_names()) {
		print_message("a silent name server needs root and a mount namespace\n");
		skip();
	}
	w = wait_within(&w, 300);
	int64_t begin = clock_mono_ms();
	assert_int_equal(net_connect("slow.example.com", 22, 0, &w, &c, &err), ERR_TIMEOUT);
	assert_true(clock_mono_ms() - begin < 4000);

	_cleanup_(http_freep) struct http *h = http_new(NULL, NULL);
	struct http_request q = {.url = "http://slow.example.com/"};
	struct http_response a = {0};
	struct wait again = WAIT_INIT;
	again = wait_within(&again, 300);
	begin = clock_mono_ms();
	assert_int_equal(http_perform(h, &q, &again, &a, &err), ERR_TIMEOUT);
	assert_true(clock_mono_ms() - begin < 4000);
}

static void a_connection_goes_through_the_proxy_that_the_environment_names(void **state)
{
	(void)state;
	/* The least of an HTTP proxy: it notes whom it is asked for, and speaks itself. */
	static const char code[] = "import socket,json\n"
				   "s=socket.create_server(('127.0.0.1',0))\n"
				   "print(json.dumps({'port':s.getsockname()[1]}),flush=True)\n"
				   "c,_=s.accept()\n"
				   "t=b''\n"
				   "while b'\\r\\n\\r\\n' not in t: t+=c.recv(4096)\n"
				   "c.sendall(b'HTTP/1.1 200 yes\\r\\n\\r\\n'+t.split(b'\\r\\n')[0]+b'\\n')\n"
				   "c.recv(1)\n";
	const char *const argv[] = {"python3", "-c", code, NULL};
	struct proc_options o = {.argv = argv, .stdin_fd = -1, .stdout_fd = PROC_PIPE, .stderr_fd = STDERR_FILENO};
	struct server proxy = {.proc = PROC_INIT};
	char line[256] = "";
	assert_int_equal(proc_spawn(&o, &proxy.proc, NULL), 0);
	assert_true(server_read_line(&proxy, line, sizeof(line)));
	proxy.facts = json_loads(line, 0, NULL);
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d", server_port(&proxy));
	setenv("all_proxy", url, 1);
	setenv("no_proxy", "localhost", 1);

	_cleanup_(net_closep) struct net_conn *c = NULL;
	struct err err = ERR_INIT;
	struct wait w = WAIT_INIT;
	w = wait_within(&w, 20000);
	assert_int_equal(net_connect("shop.example", 22, 0, &w, &c, &err), 0);
	assert_true(wait_fd(&w, net_fd(c), POLLIN, &err) > 0);
	ssize_t n = read(net_fd(c), line, sizeof(line) - 1);
	assert_true(n > 0);
	line[n] = '\0';
	assert_true(str_starts(line, "CONNECT shop.example:22 HTTP/1.1\n"));
	unsetenv("all_proxy");
	unsetenv("no_proxy");
	proc_done(&proxy.proc);
	json_decref(proxy.facts);
}

static void nobody_at_the_port_is_a_network_error_with_host_and_port(void **state)
{
	(void)state;
	struct net_conn *c = NULL;
	struct err err = ERR_INIT;
	struct wait w = WAIT_INIT;
	char line[512];
	w = wait_within(&w, 20000);
	assert_int_equal(net_connect("::1", 1, 0, &w, &c, &err), ERR_NETWORK);
	assert_non_null(strstr(err_line(&err, line, sizeof(line)), "::1 port 1"));
	assert_int_equal(net_connect("", 1, 0, &w, &c, &err), ERR_INVALID);
	assert_int_equal(net_connect("a@b", 1, 0, &w, &c, &err), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_at_the_port_is_a_network_error_with_host_and_port),
		cmocka_unit_test(a_connection_goes_through_the_proxy_that_the_environment_names),
		cmocka_unit_test(a_name_server_that_does_not_answer_does_not_outlast_the_deadline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
