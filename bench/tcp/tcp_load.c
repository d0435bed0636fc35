/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP client and its server, each in a network namespace and on a processor of its own. It is
 * told what to do a line at a time:
 *
 *   short COUNT AT-ONCE    connections of one request each, the server closes -> see below
 *   kept COUNT AT-ONCE     requests over connections that stay                -> see below
 *   shown                  what getpeername() says of a connection            -> "peer ADDRESS
 * PORT"
 *
 *   "done WALL-NS CLIENT-CPU-NS SERVER-CPU-NS P50-NS P99-NS"
 *
 * A request has 64 bytes, an answer 128. A latency runs from before connect() (short) or write()
 * (kept) until the last byte of the answer was read.
 *
 * Every connection has a source address and port that none of the last million had: none is held up
 * by one in TIME_WAIT, and no two are the same after translation.
 */
#define _GNU_SOURCE
#include "tcp_server.h"
#include "tcp_sockets.h"

#define TARGETS_MAX (1 << 17)
#define AT_ONCE_MAX 1024
#define SAMPLES_MAX (1 << 20)
#define LINE_BYTES  512
#define FIRST_PORT  2048
#define LAST_PORT   65000
#define DEADLINE_MS 5000
/* Odd: the targets are visited in scattered order. */
#define ORDER 2654435761u

struct connection {
	int fd;
	uint32_t received;
	uint64_t begun_ns;
};

static struct sockaddr_in targets[TARGETS_MAX];
static uint32_t target_count, visits;
static uint32_t first_source, source_count, sources_taken;
static struct connection connections[AT_ONCE_MAX];
static uint32_t samples[SAMPLES_MAX];
static pid_t server;

static void read_targets(const char *path)
{
	FILE *file = fopen(path, "r");
	char host[INET_ADDRSTRLEN];
	unsigned int port;

	if (!file)
		fail(path);
	for (; target_count < TARGETS_MAX; target_count++) {
		struct sockaddr_in *target = &targets[target_count];

		if (fscanf(file, "%15s %u", host, &port) != 2)
			break;
		target->sin_family = AF_INET;
		target->sin_port = htons(port);
		inet_pton(AF_INET, host, &target->sin_addr);
	}
	fclose(file);
	if (target_count == 0)
		fail("no target in the file");
}

static void take_source(int fd)
{
	uint32_t number = sources_taken++;
	struct sockaddr_in source = {
	    .sin_family = AF_INET,
	    .sin_port = htons(FIRST_PORT + number / source_count % (LAST_PORT - FIRST_PORT)),
	    .sin_addr.s_addr = htonl(first_source + number % source_count),
	};

	set_option(fd, SOL_SOCKET, SO_REUSEADDR);
	if (bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0)
		fail("bind()");
}

static int begin(int flags)
{
	const struct sockaddr_in *target = &targets[visits++ * ORDER % target_count];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		fail("socket()");
	take_source(fd);
	if (connect(fd, (const struct sockaddr *)target, sizeof(*target)) < 0 &&
	    errno != EINPROGRESS)
		fail("connect()");
	return fd;
}

static void ask(struct connection *connection, char kind)
{
	char request[REQUEST_BYTES];

	memset(request, kind, sizeof(request));
	connection->received = 0;
	if (write(connection->fd, request, sizeof(request)) != sizeof(request))
		fail("write()");
}

/* Whether the answer is complete. */
static int hear(struct connection *connection)
{
	char bytes[2 * ANSWER_BYTES];
	ssize_t count = read(connection->fd, bytes, sizeof(bytes));

	if (count < 0 && errno == EAGAIN)
		return 0;
	if (count <= 0)
		fail("a connection ended before its answer");
	connection->received += count;
	return connection->received >= ANSWER_BYTES;
}

static void renew(int poll, uint32_t number)
{
	struct connection *connection = &connections[number];

	connection->begun_ns = read_clock(CLOCK_MONOTONIC);
	connection->fd = begin(SOCK_NONBLOCK);
	watch(poll, connection->fd, EPOLLOUT, number);
}

/* Connected. */
static void ask_first(int poll, struct connection *connection, uint32_t number)
{
	struct epoll_event next = {.events = EPOLLIN, .data.u32 = number};

	ask(connection, 's');
	if (epoll_ctl(poll, EPOLL_CTL_MOD, connection->fd, &next) < 0)
		fail("epoll_ctl()");
}

static uint32_t wait_events(int poll, struct epoll_event *events)
{
	int count = epoll_wait(poll, events, EVENTS, DEADLINE_MS);

	if (count > 0)
		return count;
	errno = ETIMEDOUT;
	fail("no answer");
	return 0;
}

static void take_sample(uint32_t number, const struct connection *connection)
{
	samples[number] = read_clock(CLOCK_MONOTONIC) - connection->begun_ns;
}

static void run_short(int poll, uint32_t total, uint32_t at_once)
{
	struct epoll_event events[EVENTS];
	uint32_t begun = 0, done = 0;

	while (begun < at_once)
		renew(poll, begun++);
	while (done < total) {
		uint32_t count = wait_events(poll, events);

		for (uint32_t i = 0; i < count; i++) {
			uint32_t number = events[i].data.u32;
			struct connection *connection = &connections[number];

			if (events[i].events & EPOLLOUT) {
				ask_first(poll, connection, number);
				continue;
			}
			if (!hear(connection))
				continue;
			take_sample(done++, connection);
			close(connection->fd);
			if (begun < total) {
				begun++;
				renew(poll, number);
			}
		}
	}
}

static void ask_again(struct connection *connection)
{
	connection->begun_ns = read_clock(CLOCK_MONOTONIC);
	ask(connection, 'k');
}

static void run_kept(int poll, uint32_t total, uint32_t at_once)
{
	struct epoll_event events[EVENTS];
	uint32_t begun = at_once, done = 0;

	for (uint32_t i = 0; i < at_once; i++)
		ask_again(&connections[i]);
	while (done < total) {
		uint32_t count = wait_events(poll, events);

		for (uint32_t i = 0; i < count; i++) {
			struct connection *connection = &connections[events[i].data.u32];

			if (!hear(connection))
				continue;
			take_sample(done++, connection);
			if (begun++ < total)
				ask_again(connection);
		}
	}
}

static void open_kept(int poll, uint32_t at_once)
{
	for (uint32_t i = 0; i < at_once; i++) {
		connections[i].fd = begin(0);
		watch(poll, connections[i].fd, EPOLLIN, i);
	}
}

static int compare(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;

	return a < b ? -1 : a > b;
}

/* Kept connections are there before the measured time and end after it. */
static void measure(const char *kind, uint32_t total, uint32_t at_once)
{
	int poll = epoll_create1(EPOLL_CLOEXEC), is_kept = !strcmp(kind, "kept");
	uint64_t wall, client_cpu, server_cpu;
	clockid_t server_clock;

	if (clock_getcpuclockid(server, &server_clock))
		fail("the server has ended");
	if (is_kept)
		open_kept(poll, at_once);
	wall = read_clock(CLOCK_MONOTONIC);
	client_cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID);
	server_cpu = read_clock(server_clock);
	if (is_kept)
		run_kept(poll, total, at_once);
	else
		run_short(poll, total, at_once);
	wall = read_clock(CLOCK_MONOTONIC) - wall;
	client_cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID) - client_cpu;
	server_cpu = read_clock(server_clock) - server_cpu;
	for (uint32_t i = 0; is_kept && i < at_once; i++)
		close(connections[i].fd);
	close(poll);
	qsort(samples, total, sizeof(*samples), compare);
	printf("done %llu %llu %llu %u %u\n", (unsigned long long)wall,
	       (unsigned long long)client_cpu, (unsigned long long)server_cpu, samples[total / 2],
	       samples[total - 1 - total / 100]);
}

static void show_peer(void)
{
	struct sockaddr_in peer = {};
	socklen_t bytes = sizeof(peer);
	char host[INET_ADDRSTRLEN];
	int fd = begin(0);

	if (getpeername(fd, (struct sockaddr *)&peer, &bytes) < 0)
		fail("getpeername()");
	inet_ntop(AF_INET, &peer.sin_addr, host, sizeof(host));
	printf("peer %s %u\n", host, ntohs(peer.sin_port));
	close(fd);
}

int main(int argc, char **argv)
{
	char line[LINE_BYTES], word[LINE_BYTES];
	uint32_t total, at_once;

	if (argc != 9) {
		fprintf(stderr, "tcp_load CLIENT-CPU CLIENT-NAMESPACE SERVER-CPU SERVER-NAMESPACE "
				"FIRST-LAST-PORT TARGETS FIRST-SOURCE SOURCES\n");
		return 1;
	}
	server = start_server(atoi(argv[3]), argv[4], argv[5]);
	stay_on(atoi(argv[1]));
	enter(argv[2]);
	read_targets(argv[6]);
	first_source = ntohl(inet_addr(argv[7]));
	source_count = atoi(argv[8]);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "shown", 5))
			show_peer();
		else if (sscanf(line, "%511s %u %u", word, &total, &at_once) == 3 &&
			 at_once <= AT_ONCE_MAX && total >= at_once && total <= SAMPLES_MAX)
			measure(word, total, at_once);
		else
			printf("not understood: %s", line);
		fflush(stdout);
	}
	kill(server, SIGKILL);
	return 0;
}
