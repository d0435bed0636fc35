/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Pod devices at tc ingress (host side): what a pod sends. Replies to a Service's clients get the
 * frontend's address back and leave by redirection, past the host stack, which never saw the
 * client's packets and would call the answers invalid. The work is in lib/reply.h.
 */
#define WEIR_SKB
#include "maps.h"
#include "lib/fragment.h"
#include "lib/icmp_reply.h"
#include "lib/parse_skb.h"
#include "lib/reply.h"

const volatile struct node_config node_config = {};

static __always_inline int reply_parsed(ctx_t *ctx, struct packet *packet, const int family)
{
	enum parsed parsed = packet->parsed;

	if (parsed == PARSED_FRAGMENT)
		parsed = fragment_resolve(ctx, packet);
	if (parsed == PARSED_PORTS)
		return reply(ctx, packet, family);
	return parsed == PARSED_ICMP ? reply_error(ctx, packet, family) : VERDICT_PASS;
}

GLOBAL_FUNCTION int reply_ipv4(ctx_t *ctx, struct packet *packet)
{
	return packet ? reply_parsed(ctx, packet, IPV4) : VERDICT_PASS;
}

GLOBAL_FUNCTION int reply_ipv6(ctx_t *ctx, struct packet *packet)
{
	return packet ? reply_parsed(ctx, packet, IPV6) : VERDICT_PASS;
}

SEC("tc")
int weir_pod_tc(ctx_t *ctx)
{
	struct packet packet = {.ifindex = ctx->ingress_ifindex};

	switch (parse_skb(ctx, &packet)) {
	case IPV4:
		return reply_ipv4(ctx, &packet);
	case IPV6:
		return reply_ipv6(ctx, &packet);
	default:
		return VERDICT_PASS;
	}
}

/* For user space, which reads and sweeps the flow table and must call now what the programs call
 * now. */
SEC("syscall")
int weir_flow_clock(void *ctx)
{
	(void)ctx;
	return flow_now();
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
