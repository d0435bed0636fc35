/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Uplink ingress at the earliest hook: Services reached from outside, and the tunnels between
 * nodes. Unknown traffic passes to the kernel untouched. The work is in lib/uplink.h.
 */
#include "maps.h"
#include "lib/uplink.h"

const volatile struct node_config node_config = {};
const volatile __u8 uses_frontend_filter = 0;

SEC("xdp.frags")
int weir_uplink_xdp(ctx_t *ctx)
{
	return receive_from_uplink(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
