/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server of tcp_load.c: a process of its own, which answers each request, and keeps the
 * connections of those that ask for it.
 */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>

#include "tcp_sockets.h"

#define BACKLOG 4096
/* In an event of the server's: a listener's, not a connection's. */
#define LISTENER (1u << 31)

/*
 * A request that begins with 'k' keeps the connection.
 * @return whether the connection goes on
 */
static int answer(int fd)
{
	char bytes[ANSWER_BYTES];
	ssize_t count = read(fd, bytes, sizeof(bytes));

	if (count < 0 && errno == EAGAIN)
		return 1;
	if (count > 0 && write(fd, bytes, sizeof(bytes)) == sizeof(bytes) && bytes[0] == 'k')
		return 1;
	close(fd);
	return 0;
}

static void accept_all(int poll, int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		/* The request may be there already. */
		if (answer(fd))
			watch(poll, fd, EPOLLIN, fd);
	}
}

static int listen_at(uint16_t port)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	set_option(listener, SOL_SOCKET, SO_REUSEADDR);
	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    listen(listener, BACKLOG) < 0)
		fail("the server's listener");
	return listener;
}

static void serve(uint16_t first_port, uint16_t last_port, int ready)
{
	struct epoll_event events[EVENTS];
	int poll = epoll_create1(0);

	for (int port = first_port; port <= last_port; port++) {
		int listener = listen_at(port);

		watch(poll, listener, EPOLLIN, LISTENER | listener);
	}
	close(ready);
	for (;;) {
		int count = epoll_wait(poll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			uint32_t fd = events[i].data.u32;

			if (fd & LISTENER)
				accept_all(poll, fd & ~LISTENER);
			else
				answer(fd);
		}
	}
}

/* Returns its process when it listens. */
static pid_t start_server(int cpu, const char *namespace, const char *ports)
{
	unsigned int first, last;
	int ready[2];
	char nothing;
	pid_t server;

	if (sscanf(ports, "%u-%u", &first, &last) != 2 || pipe(ready) < 0)
		fail(ports);
	server = fork();
	if (server < 0)
		fail("fork()");
	if (!server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		enter(namespace);
		stay_on(cpu);
		serve(first, last, ready[1]);
	}
	close(ready[1]);
	if (read(ready[0], &nothing, 1) < 0)
		fail("waiting for the server");
	close(ready[0]);
	return server;
}
