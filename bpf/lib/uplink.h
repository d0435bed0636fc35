/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What comes in by an uplink, at either hook: XDP, or tc where XDP cannot be. Packets from outside
 * and what comes out of tunnels are parsed and judged; the rest passes.
 *
 * The entry file declares node_config and uses_frontend_filter.
 */
#ifndef WEIR_LIB_UPLINK_H
#define WEIR_LIB_UPLINK_H

#include "lib/balance.h"

/* Set by user space that keeps frontend_filter; without it every packet is looked up. */
extern const volatile __u8 uses_frontend_filter;

/* One copy per family, called for packets from outside and for what came out of a tunnel. */
GLOBAL_FUNCTION int judge_ipv4(ctx_t *ctx, struct packet *packet, const struct backend_key *chosen,
			       __u32 parsed)
{
	return packet ? judge_packet(ctx, packet, chosen, parsed, IPV4) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int judge_ipv6(ctx_t *ctx, struct packet *packet, const struct backend_key *chosen,
			       __u32 parsed)
{
	return packet ? judge_packet(ctx, packet, chosen, parsed, IPV6) : VERDICT_ABORTED;
}

static __always_inline int judge_parsed(ctx_t *ctx, struct packet *packet,
					const struct backend_key *chosen, const int family)
{
	void *data = ctx_data(ctx);
	void *data_end = ctx_data_end(ctx);
	enum parsed parsed = parse_ip(data, data_end, packet, family);

	if (parsed == PARSED_FOREIGN && !packet->is_tunnelled)
		return pass(packet);
	return family == IPV4 ? judge_ipv4(ctx, packet, chosen, parsed)
			      : judge_ipv6(ctx, packet, chosen, parsed);
}

/* From the tunnel: the inner packet takes the place of the outer one and is judged like it. */
static __always_inline int receive_tunnelled(ctx_t *ctx, struct packet *packet)
{
	struct backend_key chosen = {};
	enum verdict_reason reason;
	__be16 protocol = 0;

	reason = decapsulate(ctx, packet, &chosen, &protocol);
	if (reason != REASON_UNSPECIFIED)
		return drop(packet, reason);
	packet->is_tunnelled = 1;
	packet->l3_offset = sizeof(struct ethhdr);
	if (protocol == bpf_htons(ETH_P_IP))
		return judge_parsed(ctx, packet, &chosen, IPV4);
	return judge_parsed(ctx, packet, &chosen, IPV6);
}

static __always_inline int receive_from_uplink(ctx_t *ctx)
{
	void *data = ctx_data(ctx);
	void *data_end = ctx_data_end(ctx);
	struct packet packet = {.ifindex = ctx_ingress_ifindex(ctx)};
	__be16 protocol = parse_ethernet(data, data_end, &packet);
	enum parsed parsed = PARSED_FOREIGN;
	bool is_ipv4 = protocol == bpf_htons(ETH_P_IP);

	if (is_ipv4)
		parsed = parse_ipv4(data, data_end, &packet);
	else if (protocol == bpf_htons(ETH_P_IPV6))
		parsed = parse_ipv6(data, data_end, &packet);
	if (parsed == PARSED_FOREIGN)
		return pass(&packet);
	if (parsed == PARSED_PORTS && is_to_tunnel(&packet, is_ipv4 ? IPV4 : IPV6))
		return receive_tunnelled(ctx, &packet);
	if (uses_frontend_filter && !filter_admits(&packet.tuple.destination) &&
	    !is_to_snat_port(&packet, is_ipv4 ? IPV4 : IPV6))
		return pass(&packet);
	if (is_ipv4)
		return judge_ipv4(ctx, &packet, NULL, parsed);
	return judge_ipv6(ctx, &packet, NULL, parsed);
}

#endif
