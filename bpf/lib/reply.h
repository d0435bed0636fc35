/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * tc: a backend's answer on its way to the client. The source becomes the frontend's address and
 * port; the frame leaves by an uplink, or into the device of a client that is a pod of this node.
 *
 * Checksums go through the skb helpers: they know about CHECKSUM_PARTIAL, where the field holds the
 * pseudo-header's sum alone and the device or the segmentation adds the rest.
 */
#ifndef WEIR_LIB_REPLY_H
#define WEIR_LIB_REPLY_H

#include <stddef.h>
#include <linux/pkt_cls.h>
#include "lib/csum.h"
#include "lib/nexthop.h"
#include "lib/parse.h"
#include "lib/track.h"
#include "lib/verdict.h"

/* Ethernet, the longest IPv4 header and TCP's fixed part; pods send no tags. */
#define HEADERS_BYTES_MAX (sizeof(struct ethhdr) + 60 + sizeof(struct tcphdr))

/* The family of a packet with ports, 0 for any other. */
static __always_inline int parse_skb(struct __sk_buff *skb, struct packet *packet)
{
	__u32 wanted = skb->len < HEADERS_BYTES_MAX ? skb->len : HEADERS_BYTES_MAX;
	void *data, *data_end;
	__be16 protocol;

	/* Headers may lie in the skb's pages; what was written by a socket has them in front. */
	if (skb->data_end - skb->data < wanted && bpf_skb_pull_data(skb, wanted))
		return 0;
	data = (void *)(long)skb->data;
	data_end = (void *)(long)skb->data_end;
	protocol = parse_ethernet(data, data_end, packet);
	if (protocol == bpf_htons(ETH_P_IP))
		return parse_ipv4(data, data_end, packet) == PARSED_PORTS ? IPV4 : 0;
	if (protocol == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(data, data_end, packet) == PARSED_PORTS ? IPV6 : 0;
	return 0;
}

static __always_inline __u32 check_offset(const struct packet *packet)
{
	__u32 offset = packet->tuple.protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check)
							     : offsetof(struct udphdr, check);

	return packet->l4_offset + offset;
}

/* A UDP checksum of zero stays zero: it was never computed. */
static __always_inline __u64 check_flags(const struct packet *packet)
{
	return packet->tuple.protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
}

static __always_inline bool write_source_ipv4(struct __sk_buff *skb, const struct packet *packet,
					      const struct address *address)
{
	__be32 before = address_to_ipv4(&packet->tuple.source);
	__be32 after = address_to_ipv4(address);

	return !bpf_l3_csum_replace(skb, packet->l3_offset + offsetof(struct iphdr, check), before,
				    after, sizeof(after)) &&
	       !bpf_l4_csum_replace(skb, check_offset(packet), before, after,
				    check_flags(packet) | BPF_F_PSEUDO_HDR | sizeof(after)) &&
	       !bpf_skb_store_bytes(skb, packet->l3_offset + offsetof(struct iphdr, saddr), &after,
				    sizeof(after), 0);
}

static __always_inline bool write_source_ipv6(struct __sk_buff *skb, const struct packet *packet,
					      const struct address *address)
{
	struct address before = packet->tuple.source;
	struct address after = *address;
	__s64 difference =
	    bpf_csum_diff((__be32 *)&before, sizeof(before), (__be32 *)&after, sizeof(after), 0);

	return difference >= 0 &&
	       !bpf_l4_csum_replace(skb, check_offset(packet), 0, difference,
				    check_flags(packet) | BPF_F_PSEUDO_HDR) &&
	       !bpf_skb_store_bytes(skb, packet->l3_offset + offsetof(struct ipv6hdr, saddr),
				    &after, sizeof(after), 0);
}

static __always_inline bool write_source(struct __sk_buff *skb, const struct packet *packet,
					 const struct frontend_address *frontend, const int family)
{
	__be16 port = frontend->port;
	bool is_written = family == IPV4 ? write_source_ipv4(skb, packet, &frontend->address)
					 : write_source_ipv6(skb, packet, &frontend->address);

	return is_written &&
	       !bpf_l4_csum_replace(skb, check_offset(packet), packet->tuple.source_port, port,
				    check_flags(packet) | sizeof(port)) &&
	       !bpf_skb_store_bytes(skb, packet->l4_offset + offsetof(struct udphdr, source), &port,
				    sizeof(port), 0);
}

/* What routing would do: a packet on its last hop is left to the stack, which reports it. */
static __always_inline bool take_hop(struct __sk_buff *skb, const struct packet *packet,
				     const int family)
{
	__u32 offset = packet->l3_offset + (family == IPV4 ? offsetof(struct iphdr, ttl)
							   : offsetof(struct ipv6hdr, hop_limit));
	__u8 after = packet->ttl - 1;

	if (family == IPV4 &&
	    bpf_l3_csum_replace(skb, packet->l3_offset + offsetof(struct iphdr, check),
				bpf_htons(packet->ttl << 8), bpf_htons(after << 8), sizeof(__u16)))
		return false;
	return !bpf_skb_store_bytes(skb, offset, &after, sizeof(after), 0);
}

static __always_inline bool choose_way(struct nexthop_member *way, const struct packet *packet,
				       __u8 flags, const int family)
{
	const __u32 row = family == IPV4 ? NEXTHOP_UPLINKS_IPV4 : NEXTHOP_UPLINKS_IPV6;
	const struct nexthop_member *member;
	const struct endpoint *endpoint;
	const struct nexthop *uplinks;

	if (flags & FLOW_CLIENT_IS_LOCAL) {
		endpoint = endpoint_find(&packet->tuple.destination);
		if (!endpoint)
			return false;
		way->ifindex = endpoint->ifindex;
		way->destination = endpoint->pod;
		way->source = endpoint->host;
		return true;
	}
	uplinks = nexthop_find(row);
	if (!uplinks)
		return false;
	member = nexthop_choose_member(uplinks, path_hash(tuple_hash(&packet->tuple, family)));
	if (!member)
		return false;
	*way = *member;
	return true;
}

/* Translated but not sent: the stack routes it. */
static __always_inline int leave_to_stack(const struct packet *packet)
{
	count_packet(packet, REASON_PASSED_TO_STACK);
	return TC_ACT_OK;
}

static __always_inline int drop_reply(const struct packet *packet)
{
	packet_drop(packet, REASON_MALFORMED);
	return TC_ACT_SHOT;
}

static __always_inline int reply(struct __sk_buff *skb, const struct packet *packet,
				 const int family)
{
	const struct frontend_address *frontend;
	struct nexthop_member way = {};
	struct flow_id id = {};
	struct flow_hit hit;

	flow_identify(&id, &packet->tuple, family);
	if (!flow_find(&id, &hit) || hit.kind != FLOW_REPLY)
		return TC_ACT_OK;
	frontend = bpf_map_lookup_elem(&frontend_addresses, &hit.index);
	if (!frontend || frontend->protocol != packet->tuple.protocol)
		return TC_ACT_OK;
	follow_reply(packet, &hit, frontend, family);
	if (!write_source(skb, packet, frontend, family))
		return drop_reply(packet);
	if (packet->ttl <= 1 || !choose_way(&way, packet, hit.flags, family))
		return leave_to_stack(packet);
	/* The two addresses alone: the protocol behind them stays. */
	if (!take_hop(skb, packet, family) ||
	    bpf_skb_store_bytes(skb, 0, &way.destination, 2 * ETH_ALEN, 0))
		return drop_reply(packet);
	count_packet(packet, REASON_REPLY);
	return bpf_redirect(way.ifindex, 0);
}

_Static_assert(offsetof(struct nexthop_member, source) ==
		   offsetof(struct nexthop_member, destination) + ETH_ALEN,
	       "the two MAC addresses are written as one piece");

#endif
