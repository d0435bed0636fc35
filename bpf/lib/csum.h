/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Internet checksums by the difference (RFC 1624, equation 3): HC' = ~(~HC + ~m + m'). Sums of
 * whole 32-bit words in memory order are folded at the end; one's complement does not care about
 * byte order. Inline arithmetic takes about 3 ns where bpf_csum_diff() takes 27.
 */
#ifndef WEIR_LIB_CSUM_H
#define WEIR_LIB_CSUM_H

#include "lib/address.h"

static __always_inline __u64 csum_replace_word(__u64 difference, __u32 before, __u32 after)
{
	return difference + (__u32)~before + after;
}

static __always_inline __u64 csum_replace_address(__u64 difference, const struct address *before,
						  const struct address *after)
{
	/* The constant words of two mapped IPv4 addresses cancel out. */
#pragma unroll
	for (int i = 0; i < ADDRESS_WORDS; i++)
		difference = csum_replace_word(difference, address_get_word(before, i),
					       address_get_word(after, i));
	return difference;
}

/* A hop limit is the lower byte of its 16-bit word on the wire. */
static __always_inline __u64 ipv6_hops_difference(__u64 difference, __u32 hops)
{
	return csum_replace_word(difference, bpf_htons(hops), 0);
}

/* As the helpers take a difference. */
static __always_inline __u32 csum_fold_word(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static __always_inline __sum16 csum_apply(__sum16 check, __u64 difference)
{
	return ~csum_fold((__u16)~check + difference);
}

static __always_inline __u64 csum_add_words(__u64 sum, const void *start, int words)
{
	const address_word *word = start;

	for (int i = 0; i < words; i++)
		sum += word[i];
	return sum;
}

static __always_inline __sum16 csum_finish(__u64 sum)
{
	return ~csum_fold(sum);
}

#endif
