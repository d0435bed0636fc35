/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Closed until known, for what no hook of a cgroup sees (lib/closed.h): sockets that send whole
 * frames past the stack (AF_PACKET, AF_XDP), or whose packets are the kernel's own (RDS, TIPC).
 * They have no hook where they send, so it is their making that is judged; who sends by others pays
 * nothing for it.
 *
 * Refused are pods whose device judges nothing: that policy does not know yet, by the network
 * namespace, as lib/closed.h has it; and those that speak though nothing could judge them, for what
 * such a socket sends could not be stopped when a policy comes. The making is
 * security_socket_create(), which also stands behind io_uring and socketpair(); its caller's
 * namespace is the socket's for ever. A program may change what it returns whether or not BPF is
 * among the kernel's security modules: distributions that leave it out are many.
 */
#ifndef WEIR_LIB_UNSEEN_H
#define WEIR_LIB_UNSEEN_H

#include <linux/errno.h>
#include <linux/types.h>
#include "maps.h"
#include "lib/verdict.h"

/* Not in the headers of the C library that programs are compiled with. */
#define FAMILY_UNIX    1
#define FAMILY_INET    2
#define FAMILY_INET6   10
#define FAMILY_KEY     15
#define FAMILY_NETLINK 16
#define FAMILY_ALG     38
#define FAMILY_VSOCK   40

/* Below the root of all, where the kubelet's root of pods may be. */
#define CGROUP_LEVELS_MAX 16

#define KERNEL_STRUCT __attribute__((preserve_access_index))

/* As much of the kernel's own structures as is read here; offsets are the running kernel's. */
struct net {
	__u64 net_cookie;
} KERNEL_STRUCT;

struct nsproxy {
	struct net *net_ns;
} KERNEL_STRUCT;

struct task_struct {
	struct nsproxy *nsproxy;
} KERNEL_STRUCT;

/* Its packets come by the cgroup's hooks, or it speaks to nobody beyond this machine. */
static __always_inline bool is_seen_elsewhere(int family)
{
	return family == FAMILY_INET || family == FAMILY_INET6 || family == FAMILY_UNIX ||
	       family == FAMILY_NETLINK || family == FAMILY_KEY || family == FAMILY_ALG ||
	       family == FAMILY_VSOCK;
}

static __always_inline bool is_caller_in_pod(void)
{
	for (int level = 1; level <= CGROUP_LEVELS_MAX; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			return false;
		if (bpf_map_lookup_elem(&closed_cgroups, &id))
			return true;
	}
	return false;
}

/* Whether this process may not make a socket of that family now. */
static __always_inline bool is_refused(int family)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 netns = task->nsproxy->net_ns->net_cookie;
	const __u32 *known;

	if (is_seen_elsewhere(family) || netns == node_config.host_netns_cookie)
		return false;
	known = bpf_map_lookup_elem(&known_netns, &netns);
	return !(known && *known == NETNS_JUDGED) && is_caller_in_pod();
}

#endif
