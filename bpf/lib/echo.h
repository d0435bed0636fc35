/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * XDP: a Service's external address answers ping, as a host would (RFC 792, RFC 4443 4.2), from any
 * node and whatever its endpoints. No node holds the address, so the stack could only route the
 * packet out again.
 */
#ifndef WEIR_LIB_ECHO_H
#define WEIR_LIB_ECHO_H

#include "lib/refuse.h"

#define ICMP_TYPE_ECHO_REQUEST(family) ((family) == IPV4 ? 8 : 128)
#define ICMP_TYPE_ECHO_REPLY(family)   ((family) == IPV4 ? 0 : 129)

static __always_inline void echo_answer_ipv4(struct iphdr *ip)
{
	__be32 source = ip->saddr;
	__u32 before = bpf_htons(ip->ttl << 8);

	ip->saddr = ip->daddr;
	ip->daddr = source;
	ip->ttl = ANSWER_TTL;
	ip->check = csum_apply(ip->check, csum_replace_word(0, before, bpf_htons(ANSWER_TTL << 8)));
}

static __always_inline void echo_answer_ipv6(struct ipv6hdr *ip, const struct packet *packet)
{
	address_to_ipv6(&ip->saddr, &packet->tuple.destination);
	address_to_ipv6(&ip->daddr, &packet->tuple.source);
	ip->hop_limit = ANSWER_TTL;
}

/*
 * Turns an echo request into its reply where it lies: the payload, and so all of the frame behind
 * the ICMP header, stays. Swapped addresses leave the checksums as they are. False: it is no echo
 * request, and nothing was written.
 */
static __always_inline bool answer_echo(ctx_t *ctx, const struct packet *packet, const int family)
{
	void *data = ctx_data(ctx);
	void *data_end = ctx_data_end(ctx);
	struct icmp_header *icmp = packet_l4(data, packet);
	void *ip = packet_l3(data, packet);
	__u32 before, after;

	if ((void *)(icmp + 1) > data_end || ip + IP_HEADER_BYTES(family) > data_end ||
	    data + sizeof(struct ethhdr) > data_end)
		return false;
	if (icmp->type != ICMP_TYPE_ECHO_REQUEST(family) || icmp->code != 0)
		return false;
	before = bpf_htons(ICMP_TYPE_ECHO_REQUEST(family) << 8);
	after = bpf_htons(ICMP_TYPE_ECHO_REPLY(family) << 8);
	icmp->type = ICMP_TYPE_ECHO_REPLY(family);
	icmp->check = csum_apply(icmp->check, csum_replace_word(0, before, after));
	ethernet_swap(data);
	if (family == IPV4)
		echo_answer_ipv4(ip);
	else
		echo_answer_ipv6(ip, packet);
	return true;
}

#endif
