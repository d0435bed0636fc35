/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Closed until known: what sockets of pods send and get before policy knows their pod. A new
 * container is in its pod's cgroup before its first instruction, and its device may have no program
 * yet, or its packets never come by one.
 *
 * What tells is the socket's network namespace, and not its address, which may have been another
 * pod's a moment ago. That of a known pod passes: its device judges what it sends and gets. So does
 * the host's, where daemons speak from whatever address the node has. Everybody else may speak to
 * themselves by the loopback. Neighbour discovery and answers to pings are the kernel's own, whose
 * sockets are in no pod's cgroup.
 *
 * A container within a pod's container may have a namespace of its own. Which one was met is noted,
 * and user space lets it speak when every way out of it leads through its pod's.
 */
#ifndef WEIR_LIB_CLOSED_H
#define WEIR_LIB_CLOSED_H

#include <stddef.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_core_read.h>
#include "lib/pod_cgroup.h"
#include "lib/policy.h"
#include "lib/verdict.h"

#define SOCKET_DROP 0
#define SOCKET_PASS 1

#define KERNEL_STRUCT __attribute__((preserve_access_index))

/* As much of the kernel's own structures as is read here; offsets are the running kernel's. */
struct net {
	__u64 net_cookie;
} KERNEL_STRUCT;

typedef struct {
	struct net *net;
} KERNEL_STRUCT possible_net_t;

struct sock_common {
	possible_net_t skc_net;
} KERNEL_STRUCT;

struct sock {
	struct sock_common __sk_common;
} KERNEL_STRUCT;

/* The packet begins with its IP header here. */
static __always_inline bool closed_read_own(struct __sk_buff *ctx, struct address *own,
					    bool is_egress)
{
	struct in6_addr ipv6;
	__be32 ipv4;

	if (ctx->protocol == bpf_htons(ETH_P_IP)) {
		__u32 at =
		    is_egress ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr);

		if (bpf_skb_load_bytes(ctx, at, &ipv4, sizeof(ipv4)))
			return false;
		address_from_ipv4(own, ipv4);
		return true;
	}
	if (ctx->protocol == bpf_htons(ETH_P_IPV6)) {
		__u32 at =
		    is_egress ? offsetof(struct ipv6hdr, saddr) : offsetof(struct ipv6hdr, daddr);

		if (bpf_skb_load_bytes(ctx, at, &ipv6, sizeof(ipv6)))
			return false;
		address_from_ipv6(own, &ipv6);
		return true;
	}
	return false;
}

static __always_inline bool is_loopback(const struct address *address)
{
	if (address_is_ipv4(address))
		return address->bytes[12] == 127;
	return !(address_get_word(address, 0) | address_get_word(address, 1) |
		 address_get_word(address, 2)) &&
	       address_get_word(address, 3) == bpf_htonl(1);
}

/* 0: unknown. */
static __always_inline __u64 netns_cookie_of(struct __sk_buff *ctx)
{
	/* bpf_get_netns_cookie() is there from 6.12 on for hooks of this kind. The verifier lets
	 * nobody calculate with a socket's pointer, but read it as a number. */
	struct bpf_sock *socket = ctx->sk;
	struct sock *sk;
	struct net *net;
	__u64 cookie;

	if (!socket || bpf_probe_read_kernel(&sk, sizeof(sk), &socket))
		return 0;
	if (bpf_core_read(&net, sizeof(net), &sk->__sk_common.skc_net.net) ||
	    bpf_core_read(&cookie, sizeof(cookie), &net->net_cookie))
		return 0;
	return cookie;
}

static __always_inline void note_dropped(struct __sk_buff *ctx, __u64 netns)
{
	int root;

	if (!netns || bpf_map_lookup_elem(&noted_netns, &netns))
		return;
#define SOCKET_ANCESTOR(level) bpf_skb_ancestor_cgroup_id(ctx, level)
	root = pods_root_level(SOCKET_ANCESTOR);
	if (root)
		note_netns(netns, SOCKET_ANCESTOR(root + 1), SOCKET_ANCESTOR(root + 2));
}

static __always_inline int judge_closed(struct __sk_buff *ctx, bool is_egress)
{
	__u64 netns = netns_cookie_of(ctx);
	struct address own = {};

	if (netns &&
	    (netns == node_config.host_netns_cookie || bpf_map_lookup_elem(&known_netns, &netns)))
		return SOCKET_PASS;
	if (closed_read_own(ctx, &own, is_egress) && is_loopback(&own))
		return SOCKET_PASS;
	note_dropped(ctx, netns);
	count(is_egress ? REASON_POLICY_EGRESS : REASON_POLICY_INGRESS, ctx->len);
	return SOCKET_DROP;
}

#endif
