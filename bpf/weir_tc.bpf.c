/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Pod devices at tc ingress (host side): what a pod sends; where policy is enforced also at tc
 * egress: what it gets. Replies to a Service's clients get the
 * frontend's address back and leave by redirection, past the host stack, which never saw the
 * client's packets and would call the answers invalid (lib/reply.h). What goes to a Service and was
 * not translated at the socket is balanced here (lib/from_pod.h). Where policy is enforced, what
 * pods send and get at their devices is judged (lib/pod_end.h), and what they send to the node
 * itself a second time, as the node's (lib/host_end.h).
 */
#define WEIR_SKB
#define WEIR_POD_DEVICE 1
#include "maps.h"
#include "lib/fragment.h"
#include "lib/from_pod.h"
#include "lib/host_end.h"
#include "lib/icmp_reply.h"
#include "lib/parse_skb.h"
#include "lib/pod_end.h"
#include "lib/reply.h"

const volatile struct node_config node_config = {};
const volatile __u8 uses_frontend_filter = 0;

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

static __always_inline int translate_pods_packet(ctx_t *ctx, struct packet *packet,
						 const int family)
{
	int verdict = family == IPV4 ? reply_ipv4(ctx, packet) : reply_ipv6(ctx, packet);

	return verdict == NOT_A_REPLY ? judge_from_pod_family(ctx, packet, family) : verdict;
}

static __always_inline int police_end_family(ctx_t *ctx, struct packet *packet,
					     enum policy_direction way, const int family)
{
	return family == IPV4 ? police_end_ipv4(ctx, packet, way)
			      : police_end_ipv6(ctx, packet, way);
}

static __always_inline bool police_new_family(ctx_t *ctx, struct packet *packet,
					      enum policy_direction way, bool is_from_host,
					      const int family)
{
	return family == IPV4 ? police_new_ipv4(ctx, packet, way, is_from_host)
			      : police_new_ipv6(ctx, packet, way, is_from_host);
}

/* Policy first, for what it knows goes its way at once; and last, for what nobody translated. What
 * has no entry is nobody's answer. */
static __always_inline int police_pods_packet(ctx_t *ctx, struct packet *packet, const int family)
{
	enum policed policed = police_end_family(ctx, packet, POLICY_EGRESS, family);
	int verdict;

	if (policed == POLICED_DROPPED)
		return VERDICT_DROP;
	if (policed == POLICED_OWN)
		return VERDICT_PASS;
	verdict = policed == POLICED_ON ? translate_pods_packet(ctx, packet, family)
					: judge_from_pod_family(ctx, packet, family);
	if (verdict != VERDICT_PASS || policed == POLICED_ON || packet->is_judged)
		return verdict;
	packet->is_unknown = true;
	return police_new_family(ctx, packet, POLICY_EGRESS, false, family) ? VERDICT_PASS
									    : VERDICT_DROP;
}

/* What the node began itself is answered, whatever its policies say. */
static __always_inline int police_pod_to_host(ctx_t *ctx, struct packet *packet, const int family)
{
	int verdict = police_pods_packet(ctx, packet, family);

	if (verdict != VERDICT_PASS || packet->is_answer || packet->leaves || !host_set())
		return verdict;
	if (host_admits_family(ctx, packet, packet->is_unknown ? PASSAGE_FROM_POD : PASSAGE_GOES_ON,
			       family))
		return VERDICT_PASS;
	if (packet->is_unknown)
		(void)(family == IPV4 ? police_forget_ipv4(ctx, packet)
				      : police_forget_ipv6(ctx, packet));
	return VERDICT_DROP;
}

static __always_inline int judge_pods_packet(ctx_t *ctx, struct packet *packet, const int family)
{
	return node_config.enforces_policy ? police_pod_to_host(ctx, packet, family)
					   : translate_pods_packet(ctx, packet, family);
}

SEC("tc")
int weir_pod_tc(ctx_t *ctx)
{
	struct packet packet = {.ifindex = ctx->ingress_ifindex};

	/* Another network's, on the same wire: the tag would leave with what is redirected. But a
	 * stack takes what is tagged with priority alone for untagged, and nobody judged it. */
	if (ctx->vlan_present)
		return node_config.enforces_policy ? VERDICT_DROP : VERDICT_PASS;
	switch (parse_skb(ctx, &packet)) {
	case IPV4:
		return judge_pods_packet(ctx, &packet, IPV4);
	case IPV6:
		return judge_pods_packet(ctx, &packet, IPV6);
	default:
		return node_config.enforces_policy && is_unread(ctx) ? VERDICT_DROP : VERDICT_PASS;
	}
}

/* What the stack, or another device's program, delivers to a pod. Nobody of this node is kept from
 * its pods: what it says itself has come in by no device. */
static __always_inline int police_delivered(ctx_t *ctx, struct packet *packet, const int family)
{
	switch (police_end_family(ctx, packet, POLICY_INGRESS, family)) {
	case POLICED_DROPPED:
		return VERDICT_DROP;
	case POLICED_UNJUDGED:
		return police_new_family(ctx, packet, POLICY_INGRESS, !ctx->ingress_ifindex, family)
			   ? TC_ACT_UNSPEC
			   : VERDICT_DROP;
	default:
		return TC_ACT_UNSPEC;
	}
}

SEC("tc")
int weir_pod_egress_tc(ctx_t *ctx)
{
	struct packet packet = {.ifindex = ctx->ifindex};

	if (!node_config.enforces_policy)
		return TC_ACT_UNSPEC;
	if (ctx->vlan_present)
		return VERDICT_DROP;
	switch (parse_skb(ctx, &packet)) {
	case IPV4:
		return police_delivered(ctx, &packet, IPV4);
	case IPV6:
		return police_delivered(ctx, &packet, IPV6);
	default:
		return is_unread(ctx) ? VERDICT_DROP : TC_ACT_UNSPEC;
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
