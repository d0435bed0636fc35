/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Translation: what a packet's addresses and ports become, with its hops and checksums. One
 * implementation for each carrier: by direct access in XDP, by the helpers that know about
 * unfinished checksums in socket buffers.
 */
#ifndef WEIR_LIB_REWRITE_H
#define WEIR_LIB_REWRITE_H

#include "lib/ctx.h"
#include "lib/scratch.h"

/* Which end of the packet: a compile-time parameter. */
#define REWRITE_SOURCE	    1
#define REWRITE_DESTINATION 2

/* An end that the caller does not name is not read. Addresses are left where they are until they
 * are written: copies would fill the stack. */
struct rewrite {
	const struct address *source;
	const struct address *destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 hops; /* what to take off the TTL; 0 when the host's own routing will do it */
};

#ifdef WEIR_SKB
#include "lib/rewrite_skb.h"
#else
#include "lib/rewrite_xdp.h"
#endif

/* The same to ends that were written down. */
static __always_inline bool rewrite_ends(ctx_t *ctx, const struct packet *packet,
					 const struct ends *to, __u32 hops, const int ends,
					 const int family)
{
	const struct rewrite rewrite = {
	    .source = &to->source,
	    .destination = &to->destination,
	    .source_port = to->source_port,
	    .destination_port = to->destination_port,
	    .hops = hops,
	};

	return rewrite_packet(ctx, packet, &rewrite, ends, family);
}

#endif
