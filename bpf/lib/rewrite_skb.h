/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Rewrites a socket buffer. The transport's checksum goes through the helper: it knows about
 * CHECKSUM_PARTIAL, where the field holds the pseudo-header's sum alone and the device or the
 * segmentation adds the rest, and about CHECKSUM_COMPLETE, the device's sum of all that came. All
 * else is written in place: a helper costs as much as a look-up, and there were seven.
 */
#ifndef WEIR_LIB_REWRITE_SKB_H
#define WEIR_LIB_REWRITE_SKB_H

#include <stddef.h>
#include "lib/rewrite_ip.h"

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

/* `field` is the port's place in the first word. */
static __always_inline bool write_sctp_port(ctx_t *ctx, const struct packet *packet, __be16 after,
					    __u32 field)
{
	__u32 check_at = packet->l4_offset + offsetof(struct sctp_header, check);
	union sctp_ports ports = {};
	__u32 check, before;

	if (bpf_skb_load_bytes(ctx, packet->l4_offset, &ports, sizeof(ports)) ||
	    bpf_skb_load_bytes(ctx, check_at, &check, sizeof(check)))
		return false;
	before = ports.word;
	if (field)
		ports.destination = after;
	else
		ports.source = after;
	if (before == ports.word)
		return true;
	if (check)
		check ^= sctp_check_difference(before ^ ports.word, packet_l4_bytes(packet));
	return !bpf_skb_store_bytes(ctx, packet->l4_offset, &ports, sizeof(ports),
				    BPF_F_RECOMPUTE_CSUM) &&
	       !bpf_skb_store_bytes(ctx, check_at, &check, sizeof(check), BPF_F_RECOMPUTE_CSUM);
}

static __always_inline bool rewrite_sctp(ctx_t *ctx, const struct packet *packet,
					 const struct rewrite *to, const int ends)
{
	if (ends & REWRITE_SOURCE &&
	    !write_sctp_port(ctx, packet, to->source_port, offsetof(struct udphdr, source)))
		return false;
	return !(ends & REWRITE_DESTINATION) ||
	       write_sctp_port(ctx, packet, to->destination_port, offsetof(struct udphdr, dest));
}

/*
 * `addresses` is what the IP header's change adds to the transport's checksum. It and what the
 * ports add are told apart: an unfinished checksum holds the sum of the pseudo-header alone.
 */
static __always_inline bool rewrite_ports(ctx_t *ctx, const struct packet *packet,
					  const struct rewrite *to, __u64 addresses, const int ends)
{
	struct udphdr *header = packet_l4((void *)(long)ctx->data, packet);
	__u64 ports = 0;

	if ((void *)header + offsetof(struct udphdr, len) > (void *)(long)ctx->data_end)
		return false;
	if (ends & REWRITE_SOURCE) {
		ports = csum_replace_word(ports, header->source, to->source_port);
		header->source = to->source_port;
	}
	if (ends & REWRITE_DESTINATION) {
		ports = csum_replace_word(ports, header->dest, to->destination_port);
		header->dest = to->destination_port;
	}
	return !bpf_l4_csum_replace(ctx, check_offset(packet), 0, csum_fold_word(addresses),
				    check_flags(packet) | BPF_F_PSEUDO_HDR) &&
	       !bpf_l4_csum_replace(ctx, check_offset(packet), 0, csum_fold_word(ports),
				    check_flags(packet));
}

/* False: the packet ends inside its headers; then it must be dropped. */
static __always_inline bool rewrite_packet(ctx_t *ctx, const struct packet *packet,
					   const struct rewrite *to, const int ends,
					   const int family)
{
	void *ip = ip_header(ctx, packet, family);
	__u64 addresses;

	if (!ip)
		return false;
	addresses = rewrite_ip(ip, to, ends, family);
	/* IPv4's header makes up for itself, and the helper takes off for the transport's checksum
	 * what it believes to be outside of the sum; IPv6's addresses are not. */
	if (family == IPV6)
		ctx_add_to_sum(ctx, csum_fold_word(ipv6_hops_difference(addresses, to->hops)));
	/* Neither a later fragment nor SCTP's checksum knows of addresses. */
	if (packet->fragment == FRAGMENT_LATER)
		return true;
	if (packet->tuple.protocol == IPPROTO_SCTP)
		return rewrite_sctp(ctx, packet, to, ends);
	return rewrite_ports(ctx, packet, to, addresses, ends);
}

#endif
