/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no test run can, and not every machine where tests run: sockets made by a process in a pod's
 * cgroup, and frames sent by them, with weir_unseen.bpf.o attached. This process goes into a
 * namespace and cgroups of its own for it, so it comes last.
 */
#ifndef WEIR_TEST_KERNEL_SOCKETS_H
#define WEIR_TEST_KERNEL_SOCKETS_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "abi/policy.h"

#define CGROUPS	    "/cgroup"
#define FRAME_BYTES 60
#define FRAME_TYPE  0x88b5 /* for local experiments */
#define AF_RDS_TOO  21

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

int judge(bool is_right, const char *format, ...);

static __u64 netns_cookie(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	__u64 cookie = 0;
	socklen_t bytes = sizeof(cookie);

	getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &bytes);
	close(fd);
	return cookie;
}

static void cgroup_enter(const char *path)
{
	char procs[128];
	int fd;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	mkdir(path, 0755);
	fd = open(procs, O_WRONLY);
	if (fd < 0 || write(fd, "0", 1) != 1)
		judge(false, "enter the cgroup %s: %m", path);
	close(fd);
}

/* 0: made; else why not. */
static int why_not_made(int family, int type)
{
	int fd = socket(family, type, 0);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static void judge_refusal(bool is_refused, const char *when)
{
	int packet = why_not_made(AF_PACKET, SOCK_RAW), old = why_not_made(AF_INET, SOCK_PACKET);
	int rds = why_not_made(AF_RDS_TOO, SOCK_SEQPACKET);

	judge((packet == EPERM) == is_refused, "%s: a packet socket: %s", when, strerror(packet));
	judge((old == EPERM) == is_refused, "%s: by its old name: %s", when, strerror(old));
	judge((rds == EPERM) == is_refused, "%s: one the kernel sends for: %s", when,
	      strerror(rds));
	judge(!why_not_made(AF_INET, SOCK_STREAM) && !why_not_made(AF_INET6, SOCK_DGRAM) &&
		  !why_not_made(AF_UNIX, SOCK_STREAM) && !why_not_made(AF_NETLINK, SOCK_RAW),
	      "%s: others are made: %m", when);
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (ioctl(fd, SIOCSIFFLAGS, &request))
		judge(false, "set lo up: %m");
	close(fd);
}

/* A frame that only a packet socket sends comes out at the other. */
static void judge_frame(int receiver)
{
	int sender = socket(AF_PACKET, SOCK_RAW, htons(FRAME_TYPE));
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex("lo")};
	unsigned char frame[FRAME_BYTES] = {[12] = FRAME_TYPE >> 8, [13] = FRAME_TYPE & 0xff};
	unsigned char got[FRAME_BYTES];

	if (sendto(sender, frame, sizeof(frame), 0, (void *)&to, sizeof(to)) != sizeof(frame))
		judge(false, "send a frame: %m");
	close(sender);
	judge(recv(receiver, got, sizeof(got), MSG_DONTWAIT) == sizeof(got) &&
		  memcmp(got, frame, sizeof(got)) == 0,
	      "known: its frames arrive: %m");
}

/* Which pod's it is is what user space finds there. */
static void judge_noted(int noted, __u64 netns)
{
	struct noted_netns row = {};
	struct stat pod;

	stat(CGROUPS "/kubepods/burstable/pod1", &pod);
	bpf_map_lookup_elem(noted, &netns, &row);
	judge(row.below_that == pod.st_ino, "noted as a pod's: %llu of %llu", row.below_that,
	      (__u64)pod.st_ino);
}

/* @param cgroups, known, noted maps of those names */
static void sockets_judge(struct bpf_program *program, int cgroups, int known, int noted)
{
	struct bpf_link *link = bpf_program__attach_trace(program);
	__u32 one = 1, kind;
	struct stat pods;
	__u64 netns;
	int receiver;

	if (!judge(link != NULL, "attach weir_closed_create: %m"))
		return;
	mkdir(CGROUPS, 0755);
	if (mount("cgroup2", CGROUPS, "cgroup2", 0, NULL) || unshare(CLONE_NEWNET)) {
		judge(false, "cgroups and a namespace: %m");
		return;
	}
	mkdir(CGROUPS "/kubepods", 0755);
	stat(CGROUPS "/kubepods", &pods);
	bpf_map_update_elem(cgroups, &(__u64){pods.st_ino}, &one, BPF_ANY);
	loopback_up();
	netns = netns_cookie();
	judge_refusal(false, "beside the pods");
	receiver = socket(AF_PACKET, SOCK_RAW, htons(FRAME_TYPE));
	mkdir(CGROUPS "/kubepods/burstable", 0755);
	cgroup_enter(CGROUPS "/kubepods/burstable/pod1");
	judge_refusal(true, "a pod that nobody knows");
	judge_noted(noted, netns);
	kind = NETNS_UNJUDGED;
	bpf_map_update_elem(known, &netns, &kind, BPF_ANY);
	judge_refusal(true, "a pod that nothing could judge");
	kind = NETNS_JUDGED;
	bpf_map_update_elem(known, &netns, &kind, BPF_ANY);
	judge_refusal(false, "known");
	judge_frame(receiver);
	bpf_map_delete_elem(known, &netns);
	judge_refusal(true, "known no more");
	cgroup_enter(CGROUPS "/system");
	judge_refusal(false, "beside the pods again");
	bpf_link__destroy(link);
}

#endif
