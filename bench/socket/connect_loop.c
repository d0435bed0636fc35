/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What system calls of sockets cost, in CPU time of this thread. It is told what to do a line at a
 * time and answers with a line, so that several of these, in cgroups with and without hooks, can be
 * asked in turns a few milliseconds apart. See callers.ts.
 *
 *   targets FILE                      lines of "address port"       -> "ok COUNT"
 *   ACTION BATCHES SOCKETS FIRST      see below; FIRST: visit no.   -> "ns NANOSECONDS CALLS"
 *   shown FIRST                       connects a socket, asks it    -> "peer ADDRESS PORT"
 *
 *   fresh   connect() of UDP sockets that were made just before
 *   again   connect() of UDP sockets that live on from batch to batch
 *   life    socket(), connect() and close() together
 *   send    sendto() of UDP sockets that live on
 *
 * NANOSECONDS are of one batch, CALLS of all, those before the measured ones too.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../frame/host.h"

#define SOCKETS_MAX	4096
#define TARGETS_MAX	(1 << 20)
#define LINE_BYTES	512
#define BATCHES_MAX	64
#define WARM_UP_BATCHES 4
/* Odd: the targets are visited in an order that no table was filled in. */
#define ORDER 2654435761u

union target {
	struct sockaddr any;
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;
};

static union target *targets;
static uint32_t target_count;
static int sockets[SOCKETS_MAX];

static void read_targets(const char *path)
{
	FILE *file = fopen(path, "r");
	char host[INET6_ADDRSTRLEN];
	unsigned int port;

	if (!file)
		fail(path);
	for (target_count = 0; target_count < TARGETS_MAX; target_count++) {
		union target *target = &targets[target_count];

		if (fscanf(file, "%45s %u", host, &port) != 2)
			break;
		memset(target, 0, sizeof(*target));
		if (strchr(host, ':')) {
			target->ipv6.sin6_family = AF_INET6;
			target->ipv6.sin6_port = htons(port);
			inet_pton(AF_INET6, host, &target->ipv6.sin6_addr);
		} else {
			target->ipv4.sin_family = AF_INET;
			target->ipv4.sin_port = htons(port);
			inet_pton(AF_INET, host, &target->ipv4.sin_addr);
		}
	}
	fclose(file);
	if (target_count == 0)
		fail("no target in the file");
	printf("ok %u\n", target_count);
}

static const union target *visit(uint32_t number)
{
	return &targets[number * ORDER % target_count];
}

static int open_socket(void)
{
	int fd = socket(targets[0].any.sa_family, SOCK_DGRAM, 0);

	if (fd < 0)
		fail("socket()");
	return fd;
}

static void open_sockets(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		sockets[i] = open_socket();
}

static void close_sockets(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		close(sockets[i]);
}

static void connect_one(int fd, uint32_t number)
{
	if (connect(fd, &visit(number)->any, sizeof(union target)) < 0)
		fail("connect()");
}

static void send_one(int fd, uint32_t number)
{
	char question[32] = {};

	if (sendto(fd, question, sizeof(question), 0, &visit(number)->any, sizeof(union target)) <
	    0)
		fail("sendto()");
}

static void live_once(uint32_t number)
{
	int fd = open_socket();

	connect_one(fd, number);
	close(fd);
}

static uint64_t run_batch(const char *action, uint32_t count, uint32_t first)
{
	uint64_t start = read_clock(CLOCK_THREAD_CPUTIME_ID);

	if (!strcmp(action, "life"))
		for (uint32_t i = 0; i < count; i++)
			live_once(first + i);
	else if (!strcmp(action, "send"))
		for (uint32_t i = 0; i < count; i++)
			send_one(sockets[i], first + i);
	else
		for (uint32_t i = 0; i < count; i++)
			connect_one(sockets[i], first + i);
	return read_clock(CLOCK_THREAD_CPUTIME_ID) - start;
}

static int compare(const void *one, const void *other)
{
	uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

	return a < b ? -1 : a > b;
}

/*
 * The answer is the median of the batches: what the kernel clears up behind closed sockets meets
 * one batch or another, and is part of none.
 */
static void run(const char *action, uint32_t batches, uint32_t count, uint32_t first)
{
	int is_fresh = !strcmp(action, "fresh");
	int lives_on = !strcmp(action, "again") || !strcmp(action, "send");
	uint32_t warm_up = lives_on ? WARM_UP_BATCHES : 0;
	uint64_t spent_ns[BATCHES_MAX];

	if (lives_on)
		open_sockets(count);
	/* A socket's first calls, to its first Services, cost more than its later ones. */
	for (uint32_t batch = 0; batch < warm_up; batch++)
		run_batch(action, count, first + batch * count);
	for (uint32_t batch = 0; batch < batches; batch++) {
		if (is_fresh)
			open_sockets(count);
		spent_ns[batch] = run_batch(action, count, first + batch * count);
		if (is_fresh)
			close_sockets(count);
	}
	if (lives_on)
		close_sockets(count);
	qsort(spent_ns, batches, sizeof(*spent_ns), compare);
	printf("ns %llu %u\n", (unsigned long long)spent_ns[batches / 2],
	       (warm_up + batches) * count);
}

static void show_peer(uint32_t number)
{
	char host[INET6_ADDRSTRLEN] = "?";
	socklen_t bytes = sizeof(union target);
	int fd = open_socket();
	union target peer = {};

	connect_one(fd, number);
	if (getpeername(fd, &peer.any, &bytes) < 0)
		fail("getpeername()");
	if (peer.any.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &peer.ipv6.sin6_addr, host, sizeof(host));
	else
		inet_ntop(AF_INET, &peer.ipv4.sin_addr, host, sizeof(host));
	printf("peer %s %u\n", host, ntohs(peer.ipv4.sin_port));
	close(fd);
}

int main(int argc, char **argv)
{
	char line[LINE_BYTES], word[LINE_BYTES];
	uint32_t batches, count, first;

	stay_on(argc > 1 ? atoi(argv[1]) : 0);
	targets = calloc(TARGETS_MAX, sizeof(*targets));
	if (!targets)
		fail("memory for the targets");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "targets %511s", word) == 1)
			read_targets(word);
		else if (sscanf(line, "shown %u", &first) == 1)
			show_peer(first);
		else if (sscanf(line, "%511s %u %u %u", word, &batches, &count, &first) == 4 &&
			 count <= SOCKETS_MAX && batches > 0 && batches <= BATCHES_MAX)
			run(word, batches, count, first);
		else
			printf("not understood: %s", line);
		fflush(stdout);
	}
	return 0;
}
