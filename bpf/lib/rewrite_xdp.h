/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Rewrites a packet in XDP, checksums by the difference. */
#ifndef WEIR_LIB_REWRITE_XDP_H
#define WEIR_LIB_REWRITE_XDP_H

#include "lib/csum.h"
#include "lib/parse.h"

/* SCTP's checksum does not cover addresses. */
static __always_inline bool rewrite_sctp(const struct packet *packet, const struct rewrite *to,
					 struct sctp_header *sctp, void *data_end, const int ends)
{
	union sctp_ports before, after;

	if ((void *)sctp + SCTP_COMMON_BYTES > data_end)
		return false;
	before = after = sctp->ports;
	if (ends & REWRITE_SOURCE)
		after.source = to->source_port;
	if (ends & REWRITE_DESTINATION)
		after.destination = to->destination_port;
	if (before.word == after.word)
		return true;
	sctp->ports = after;
	if (sctp->check)
		sctp->check ^=
		    sctp_check_difference(before.word ^ after.word, packet_l4_bytes(packet));
	return true;
}

static __always_inline bool rewrite_ports(ctx_t *ctx, const struct packet *packet,
					  const struct rewrite *to, __u64 difference,
					  const int ends)
{
	void *l4 = packet_l4((void *)(long)ctx->data, packet);
	void *data_end = (void *)(long)ctx->data_end;
	struct tcphdr *tcp = l4;
	struct udphdr *udp = l4;

	if (packet->tuple.protocol == IPPROTO_SCTP)
		return rewrite_sctp(packet, to, l4, data_end, ends);
	if (ends & REWRITE_SOURCE)
		difference =
		    csum_replace_word(difference, packet->tuple.source_port, to->source_port);
	if (ends & REWRITE_DESTINATION)
		difference = csum_replace_word(difference, packet->tuple.destination_port,
					       to->destination_port);
	if (packet->tuple.protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > data_end)
			return false;
		tcp->check = csum_apply(tcp->check, difference);
	} else {
		if ((void *)(udp + 1) > data_end)
			return false;
		/* Zero means "not computed" (RFC 768), so a computed zero is sent as ones. */
		if (udp->check)
			udp->check = csum_apply(udp->check, difference) ?: 0xffff;
	}
	if (ends & REWRITE_SOURCE)
		udp->source = to->source_port;
	if (ends & REWRITE_DESTINATION)
		udp->dest = to->destination_port;
	return true;
}

static __always_inline __u64 replace_ipv4(__be32 *field, const struct address *after,
					  __u64 difference)
{
	__be32 before = *field;

	*field = address_to_ipv4(after);
	return csum_replace_word(difference, before, address_to_ipv4(after));
}

/* Word by word: left to itself the compiler sums them up at the end, and holds them on the stack
 * until then. */
static __always_inline __u64 replace_ipv6(struct in6_addr *field, const struct address *after,
					  __u64 difference)
{
	address_word *words = (address_word *)field;

#pragma unroll
	for (int i = 0; i < ADDRESS_WORDS; i++) {
		difference = csum_replace_word(difference, words[i], address_get_word(after, i));
		words[i] = address_get_word(after, i);
		OPAQUE(difference);
	}
	return difference;
}

/* What the addresses add to the transport's checksum, and in IPv4 to the header's too. */
static __always_inline __u64 rewrite_ipv4(struct iphdr *ip, const struct rewrite *to,
					  const int ends)
{
	__u64 difference = 0;
	__u64 hops;

	if (ends & REWRITE_SOURCE)
		difference = replace_ipv4(&ip->saddr, to->source, difference);
	if (ends & REWRITE_DESTINATION)
		difference = replace_ipv4(&ip->daddr, to->destination, difference);
	/* TTL is the upper byte of its 16-bit word on the wire. */
	hops = csum_replace_word(difference, bpf_htons(ip->ttl << 8),
				 bpf_htons((ip->ttl - to->hops) << 8));
	ip->ttl -= to->hops;
	ip->check = csum_apply(ip->check, hops);
	return difference;
}

static __always_inline __u64 rewrite_ipv6(struct ipv6hdr *ip, const struct rewrite *to,
					  const int ends)
{
	__u64 difference = 0;

	ip->hop_limit -= to->hops;
	if (ends & REWRITE_SOURCE)
		difference = replace_ipv6(&ip->saddr, to->source, difference);
	if (ends & REWRITE_DESTINATION)
		difference = replace_ipv6(&ip->daddr, to->destination, difference);
	return difference;
}

/* False: the packet ends inside its headers; then it must be dropped. */
static __always_inline bool rewrite_packet(ctx_t *ctx, const struct packet *packet,
					   const struct rewrite *to, const int ends,
					   const int family)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	void *ip = packet_l3(data, packet);
	__u64 difference;

	if (family == IPV4) {
		if (ip + sizeof(struct iphdr) > data_end)
			return false;
		difference = rewrite_ipv4(ip, to, ends);
	} else {
		if (ip + sizeof(struct ipv6hdr) > data_end)
			return false;
		difference = rewrite_ipv6(ip, to, ends);
	}
	return packet->fragment == FRAGMENT_LATER ||
	       rewrite_ports(ctx, packet, to, difference, ends);
}

#endif
