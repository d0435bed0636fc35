/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The packet's carrier under one set of names, so that everything behind the hook is written once:
 * XDP frames (the default) and socket buffers at tc (where an entry file defines WEIR_SKB before
 * its first include).
 *
 *   ctx_t, VERDICT_*                  the carrier, and what a program may say of it
 *   ctx_data(), ctx_data_end()        direct access; any function below that takes `ctx` and may
 * move the packet invalidates them ctx_bytes()                       length of the frame
 *   ctx_segment_bytes()               the longest IP packet that will be made of it
 *   ctx_read_ahead()                  makes so many bytes, or all there are, directly accessible
 *   ctx_ingress_ifindex()             where it came in
 *   ctx_redirect(), ctx_leave_by()    verdicts that send it on
 *   ctx_redirect_to_pod()             the same into a pod's device, by the shortest way it takes
 *   ctx_write_link()                  the frame's two MAC addresses
 *   ctx_strip_tags()                  takes VLAN tags off: Ethernet is followed by IP afterwards
 *   ctx_push_outer()                  room between Ethernet (without tags) and the IP header
 *   ctx_make_room()                   the same with the link layer kept as it is, tags included
 *   ctx_pop_outer()                   takes what lies between Ethernet and an inner IP header off
 *   ctx_add_to_sum()                  what the device's own sum of the packet does not know yet
 *   ctx_resize()                      cuts or grows the tail
 *   ctx_keep_head()                   the link layer and so many bytes of IP packet, to make
 * something else of: no segments, no unfinished checksum
 *
 * rewrite_packet() (lib/rewrite.h) is the other half: addresses, ports, hops and their checksums.
 */
#ifndef WEIR_LIB_CTX_H
#define WEIR_LIB_CTX_H

#ifdef WEIR_SKB
#include "lib/ctx_skb.h"
#else
#include "lib/ctx_xdp.h"
#endif

static __always_inline void *ctx_data(const ctx_t *ctx)
{
	return (void *)(long)ctx->data;
}

static __always_inline void *ctx_data_end(const ctx_t *ctx)
{
	return (void *)(long)ctx->data_end;
}

/* The two addresses alone: the protocol behind them stays. */
static __always_inline bool ctx_write_link(ctx_t *ctx, const struct nexthop_member *way)
{
	struct ethhdr *ethernet = (void *)(long)ctx->data;

	if ((void *)(ethernet + 1) > (void *)(long)ctx->data_end)
		return false;
	__builtin_memcpy(ethernet->h_dest, way->destination.bytes, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, way->source.bytes, ETH_ALEN);
	return true;
}

#endif
