/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Pod devices at tc ingress (host side): what a pod sends. Replies to a Service's clients get the
 * frontend's address back and leave by redirection, past the host stack, which never saw the
 * client's packets and would call the answers invalid (lib/reply.h). What goes to a Service and was
 * not translated at the socket is balanced here (lib/from_pod.h).
 */
#define WEIR_SKB
#include "maps.h"
#include "lib/fragment.h"
#include "lib/from_pod.h"
#include "lib/icmp_reply.h"
#include "lib/parse_skb.h"
#include "lib/reply.h"

const volatile struct node_config node_config = {};

static __always_inline int reply_parsed(ctx_t *ctx, struct packet *packet, const int family)
{
	if (packet->parsed == PARSED_FRAGMENT)
		packet->parsed = fragment_resolve(ctx, packet);
	if (packet->parsed == PARSED_PORTS)
		return reply(ctx, packet, family);
	return packet->parsed == PARSED_ICMP ? reply_error(ctx, packet, family) : NOT_A_REPLY;
}

GLOBAL_FUNCTION int reply_ipv4(ctx_t *ctx, struct packet *packet)
{
	return packet ? reply_parsed(ctx, packet, IPV4) : VERDICT_PASS;
}

GLOBAL_FUNCTION int reply_ipv6(ctx_t *ctx, struct packet *packet)
{
	return packet ? reply_parsed(ctx, packet, IPV6) : VERDICT_PASS;
}

static __always_inline int judge_pods_packet(ctx_t *ctx, struct packet *packet, const int family)
{
	int verdict = family == IPV4 ? reply_ipv4(ctx, packet) : reply_ipv6(ctx, packet);

	return verdict == NOT_A_REPLY ? judge_from_pod_family(ctx, packet, family) : verdict;
}

SEC("tc")
int weir_pod_tc(ctx_t *ctx)
{
	struct packet packet = {.ifindex = ctx->ingress_ifindex};

	/* Another network's, on the same wire: the tag would leave with what is redirected. */
	if (ctx->vlan_present)
		return VERDICT_PASS;
	switch (parse_skb(ctx, &packet)) {
	case IPV4:
		return judge_pods_packet(ctx, &packet, IPV4);
	case IPV6:
		return judge_pods_packet(ctx, &packet, IPV6);
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
