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

static __always_inline bool write_address_ipv4(ctx_t *ctx, const struct packet *packet,
					       const struct address *from, const struct address *to,
					       __u32 field)
{
	__be32 before = address_to_ipv4(from);
	__be32 after = address_to_ipv4(to);

	return !bpf_l3_csum_replace(ctx, packet->l3_offset + offsetof(struct iphdr, check), before,
				    after, sizeof(after)) &&
	       !bpf_l4_csum_replace(ctx, check_offset(packet), before, after,
				    check_flags(packet) | BPF_F_PSEUDO_HDR | sizeof(after)) &&
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
	       !bpf_l4_csum_replace(ctx, check_offset(packet), 0, difference,
				    check_flags(packet) | BPF_F_PSEUDO_HDR) &&
	       !bpf_skb_store_bytes(ctx, packet->l3_offset + field, &after, sizeof(after), 0);
}

static __always_inline bool write_port(ctx_t *ctx, const struct packet *packet, __be16 before,
				       __be16 after, __u32 field)
{
	return !bpf_l4_csum_replace(ctx, check_offset(packet), before, after,
				    check_flags(packet) | sizeof(after)) &&
	       !bpf_skb_store_bytes(ctx, packet->l4_offset + field, &after, sizeof(after), 0);
}

static __always_inline bool write_source(ctx_t *ctx, const struct packet *packet,
					 const struct rewrite *to, const int family)
{
	bool is_written = family == IPV4
			      ? write_address_ipv4(ctx, packet, &packet->tuple.source, &to->source,
						   offsetof(struct iphdr, saddr))
			      : write_address_ipv6(ctx, packet, &packet->tuple.source, &to->source,
						   offsetof(struct ipv6hdr, saddr));

	return is_written && write_port(ctx, packet, packet->tuple.source_port, to->source_port,
					offsetof(struct udphdr, source));
}

static __always_inline bool write_destination(ctx_t *ctx, const struct packet *packet,
					      const struct rewrite *to, const int family)
{
	bool is_written =
	    family == IPV4 ? write_address_ipv4(ctx, packet, &packet->tuple.destination,
						&to->destination, offsetof(struct iphdr, daddr))
			   : write_address_ipv6(ctx, packet, &packet->tuple.destination,
						&to->destination, offsetof(struct ipv6hdr, daddr));

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
