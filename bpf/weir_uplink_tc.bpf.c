/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Uplinks at tc. Ingress: what weir_uplink_xdp does, where XDP cannot be attached or was not
 * wanted. Egress: answers that leave through the host's stack get their frontend's address back.
 * Programs of others come after ours: what we leave alone goes on to them.
 */
#define WEIR_SKB
#include "maps.h"
#include "lib/egress.h"
#include "lib/parse_skb.h"
#include "lib/uplink.h"

const volatile struct node_config node_config = {};
const volatile __u8 uses_frontend_filter = 0;

static __always_inline int leave_to_others(int verdict)
{
	return verdict == VERDICT_PASS ? TC_ACT_UNSPEC : verdict;
}

SEC("tc")
int weir_uplink_ingress(ctx_t *ctx)
{
	ctx_read_ahead(ctx, TUNNELLED_HEADERS_BYTES_MAX);
	return leave_to_others(receive_from_uplink(ctx));
}

SEC("tc")
int weir_uplink_egress(ctx_t *ctx)
{
	return leave_to_others(reverse_at_egress(ctx));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
