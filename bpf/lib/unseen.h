/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Closed until known, for what no hook of a cgroup sees (lib/closed.h): sockets that send whole
 * frames past the stack (AF_PACKET, AF_XDP), or whose packets are the kernel's own (RDS, TIPC).
 * They have no hook where they send, so it is their making that is judged; who sends by others pays
 * one look-up when the socket is made.
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
#include "lib/pod_cgroup.h"
#include "lib/verdict.h"

/* Not in the headers of the C library that programs are compiled with. */
#define FAMILY_UNIX    1
#define FAMILY_INET    2
#define FAMILY_INET6   10
#define FAMILY_KEY     15
#define FAMILY_NETLINK 16
#define FAMILY_ALG     38
#define FAMILY_VSOCK   40

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

/*
 * Whether this process may not make a socket of that family now. Whose namespace nobody knows is
 * noted, whatever the family: user space has looked at it when the first packet goes.
 */
static __always_inline bool is_refused(int family)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 netns = task->nsproxy->net_ns->net_cookie;
	bool is_seen = is_seen_elsewhere(family);
	const __u32 *known;
	int root;

	if (netns == node_config.host_netns_cookie)
		return false;
	known = bpf_map_lookup_elem(&known_netns, &netns);
	if (known && (is_seen || *known == NETNS_JUDGED))
		return false;
#define CALLER_ANCESTOR(level) bpf_get_current_ancestor_cgroup_id(level)
	root = pods_root_level(CALLER_ANCESTOR);
	if (!root)
		return false;
	if (!known)
		note_netns(netns, CALLER_ANCESTOR(root + 1), CALLER_ANCESTOR(root + 2));
	return !is_seen;
}

#endif
