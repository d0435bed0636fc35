/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Uplinks at tc. Ingress: what weir_uplink_xdp does, where XDP cannot be attached or was not
 * wanted. Egress: answers that leave through the host's stack get their frontend's address back.
 * Where policy selects the node, what is the node's own is judged (lib/host_end.h): what passes to
 * the stack, translated already, and what the stack sends, not yet. Programs of others come after
 * ours: what we leave alone goes on to them.
 */
#define WEIR_SKB
#include "maps.h"
#include "lib/egress.h"
#include "lib/host_end.h"
#include "lib/parse_skb.h"
#include "lib/uplink.h"

const volatile struct node_config node_config = {};
const volatile __u8 uses_frontend_filter = 0;

static __always_inline int leave_to_others(int verdict)
{
	return verdict == VERDICT_PASS ? TC_ACT_UNSPEC : verdict;
}

static __always_inline int let_in(ctx_t *ctx)
{
	return host_lets(ctx, PASSAGE_IN) ? TC_ACT_UNSPEC : VERDICT_DROP;
}

SEC("tc")
int weir_uplink_ingress(ctx_t *ctx)
{
	int verdict;

	ctx_read_ahead(ctx, TUNNELLED_HEADERS_BYTES_MAX);
	verdict = receive_from_uplink(ctx);
	return verdict == VERDICT_PASS ? let_in(ctx) : verdict;
}

/* Behind XDP, which has done the rest. */
SEC("tc")
int weir_host_ingress(ctx_t *ctx)
{
	return let_in(ctx);
}

SEC("tc")
int weir_uplink_egress(ctx_t *ctx)
{
	if (ctx_was_sent_by_us(ctx))
		return TC_ACT_UNSPEC;
	if (!host_lets(ctx, ctx->ingress_ifindex ? PASSAGE_FORWARDED : PASSAGE_OUT))
		return VERDICT_DROP;
	return leave_to_others(reverse_at_egress(ctx));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
