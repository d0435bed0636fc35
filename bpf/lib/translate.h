/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Rewrites the destination of a packet in XDP, checksums by the difference. */
#ifndef WEIR_LIB_TRANSLATE_H
#define WEIR_LIB_TRANSLATE_H

#include "lib/csum.h"
#include "lib/lb.h"
#include "lib/parse.h"

static __always_inline bool translate_ports(void *data, void *data_end, const struct packet *packet,
					    __be16 port, __u64 difference)
{
	struct tcphdr *tcp = packet_l4(data, packet);
	struct udphdr *udp = packet_l4(data, packet);

	difference = csum_replace_word(difference, packet->tuple.destination_port, port);
	if (packet->tuple.protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > data_end)
			return false;
		tcp->dest = port;
		tcp->check = csum_apply(tcp->check, difference);
		return true;
	}
	if ((void *)(udp + 1) > data_end)
		return false;
	udp->dest = port;
	/* Zero means "not computed" (RFC 768), so a computed zero is sent as ones. */
	if (udp->check)
		udp->check = csum_apply(udp->check, difference) ?: 0xffff;
	return true;
}

static __always_inline void translate_ipv4(struct iphdr *ip, __be32 destination, __u32 hops)
{
	__u64 difference = csum_replace_word(0, ip->daddr, destination);

	/* TTL is the upper byte of its 16-bit word on the wire. */
	difference = csum_replace_word(difference, bpf_htons(ip->ttl << 8),
				       bpf_htons((ip->ttl - hops) << 8));
	ip->ttl -= hops;
	ip->daddr = destination;
	ip->check = csum_apply(ip->check, difference);
}

/* `hops`: what to take off the TTL; 0 when the host's own routing will do it. */
static __always_inline bool translate_destination(struct xdp_md *ctx, const struct packet *packet,
						  const struct backend *backend, __u32 hops,
						  const int family)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__u64 difference = csum_replace_address(0, &packet->tuple.destination, &backend->address);
	struct ipv6hdr *ipv6 = packet_l3(data, packet);
	struct iphdr *ipv4 = packet_l3(data, packet);

	if (family == IPV4) {
		if ((void *)(ipv4 + 1) > data_end)
			return false;
		translate_ipv4(ipv4, address_to_ipv4(&backend->address), hops);
	} else {
		if ((void *)(ipv6 + 1) > data_end)
			return false;
		ipv6->hop_limit -= hops;
		address_to_ipv6(&ipv6->daddr, &backend->address);
	}
	return translate_ports(data, data_end, packet, backend->port, difference);
}

#endif
