/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet whose backend is known goes there. A pod of this node gets it translated, by
 * redirection where its device takes that, else through the host's routing; another node gets it
 * tunnelled. What does not fit is answered with the size that does.
 */
#ifndef WEIR_LIB_DELIVER_H
#define WEIR_LIB_DELIVER_H

#include "lib/encap.h"
#include "lib/nexthop.h"
#include "lib/refuse.h"
#include "lib/rewrite.h"
#include "lib/verdict.h"

static __always_inline int drop(const struct packet *packet, enum verdict_reason reason)
{
	packet_drop(packet, reason);
	return VERDICT_DROP;
}

/*
 * What comes to the node's own address, or from its pods, does so whatever is announced: a drain
 * moves the rest.
 */
static __always_inline enum verdict_reason reason_of_client(const struct packet *packet,
							    enum verdict_reason reason)
{
	if (WEIR_POD_DEVICE)
		return REASON_OF_POD;
	return packet->is_of_node ? REASON_OF_NODE : reason;
}

static __always_inline int answer_too_big(ctx_t *ctx, const struct packet *packet, __u32 mtu,
					  const int family)
{
	packet_drop(packet, REASON_TOO_BIG);
	return answer_error(ctx, packet, ICMP_ERROR_TOO_BIG, mtu, family);
}

static __always_inline int answer_time_exceeded(ctx_t *ctx, const struct packet *packet,
						const int family)
{
	packet_drop(packet, REASON_TTL_EXCEEDED);
	return answer_error(ctx, packet, ICMP_ERROR_TIME_EXCEEDED, 0, family);
}

/* mtu 0: unknown, left to the device. */
static __always_inline bool is_too_big(ctx_t *ctx, const struct packet *packet,
				       const struct nexthop *nexthop)
{
	return nexthop->mtu && ctx_segment_bytes(ctx, packet) > nexthop->mtu;
}

/* The link layer of where it goes now, which knows no tags. */
static __always_inline bool write_way(ctx_t *ctx, const struct packet *packet,
				      const struct nexthop_member *member, const int family)
{
	void *data, *data_end;

	if (!ctx_strip_tags(ctx, packet))
		return false;
	data = ctx_data(ctx);
	data_end = ctx_data_end(ctx);
	if (data + sizeof(struct ethhdr) > data_end)
		return false;
	ethernet_write(data, member, family == IPV4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6));
	return true;
}

static __always_inline int redirect_to_pod(ctx_t *ctx, const struct packet *packet,
					   const struct nexthop *device,
					   const struct nexthop_member *member, const int family)
{
	if (!write_way(ctx, packet, member, family))
		return drop(packet, REASON_MALFORMED);
	count_packet(packet, packet->is_tunnelled ? REASON_FROM_TUNNEL
						  : reason_of_client(packet, REASON_TO_LOCAL));
	return ctx_redirect_to_pod(ctx, device, member->ifindex, family);
}

static __always_inline bool translate_to_backend(ctx_t *ctx, const struct packet *packet,
						 const struct backend *backend, __u32 hops,
						 const int family)
{
	const struct rewrite to = {
	    .destination = &backend->address,
	    .destination_port = backend->port,
	    .hops = hops,
	};

	return rewrite_packet(ctx, packet, &to, REWRITE_DESTINATION, family);
}

static __always_inline int deliver_local(ctx_t *ctx, const struct packet *packet,
					 const struct backend *backend, const int family)
{
	const struct nexthop *nexthop = nexthop_find(backend->nexthop_id);
	const struct nexthop_member *member = NULL;

	if (nexthop && nexthop->kind == NEXTHOP_KIND_DEVICE && nexthop->flags & POD_DEVICE_WAYS)
		member = nexthop_choose_member(nexthop, 0);
	if (!member) {
		if (!translate_to_backend(ctx, packet, backend, 0, family))
			return drop(packet, REASON_MALFORMED);
		count_packet(packet, packet->is_tunnelled
					 ? REASON_PASSED_TO_STACK
					 : reason_of_client(packet, REASON_TO_HOST));
		return VERDICT_PASS;
	}
	if (packet->ttl <= 1)
		return answer_time_exceeded(ctx, packet, family);
	if (is_too_big(ctx, packet, nexthop))
		return answer_too_big(ctx, packet, nexthop->mtu, family);
	if (!translate_to_backend(ctx, packet, backend, 1, family))
		return drop(packet, REASON_MALFORMED);
	return redirect_to_pod(ctx, packet, nexthop, member, family);
}

static __always_inline int deliver_remote(ctx_t *ctx, const struct packet *packet,
					  const struct backend *backend, bool is_second,
					  const int family)
{
	const struct nexthop *tunnel = nexthop_find(backend->nexthop_id);
	const struct nexthop_member *member = NULL;
	__u32 hash = path_hash(tuple_hash(&packet->tuple, family));
	const struct nexthop *group;
	bool is_done;

	if (!tunnel || tunnel->kind != NEXTHOP_KIND_TUNNEL)
		return drop(packet, REASON_NO_NEXTHOP);
	if (is_too_big(ctx, packet, tunnel))
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
	count_packet(packet, is_second ? REASON_SECOND_CHOICE : REASON_TO_REMOTE);
	return ctx_leave_by(ctx, member->ifindex);
}

/* Two functions, and not one, for their stacks. */
GLOBAL_FUNCTION int deliver_local_ipv4(ctx_t *ctx, const struct packet *packet,
				       const struct backend *backend)
{
	return packet && backend ? deliver_local(ctx, packet, backend, IPV4) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int deliver_local_ipv6(ctx_t *ctx, const struct packet *packet,
				       const struct backend *backend)
{
	return packet && backend ? deliver_local(ctx, packet, backend, IPV6) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int deliver_remote_ipv4(ctx_t *ctx, const struct packet *packet,
					const struct backend *backend, __u32 is_second)
{
	return packet && backend ? deliver_remote(ctx, packet, backend, is_second, IPV4)
				 : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int deliver_remote_ipv6(ctx_t *ctx, const struct packet *packet,
					const struct backend *backend, __u32 is_second)
{
	return packet && backend ? deliver_remote(ctx, packet, backend, is_second, IPV6)
				 : VERDICT_ABORTED;
}

static __always_inline int deliver_here(ctx_t *ctx, const struct packet *packet,
					const struct backend *backend, const int family)
{
	return family == IPV4 ? deliver_local_ipv4(ctx, packet, backend)
			      : deliver_local_ipv6(ctx, packet, backend);
}

static __always_inline int deliver_family(ctx_t *ctx, const struct packet *packet, __u32 backend_id,
					  const int family)
{
	const struct backend *backend = backend_find(backend_id);
	bool is_second = packet->second_id == backend_id;

	if (!backend)
		return VERDICT_ABORTED;
	if (backend->flags & BACKEND_LOCAL)
		return deliver_here(ctx, packet, backend, family);
	return family == IPV4 ? deliver_remote_ipv4(ctx, packet, backend, is_second)
			      : deliver_remote_ipv6(ctx, packet, backend, is_second);
}

#endif
