/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * XDP: a packet whose backend is known goes there. A pod of this node gets it translated, by
 * redirection where its device takes that, else through the host's routing; another node gets it
 * tunnelled. What does not fit is answered with the size that does.
 */
#ifndef WEIR_LIB_DELIVER_H
#define WEIR_LIB_DELIVER_H

#include "lib/encap.h"
#include "lib/leave.h"
#include "lib/nexthop.h"
#include "lib/refuse.h"
#include "lib/translate.h"
#include "lib/verdict.h"

static __always_inline int drop(const struct packet *packet, enum verdict_reason reason)
{
	packet_drop(packet, reason);
	return XDP_DROP;
}

static __always_inline int answer_too_big(struct xdp_md *ctx, const struct packet *packet,
					  __u32 mtu, const int family)
{
	packet_drop(packet, REASON_TOO_BIG);
	return answer_error(ctx, packet, ICMP_ERROR_TOO_BIG, mtu, family);
}

static __always_inline int answer_time_exceeded(struct xdp_md *ctx, const struct packet *packet,
						const int family)
{
	packet_drop(packet, REASON_TTL_EXCEEDED);
	return answer_error(ctx, packet, ICMP_ERROR_TIME_EXCEEDED, 0, family);
}

/* mtu 0: unknown, left to the device. */
static __always_inline bool is_too_big(const struct packet *packet, const struct nexthop *nexthop)
{
	return nexthop->mtu && packet->ip_bytes > nexthop->mtu;
}

static __always_inline int redirect_to_pod(struct xdp_md *ctx, const struct packet *packet,
					   const struct nexthop_member *member, const int family)
{
	int tags_bytes = (int)(packet->l3_offset & L3_OFFSET_MASK) - (int)sizeof(struct ethhdr);
	void *data, *data_end;

	/* A pod's device knows no tags. */
	if (tags_bytes > 0 && bpf_xdp_adjust_head(ctx, tags_bytes))
		return drop(packet, REASON_MALFORMED);
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	if (data + sizeof(struct ethhdr) > data_end)
		return drop(packet, REASON_MALFORMED);
	ethernet_write(data, member, family == IPV4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6));
	count_packet(packet, packet->is_tunnelled ? REASON_FROM_TUNNEL : REASON_TO_LOCAL);
	return bpf_redirect(member->ifindex, 0);
}

static __always_inline int deliver_local(struct xdp_md *ctx, const struct packet *packet,
					 const struct backend *backend, const int family)
{
	const struct nexthop *nexthop = nexthop_find(backend->nexthop_id);
	const struct nexthop_member *member = NULL;

	if (nexthop && nexthop->kind == NEXTHOP_KIND_DEVICE && nexthop->flags & NEXTHOP_REDIRECT)
		member = nexthop_choose_member(nexthop, 0);
	if (!member) {
		if (!translate_destination(ctx, packet, backend, 0, family))
			return drop(packet, REASON_MALFORMED);
		count_packet(packet, REASON_PASSED_TO_STACK);
		return XDP_PASS;
	}
	if (packet->ttl <= 1)
		return answer_time_exceeded(ctx, packet, family);
	if (is_too_big(packet, nexthop))
		return answer_too_big(ctx, packet, nexthop->mtu, family);
	if (!translate_destination(ctx, packet, backend, 1, family))
		return drop(packet, REASON_MALFORMED);
	return redirect_to_pod(ctx, packet, member, family);
}

static __always_inline int deliver_remote(struct xdp_md *ctx, const struct packet *packet,
					  const struct backend *backend, const int family)
{
	const struct nexthop *tunnel = nexthop_find(backend->nexthop_id);
	__u32 hash = path_hash(tuple_hash(&packet->tuple, family));
	const struct nexthop_member *member = NULL;
	const struct nexthop *group;
	bool is_done;

	if (!tunnel || tunnel->kind != NEXTHOP_KIND_TUNNEL)
		return drop(packet, REASON_NO_NEXTHOP);
	if (is_too_big(packet, tunnel))
		return answer_too_big(ctx, packet, tunnel->mtu, family);
	group = nexthop_find(tunnel->via);
	if (group)
		member = nexthop_choose_member(group, hash);
	if (!member)
		return drop(packet, REASON_NO_NEXTHOP);
	if (tunnel->flags & NEXTHOP_TUNNEL_IPV6)
		is_done = encapsulate(ctx, packet, backend, tunnel, member, hash, IPV6, family);
	else
		is_done = encapsulate(ctx, packet, backend, tunnel, member, hash, IPV4, family);
	if (!is_done)
		return drop(packet, REASON_TOO_BIG);
	count_packet(packet, REASON_TO_REMOTE);
	return leave_by(ctx, member->ifindex);
}

static __always_inline int deliver(struct xdp_md *ctx, const struct packet *packet,
				   __u32 backend_id, const int family)
{
	const struct backend *backend = backend_find(backend_id);

	if (!packet || !backend)
		return XDP_ABORTED;
	if (backend->flags & BACKEND_LOCAL)
		return deliver_local(ctx, packet, backend, family);
	return deliver_remote(ctx, packet, backend, family);
}

GLOBAL_FUNCTION int deliver_ipv4(struct xdp_md *ctx, const struct packet *packet, __u32 backend_id)
{
	return deliver(ctx, packet, backend_id, IPV4);
}

GLOBAL_FUNCTION int deliver_ipv6(struct xdp_md *ctx, const struct packet *packet, __u32 backend_id)
{
	return deliver(ctx, packet, backend_id, IPV6);
}

#endif
