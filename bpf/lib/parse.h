/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Parsing, shared by XDP and tc: Ethernet, up to two VLAN tags, IPv4 with options, IPv6, TCP, UDP,
 * SCTP. Takes data and data_end, returns what kind of packet it is, and fills struct packet.
 *
 * Of IPv6 extension headers only the fragment header is read, directly behind the fixed one: no
 * client puts another before its transport on the way to a Service.
 */
#ifndef WEIR_LIB_PARSE_H
#define WEIR_LIB_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "lib/packet.h"
#include "lib/sctp.h"

#define VLAN_TAGS_MAX 2

struct vlan_header {
	__be16 tag;
	__be16 protocol;
};

enum parsed {
	PARSED_PORTS,	  /* TCP, UDP or SCTP, the tuple is complete */
	PARSED_FOREIGN,	  /* never ours: the kernel's business */
	PARSED_PORTLESS,  /* has addresses but no ports: ours only by its destination */
	PARSED_ICMP,	  /* of the packet's own family */
	PARSED_FRAGMENT,  /* its ports are to be found: lib/fragment.h */
	PARSED_TRUNCATED, /* ends inside its transport header */
};

#define IPV4_FRAGMENT_MASK 0x3fff /* more fragments, or an offset */
#define IPV4_OFFSET_MASK   0x1fff
#define IPV4_DONT_FRAGMENT 0x4000
#define IPV6_VERSION	   6
#define NEXTHDR_FRAGMENT   44

struct fragment_header {
	__u8 nexthdr;
	__u8 reserved;
	__be16 offset; /* 13 bits, then 2 reserved, then "more fragments" */
	__be32 identification;
};

#define IPV6_FRAGMENT_MASK 0xfff9 /* more fragments, or an offset */
#define IPV6_OFFSET_MASK   0xfff8

static __always_inline bool has_ports(__u32 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

/* Returns the protocol behind the link layer, 0 when there is none. */
static __always_inline __be16 parse_ethernet(void *data, void *data_end, struct packet *packet)
{
	struct ethhdr *ethernet = data;
	struct vlan_header *vlan = data + sizeof(*ethernet);
	__be16 protocol;

	if ((void *)(ethernet + 1) > data_end)
		return 0;
	protocol = ethernet->h_proto;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(vlan + 1) > data_end)
			return 0;
		protocol = vlan->protocol;
		vlan++;
	}
	packet->l3_offset = (void *)vlan - data;
	return protocol;
}

static __always_inline enum parsed parse_ports(void *data, void *data_end, struct packet *packet)
{
	void *l4 = packet_l4(data, packet);
	struct tcphdr *tcp = l4;
	struct udphdr *udp = l4;
	struct sctp_header *sctp = l4;

	packet->tcp_flags = 0;
	if (packet->tuple.protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > data_end)
			return PARSED_TRUNCATED;
		packet->tcp_flags = ((__u8 *)tcp)[13];
	} else if (packet->tuple.protocol == IPPROTO_SCTP) {
		if ((void *)sctp + SCTP_COMMON_BYTES > data_end)
			return PARSED_TRUNCATED;
		packet->tcp_flags = sctp_flags(sctp, data_end);
	} else if ((void *)(udp + 1) > data_end) {
		return PARSED_TRUNCATED;
	}
	packet->tuple.source_port = udp->source;
	packet->tuple.destination_port = udp->dest;
	return PARSED_PORTS;
}

static __always_inline enum parsed parse_ipv4(void *data, void *data_end, struct packet *packet)
{
	struct iphdr *ip = packet_l3(data, packet);

	if ((void *)(ip + 1) > data_end || ip->ihl < 5)
		return PARSED_FOREIGN;
	packet->l4_offset = packet->l3_offset + ip->ihl * 4;
	packet->ip_bytes = bpf_ntohs(ip->tot_len);
	packet->ttl = ip->ttl;
	packet->traffic_class = ip->tos;
	packet->tuple.protocol = ip->protocol;
	address_from_ipv4(&packet->tuple.source, ip->saddr);
	address_from_ipv4(&packet->tuple.destination, ip->daddr);
	packet->fragment = FRAGMENT_NONE;
	if (ip->frag_off & bpf_htons(IPV4_FRAGMENT_MASK)) {
		packet->fragment =
		    ip->frag_off & bpf_htons(IPV4_OFFSET_MASK) ? FRAGMENT_LATER : FRAGMENT_FIRST;
		packet->fragment_id = ip->id;
		return PARSED_FRAGMENT;
	}
	if (ip->protocol == IPPROTO_ICMP)
		return PARSED_ICMP;
	if (!has_ports(ip->protocol))
		return PARSED_PORTLESS;
	return parse_ports(data, data_end, packet);
}

/*
 * The transport behind the fragment header takes the place of the one behind the fixed header.
 * PARSED_PORTS: not a fragment after all (an "atomic" one, RFC 6946).
 */
static __always_inline enum parsed parse_fragment_header(void *data, void *data_end,
							 struct packet *packet)
{
	struct fragment_header *fragment = packet_l4(data, packet);

	if ((void *)(fragment + 1) > data_end)
		return PARSED_TRUNCATED;
	packet->tuple.protocol = fragment->nexthdr;
	packet->l4_offset += sizeof(*fragment);
	if (!(fragment->offset & bpf_htons(IPV6_FRAGMENT_MASK)))
		return PARSED_PORTS;
	packet->fragment_id = fragment->identification;
	packet->fragment =
	    fragment->offset & bpf_htons(IPV6_OFFSET_MASK) ? FRAGMENT_LATER : FRAGMENT_FIRST;
	return PARSED_FRAGMENT;
}

static __always_inline enum parsed parse_ipv6(void *data, void *data_end, struct packet *packet)
{
	struct ipv6hdr *ip = packet_l3(data, packet);

	if ((void *)(ip + 1) > data_end)
		return PARSED_FOREIGN;
	packet->l4_offset = packet->l3_offset + sizeof(*ip);
	packet->ip_bytes = bpf_ntohs(ip->payload_len) + sizeof(*ip);
	packet->ttl = ip->hop_limit;
	packet->traffic_class = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	packet->tuple.protocol = ip->nexthdr;
	address_from_ipv6(&packet->tuple.source, &ip->saddr);
	address_from_ipv6(&packet->tuple.destination, &ip->daddr);
	packet->fragment = FRAGMENT_NONE;
	if (ip->nexthdr == NEXTHDR_FRAGMENT) {
		enum parsed parsed = parse_fragment_header(data, data_end, packet);

		if (parsed != PARSED_PORTS)
			return parsed;
	}
	if (packet->tuple.protocol == IPPROTO_ICMPV6)
		return PARSED_ICMP;
	if (!has_ports(packet->tuple.protocol))
		return PARSED_PORTLESS;
	return parse_ports(data, data_end, packet);
}

static __always_inline enum parsed parse_ip(void *data, void *data_end, struct packet *packet,
					    const int family)
{
	if (family == IPV4)
		return parse_ipv4(data, data_end, packet);
	return parse_ipv6(data, data_end, packet);
}

#endif
