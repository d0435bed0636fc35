/* SPDX-License-Identifier: Apache-2.0 */
/* What the client and the server of tcp_load.c do alike. */
#pragma once

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../frame/host.h"

#define REQUEST_BYTES 64
#define ANSWER_BYTES  128
#define EVENTS	      64

static inline void enter(const char *namespace)
{
	int fd = open(namespace, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		fail(namespace);
	close(fd);
}

static inline void watch(int poll, int fd, uint32_t events, uint32_t number)
{
	struct epoll_event event = {.events = events, .data.u32 = number};

	if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll_ctl()");
}

static inline void set_option(int fd, int level, int option)
{
	int on = 1;

	if (setsockopt(fd, level, option, &on, sizeof(on)) < 0)
		fail("setsockopt()");
}
