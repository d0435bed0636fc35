/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Parsing, shared by XDP and tc: Ethernet, up to two VLAN tags, IPv4 with options, IPv6, TCP, UDP.
 * Takes data and data_end, returns what kind of packet it is, and fills struct packet.
 *
 * IPv6 extension headers are not walked: no client puts one before TCP or UDP on the way to a
 * Service, and a fragment is not balanced anyhow.
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

#define VLAN_TAGS_MAX 2

struct vlan_header {
	__be16 tag;
	__be16 protocol;
};

enum parsed {
	PARSED_PORTS,	 /* TCP or UDP, the tuple is complete */
	PARSED_FOREIGN,	 /* never ours: the kernel's business */
	PARSED_PORTLESS, /* has addresses but no ports: ours only by its destination */
	PARSED_ICMP,	 /* of the packet's own family */
	PARSED_FRAGMENT,
	PARSED_TRUNCATED, /* ends inside its TCP or UDP header */
};

#define IPV4_FRAGMENT_MASK 0x3fff /* more fragments, or an offset */
#define IPV4_DONT_FRAGMENT 0x4000
#define IPV6_VERSION	   6
#define NEXTHDR_FRAGMENT   44

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

	packet->tcp_flags = 0;
	if (packet->tuple.protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > data_end)
			return PARSED_TRUNCATED;
		packet->tcp_flags = ((__u8 *)tcp)[13];
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
	if (ip->frag_off & bpf_htons(IPV4_FRAGMENT_MASK))
		return PARSED_FRAGMENT;
	if (ip->protocol == IPPROTO_ICMP)
		return PARSED_ICMP;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return PARSED_PORTLESS;
	return parse_ports(data, data_end, packet);
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
	if (ip->nexthdr == IPPROTO_ICMPV6)
		return PARSED_ICMP;
	if (ip->nexthdr == NEXTHDR_FRAGMENT)
		return PARSED_FRAGMENT;
	if (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP)
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
