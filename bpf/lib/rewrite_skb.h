/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Rewrites a socket buffer. Checksums go through the helpers: they know about CHECKSUM_PARTIAL,
 * where the field holds the pseudo-header's sum alone and the device or the segmentation adds the
 * rest.
 */
#ifndef WEIR_LIB_REWRITE_SKB_H
#define WEIR_LIB_REWRITE_SKB_H

#include <stddef.h>
#include "lib/csum.h"
#include "lib/parse.h"

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

/* Neither SCTP's checksum nor a later fragment knows of addresses. */
static __always_inline bool is_covered(const struct packet *packet)
{
	return packet->tuple.protocol != IPPROTO_SCTP && packet->fragment != FRAGMENT_LATER;
}

static __always_inline bool write_address_ipv4(ctx_t *ctx, const struct packet *packet,
					       const struct address *from, const struct address *to,
					       __u32 field)
{
	__be32 before = address_to_ipv4(from);
	__be32 after = address_to_ipv4(to);

	return !bpf_l3_csum_replace(ctx, packet->l3_offset + offsetof(struct iphdr, check), before,
				    after, sizeof(after)) &&
	       (!is_covered(packet) ||
		!bpf_l4_csum_replace(ctx, check_offset(packet), before, after,
				     check_flags(packet) | BPF_F_PSEUDO_HDR | sizeof(after))) &&
	       !bpf_skb_store_bytes(ctx, packet->l3_offset + field, &after, sizeof(after), 0);
}

static __always_inline bool write_address_ipv6(ctx_t *ctx, const struct packet *packet,
					       const struct address *from, const struct address *to,
					       __u32 field)
{
	struct address before = *from;
	struct address after = *to;
	__s64 difference =
	    bpf_csum_diff((__be32 *)&before, sizeof(before), (__be32 *)&after, sizeof(after), 0);

	return difference >= 0 &&
	       (!is_covered(packet) ||
		!bpf_l4_csum_replace(ctx, check_offset(packet), 0, difference,
				     check_flags(packet) | BPF_F_PSEUDO_HDR)) &&
	       !bpf_skb_store_bytes(ctx, packet->l3_offset + field, &after, sizeof(after), 0);
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
	return !bpf_skb_store_bytes(ctx, packet->l4_offset, &ports, sizeof(ports), 0) &&
	       !bpf_skb_store_bytes(ctx, check_at, &check, sizeof(check), 0);
}

static __always_inline bool write_port(ctx_t *ctx, const struct packet *packet, __be16 before,
				       __be16 after, __u32 field)
{
	if (packet->fragment == FRAGMENT_LATER)
		return true;
	if (packet->tuple.protocol == IPPROTO_SCTP)
		return write_sctp_port(ctx, packet, after, field);
	return !bpf_l4_csum_replace(ctx, check_offset(packet), before, after,
				    check_flags(packet) | sizeof(after)) &&
	       !bpf_skb_store_bytes(ctx, packet->l4_offset + field, &after, sizeof(after), 0);
}

static __always_inline bool write_source(ctx_t *ctx, const struct packet *packet,
					 const struct rewrite *to, const int family)
{
	bool is_written = family == IPV4
			      ? write_address_ipv4(ctx, packet, &packet->tuple.source, to->source,
						   offsetof(struct iphdr, saddr))
			      : write_address_ipv6(ctx, packet, &packet->tuple.source, to->source,
						   offsetof(struct ipv6hdr, saddr));

	return is_written && write_port(ctx, packet, packet->tuple.source_port, to->source_port,
					offsetof(struct udphdr, source));
}

static __always_inline bool write_destination(ctx_t *ctx, const struct packet *packet,
					      const struct rewrite *to, const int family)
{
	bool is_written =
	    family == IPV4 ? write_address_ipv4(ctx, packet, &packet->tuple.destination,
						to->destination, offsetof(struct iphdr, daddr))
			   : write_address_ipv6(ctx, packet, &packet->tuple.destination,
						to->destination, offsetof(struct ipv6hdr, daddr));

	return is_written && write_port(ctx, packet, packet->tuple.destination_port,
					to->destination_port, offsetof(struct udphdr, dest));
}

static __always_inline bool take_hops(ctx_t *ctx, const struct packet *packet, __u32 hops,
				      const int family)
{
	__u32 offset = packet->l3_offset + (family == IPV4 ? offsetof(struct iphdr, ttl)
							   : offsetof(struct ipv6hdr, hop_limit));
	__u8 after = packet->ttl - hops;

	if (family == IPV4 &&
	    bpf_l3_csum_replace(ctx, packet->l3_offset + offsetof(struct iphdr, check),
				bpf_htons(packet->ttl << 8), bpf_htons(after << 8), sizeof(__u16)))
		return false;
	return !bpf_skb_store_bytes(ctx, offset, &after, sizeof(after), 0);
}

/* False: the packet ends inside its headers; then it must be dropped. */
static __always_inline bool rewrite_packet(ctx_t *ctx, const struct packet *packet,
					   const struct rewrite *to, const int ends,
					   const int family)
{
	if (ends & REWRITE_SOURCE && !write_source(ctx, packet, to, family))
		return false;
	if (ends & REWRITE_DESTINATION && !write_destination(ctx, packet, to, family))
		return false;
	return !to->hops || take_hops(ctx, packet, to->hops, family);
}

#endif
