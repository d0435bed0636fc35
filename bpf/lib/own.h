/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which addresses are the node's own: those whose packets the kernel's routing table delivers here.
 * So nobody need tell the programs, and an address counts from the moment the kernel has it.
 */
#ifndef WEIR_LIB_OWN_H
#define WEIR_LIB_OWN_H

#include "lib/ctx.h"

/* linux/socket.h is not for programs. */
#define FAMILY_IPV4 2
#define FAMILY_IPV6 10

static __always_inline bool is_delivered_here(ctx_t *ctx, struct bpf_fib_lookup *way)
{
	long found;

	way->ifindex = ctx->ifindex;
	found = bpf_fib_lookup(ctx, way, sizeof(*way), 0);
	return found == BPF_FIB_LKUP_RET_NOT_FWDED || found == BPF_FIB_LKUP_RET_FWD_DISABLED;
}

/* Whether the kernel would deliver here what goes to the packet's destination, or its source. */
GLOBAL_FUNCTION int is_own_ipv4(ctx_t *ctx, const struct packet *packet, __u32 asks_for_source)
{
	struct bpf_fib_lookup way = {.family = FAMILY_IPV4};

	if (!packet)
		return false;
	way.ipv4_dst =
	    address_to_ipv4(asks_for_source ? &packet->tuple.source : &packet->tuple.destination);
	/* Multicast and the link's broadcast are in no table. */
	if ((way.ipv4_dst & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || !~way.ipv4_dst)
		return true;
	return is_delivered_here(ctx, &way);
}

GLOBAL_FUNCTION int is_own_ipv6(ctx_t *ctx, const struct packet *packet, __u32 asks_for_source)
{
	struct bpf_fib_lookup way = {.family = FAMILY_IPV6};
	const struct address *address;

	if (!packet)
		return false;
	address = asks_for_source ? &packet->tuple.source : &packet->tuple.destination;
	if (address->bytes[0] == 0xff)
		return true;
	__builtin_memcpy(way.ipv6_dst, address, sizeof(way.ipv6_dst));
	return is_delivered_here(ctx, &way);
}

static __always_inline bool is_own(ctx_t *ctx, const struct packet *packet, bool asks_for_source,
				   const int family)
{
	return family == IPV4 ? is_own_ipv4(ctx, packet, asks_for_source)
			      : is_own_ipv6(ctx, packet, asks_for_source);
}

#endif
