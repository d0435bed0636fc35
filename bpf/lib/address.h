/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Addresses in one form for both families (IPv4 as ::ffff:a.b.c.d), so that the maps and all code
 * but parsing and rewriting need not ask which family a packet has.
 */
#ifndef WEIR_LIB_ADDRESS_H
#define WEIR_LIB_ADDRESS_H

#include <stdbool.h>
#include <linux/in6.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "abi/types.h"

/* Families, as compile-time parameters; every function that takes one is inlined and folds it. */
#define IPV4 4
#define IPV6 6

/* Addresses are copied and compared by words; may_alias because the ABI declares bytes. */
typedef __u32 __attribute__((may_alias)) address_word;

#define ADDRESS_WORDS 4

/*
 * Functions that the verifier checks once by themselves, whoever calls them; static ones it walks
 * again for every caller's state, and the programs would exceed its budget. The price: pointers to
 * them may be NULL in its eyes and lose what is known of them.
 */
#define GLOBAL_FUNCTION __noinline

static __always_inline __u32 address_get_word(const struct address *address, int index)
{
	return ((const address_word *)address)[index];
}

static __always_inline void address_set_words(struct address *address, __u32 word0, __u32 word1,
					      __u32 word2, __u32 word3)
{
	address_word *words = (address_word *)address;

	words[0] = word0;
	words[1] = word1;
	words[2] = word2;
	words[3] = word3;
}

static __always_inline void address_from_ipv4(struct address *address, __be32 ipv4)
{
	address_set_words(address, 0, 0, bpf_htonl(0xffff), ipv4);
}

static __always_inline void address_from_ipv6(struct address *address, const struct in6_addr *ipv6)
{
	const address_word *words = (const address_word *)ipv6;

	address_set_words(address, words[0], words[1], words[2], words[3]);
}

static __always_inline __be32 address_to_ipv4(const struct address *address)
{
	return address_get_word(address, 3);
}

static __always_inline void address_to_ipv6(struct in6_addr *ipv6, const struct address *address)
{
	address_word *words = (address_word *)ipv6;

	words[0] = address_get_word(address, 0);
	words[1] = address_get_word(address, 1);
	words[2] = address_get_word(address, 2);
	words[3] = address_get_word(address, 3);
}

static __always_inline bool address_is_equal(const struct address *one, const struct address *other)
{
	return address_get_word(one, 3) == address_get_word(other, 3) &&
	       address_get_word(one, 2) == address_get_word(other, 2) &&
	       address_get_word(one, 1) == address_get_word(other, 1) &&
	       address_get_word(one, 0) == address_get_word(other, 0);
}

static __always_inline bool address_is_none(const struct address *address)
{
	return !(address_get_word(address, 0) | address_get_word(address, 1) |
		 address_get_word(address, 2) | address_get_word(address, 3));
}

static __always_inline bool address_is_ipv4(const struct address *address)
{
	return !(address_get_word(address, 0) | address_get_word(address, 1)) &&
	       address_get_word(address, 2) == bpf_htonl(0xffff);
}

#endif
