/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Rewrites a packet in XDP, checksums by the difference. */
#ifndef WEIR_LIB_REWRITE_XDP_H
#define WEIR_LIB_REWRITE_XDP_H

#include "lib/rewrite_ip.h"

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

/* False: the packet ends inside its headers; then it must be dropped. */
static __always_inline bool rewrite_packet(ctx_t *ctx, const struct packet *packet,
					   const struct rewrite *to, const int ends,
					   const int family)
{
	void *ip = ip_header(ctx, packet, family);
	__u64 difference;

	if (!ip)
		return false;
	difference = rewrite_ip(ip, to, ends, family);
	return packet->fragment == FRAGMENT_LATER ||
	       rewrite_ports(ctx, packet, to, difference, ends);
}

#endif
