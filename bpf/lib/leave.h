/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * XDP: the last step of a frame that this program sends out.
 *
 * Back through the device it came in by, XDP_TX is the shorter way. Not on a veth: its driver wakes
 * the other end for XDP_TX only if that end has an XDP program of its own, though it queues the
 * frame when NAPI alone is there (GRO on). The frame then waits until something else wakes the
 * other end, up to seconds. A redirect into the same device always wakes it.
 */
#ifndef WEIR_LIB_LEAVE_H
#define WEIR_LIB_LEAVE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "abi/config.h"

extern const volatile struct node_config node_config;

static __always_inline int leave_by(const struct xdp_md *ctx, __u32 ifindex)
{
	if (ifindex == ctx->ingress_ifindex && !node_config.redirects_only)
		return XDP_TX;
	return bpf_redirect(ifindex, 0);
}

#endif
