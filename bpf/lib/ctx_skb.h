/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Socket buffers at tc as lib/ctx.h has them. */
#ifndef WEIR_LIB_CTX_SKB_H
#define WEIR_LIB_CTX_SKB_H

#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "abi/nexthop.h"
#include "lib/packet.h"

typedef struct __sk_buff ctx_t;

#define VERDICT_PASS	TC_ACT_OK
#define VERDICT_DROP	TC_ACT_SHOT
#define VERDICT_ABORTED TC_ACT_SHOT

static __always_inline int ctx_redirect(__u32 ifindex)
{
	return bpf_redirect(ifindex, 0);
}

_Static_assert(offsetof(struct nexthop_member, source) ==
		   offsetof(struct nexthop_member, destination) + ETH_ALEN,
	       "the two MAC addresses are written as one piece");

/* The two addresses alone: the protocol behind them stays. */
static __always_inline bool ctx_write_link(ctx_t *ctx, const struct nexthop_member *way)
{
	return !bpf_skb_store_bytes(ctx, 0, &way->destination, 2 * ETH_ALEN, 0);
}

#endif
