/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * tc: answers of backends that the host's stack delivers to (host-network pods, pods whose device
 * we do not know) leave through the stack too, and have no program at their own device. On their
 * way out of an uplink the source becomes the frontend's. The stack has routed them: nothing else
 * changes.
 *
 * Nearly all that leaves is nobody's answer; the filter of addresses, where user space also puts
 * the addresses of such backends, says so after one load.
 */
#ifndef WEIR_LIB_EGRESS_H
#define WEIR_LIB_EGRESS_H

#include "lib/fragment.h"
#include "lib/icmp_reply.h"
#include "lib/parse_skb.h"
#include "lib/refuse.h"
#include "lib/reply.h"

extern const volatile __u8 uses_frontend_filter;

static __always_inline int reverse(ctx_t *ctx, const struct packet *packet, const int family)
{
	const struct frontend_address *frontend;
	struct flow_id id = {};
	struct flow_hit hit;

	flow_identify(&id, &packet->tuple, family);
	frontend = find_answered(packet, &id, &hit);
	if (!frontend)
		return VERDICT_PASS;
	follow_reply(packet, &hit, &packet->tuple.destination, packet->tuple.destination_port,
		     frontend, family);
	if (!translate_from_backend(ctx, packet, frontend, false, family))
		return drop_reply(packet);
	count_packet(packet, REASON_REPLY);
	return VERDICT_PASS;
}

/* An ICMP error of such a backend: a closed port, mostly. */
static __always_inline int reverse_error(ctx_t *ctx, const struct packet *packet, const int family)
{
	struct scratch *scratch = scratch_find();
	struct flow_hit hit = {};

	if (!scratch || !error_of_backend(ctx, packet, scratch, &hit, family))
		return VERDICT_PASS;
	if (!error_translate(ctx, packet, 0, family))
		return drop_reply(packet);
	count_packet(packet, REASON_ICMP_RELAYED);
	return VERDICT_PASS;
}

static __always_inline int reverse_parsed(ctx_t *ctx, struct packet *packet, const int family)
{
	enum parsed parsed = packet->parsed;

	if (parsed == PARSED_FRAGMENT)
		parsed = fragment_resolve(ctx, packet);
	if (parsed == PARSED_PORTS)
		return reverse(ctx, packet, family);
	return parsed == PARSED_ICMP ? reverse_error(ctx, packet, family) : VERDICT_PASS;
}

GLOBAL_FUNCTION int reverse_ipv4(ctx_t *ctx, struct packet *packet)
{
	return packet ? reverse_parsed(ctx, packet, IPV4) : VERDICT_PASS;
}

GLOBAL_FUNCTION int reverse_ipv6(ctx_t *ctx, struct packet *packet)
{
	return packet ? reverse_parsed(ctx, packet, IPV6) : VERDICT_PASS;
}

/*
 * A datagram of this node to a port that a Service lacks: its socket was connected, which a host
 * never refuses (see lib/sock.h). No router need know a ClusterIP, so it is refused here, by an
 * error that comes back through the uplink.
 */
static __always_inline bool is_for_no_port(const struct packet *packet)
{
	const struct tuple *tuple = &packet->tuple;

	return packet->parsed == PARSED_PORTS && tuple->protocol == IPPROTO_UDP &&
	       !frontend_find(&tuple->destination, tuple->destination_port, tuple->protocol) &&
	       frontend_find_catch_all(&tuple->destination);
}

static __always_inline int refuse_at_egress(ctx_t *ctx, const struct packet *packet,
					    const int family)
{
	packet_drop(packet, REASON_NO_SUCH_PORT);
	if (answer_error(ctx, packet, ICMP_ERROR_PORT_UNREACHABLE, 0, family) != TC_ACT_REDIRECT)
		return VERDICT_DROP;
	return bpf_redirect(ctx->ifindex, BPF_F_INGRESS);
}

static __always_inline int reverse_at_egress(ctx_t *ctx)
{
	struct packet packet = {.ifindex = ctx->ifindex};
	int family;

	family = parse_skb(ctx, &packet);
	if (!family)
		return VERDICT_PASS;
	if (filter_admits(&packet.tuple.destination) && is_for_no_port(&packet))
		return refuse_at_egress(ctx, &packet, family);
	if (uses_frontend_filter && !filter_admits(&packet.tuple.source))
		return VERDICT_PASS;
	return family == IPV4 ? reverse_ipv4(ctx, &packet) : reverse_ipv6(ctx, &packet);
}

#endif
