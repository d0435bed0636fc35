/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Rewrites an IP header in place, for either carrier: nothing of it is ever left to a device. */
#ifndef WEIR_LIB_REWRITE_IP_H
#define WEIR_LIB_REWRITE_IP_H

#include "lib/csum.h"
#include "lib/parse.h"

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

/* NULL: the packet ends inside it. */
static __always_inline void *ip_header(ctx_t *ctx, const struct packet *packet, const int family)
{
	void *ip = packet_l3((void *)(long)ctx->data, packet);
	const __u32 bytes = family == IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	return ip + bytes > (void *)(long)ctx->data_end ? NULL : ip;
}

static __always_inline __u64 rewrite_ip(void *ip, const struct rewrite *to, const int ends,
					const int family)
{
	return family == IPV4 ? rewrite_ipv4(ip, to, ends) : rewrite_ipv6(ip, to, ends);
}

#endif
