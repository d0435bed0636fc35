/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Closed until known: what sockets of pods send and get before policy knows their address. A new
 * container is in its pod's cgroup before its first instruction, and its device may have no program
 * yet, or its packets never come by one (two pods of one bridge).
 *
 * A pod that is known is judged at its device, and so is multicast to it, whose sender must be
 * known too. A process on the host's network below the pods' cgroup speaks from the node's address.
 * Neighbour discovery is the kernel's own, whose sockets are in no pod's cgroup.
 */
#ifndef WEIR_LIB_CLOSED_H
#define WEIR_LIB_CLOSED_H

#include <stddef.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include "lib/policy.h"
#include "lib/verdict.h"

#define SOCKET_DROP 0
#define SOCKET_PASS 1

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

static __always_inline bool is_multicast(const struct address *address)
{
	return address_is_ipv4(address) ? address->bytes[12] >= 224 : address->bytes[0] == 0xff;
}

static __always_inline bool is_own_nodes(const struct address *address)
{
	struct address key = *address;
	const struct identity *identity = bpf_map_lookup_elem(&identities, &key);

	return identity && identity->scope == SCOPE_NODE;
}

static __always_inline int judge_closed(struct __sk_buff *ctx, bool is_egress)
{
	struct address own = {};

	if (closed_read_own(ctx, &own, is_egress) &&
	    (is_loopback(&own) || (!is_egress && is_multicast(&own)) || policy_set_of(&own) ||
	     is_own_nodes(&own)))
		return SOCKET_PASS;
	count(is_egress ? REASON_POLICY_EGRESS : REASON_POLICY_INGRESS, ctx->len);
	return SOCKET_DROP;
}

#endif
