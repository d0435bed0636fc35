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
#include "lib/bfd.h"
#include "lib/follow.h"
#include "lib/fragment.h"
#include "lib/icmp_relay.h"
#include "lib/unfinished.h"

/* Set by user space that keeps frontend_filter; without it every packet is looked up. */
extern const volatile __u8 uses_frontend_filter;

/* One copy per family, for packets from outside and for what came out of a tunnel. */
GLOBAL_FUNCTION int judge_ipv4(ctx_t *ctx, struct packet *packet)
{
	return packet ? judge(ctx, packet, IPV4) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int judge_ipv6(ctx_t *ctx, struct packet *packet)
{
	return packet ? judge(ctx, packet, IPV6) : VERDICT_ABORTED;
}

static __always_inline int balance(ctx_t *ctx, struct packet *packet, struct scratch *scratch,
				   const int family)
{
	int verdict = NOT_BOUND;

	if (packet->parsed == PARSED_PORTS)
		verdict = follow(ctx, packet, scratch, family);
	else if (packet->parsed == PARSED_ICMP)
		verdict =
		    family == IPV4 ? relay_error_ipv4(ctx, packet) : relay_error_ipv6(ctx, packet);
	if (verdict != NOT_BOUND)
		return verdict;
	return family == IPV4 ? judge_ipv4(ctx, packet) : judge_ipv6(ctx, packet);
}

static __always_inline bool may_be_masqueraded(const struct packet *packet, const int family)
{
	if (packet->parsed == PARSED_PORTS)
		return is_to_snat_port(packet, family);
	return (packet->parsed == PARSED_FRAGMENT || packet->parsed == PARSED_ICMP) &&
	       is_to_snat_address(packet, family);
}

/* The uplink's packet: its family, 0 for none of ours. */
static __always_inline int parse_uplink(ctx_t *ctx, struct packet *packet)
{
	void *data = ctx_data(ctx);
	void *data_end = ctx_data_end(ctx);
	__be16 protocol;

	protocol = parse_ethernet(data, data_end, packet);
	if (protocol != bpf_htons(ETH_P_IP) && protocol != bpf_htons(ETH_P_IPV6))
		return 0;
	if (protocol == bpf_htons(ETH_P_IP)) {
		packet->parsed = parse_ipv4(data, data_end, packet);
		return IPV4;
	}
	packet->parsed = parse_ipv6(data, data_end, packet);
	return IPV6;
}

/* Geneve, or another kind of tunnel that may be ours. */
static __always_inline bool may_be_tunnelled(const struct packet *packet, const int family)
{
	if (packet->parsed == PARSED_PORTS)
		return is_to_tunnel(packet, family);
	return packet->parsed == PARSED_PORTLESS &&
	       (packet->tuple.protocol == IPPROTO_IPIP || packet->tuple.protocol == IPPROTO_IPV6) &&
	       is_to_tunnel_address(packet, family);
}

enum opened {
	OPENED_DROPPED = 0, /* any other: IPV4 or IPV6, what came out */
	OPENED_NOT_OURS = 1,
};

/* From the tunnel: the inner packet takes the place of the outer one and is judged like it. */
GLOBAL_FUNCTION int open_tunnelled(ctx_t *ctx, struct packet *packet)
{
	struct scratch *scratch = scratch_find();
	enum verdict_reason reason;
	__be16 protocol = 0;

	if (!packet || !scratch)
		return OPENED_DROPPED;
	if (packet->tuple.protocol == IPPROTO_UDP)
		reason = decapsulate(ctx, packet, scratch, &protocol);
	else
		reason = decapsulate_ipip(ctx, packet, &protocol);
	if (reason == REASON_NOT_OURS)
		return OPENED_NOT_OURS;
	if (reason != REASON_UNSPECIFIED) {
		packet_drop(packet, reason);
		return OPENED_DROPPED;
	}
	packet->l3_offset = sizeof(struct ethhdr);
	if (protocol == bpf_htons(ETH_P_IP)) {
		packet->parsed = parse_ipv4(ctx_data(ctx), ctx_data_end(ctx), packet);
		return IPV4;
	}
	packet->parsed = parse_ipv6(ctx_data(ctx), ctx_data_end(ctx), packet);
	return IPV6;
}

static __always_inline int receive_from_uplink(ctx_t *ctx)
{
	struct scratch *scratch = scratch_find();
	struct packet *packet;
	int family;

	if (!scratch)
		return VERDICT_ABORTED;
	/* Not on the stack, which all that is called from here shares. */
	packet = &scratch->packet;
	*packet = (struct packet){.ifindex = ctx_ingress_ifindex(ctx)};
	family = parse_uplink(ctx, packet);
	if (family == 0 || packet->parsed == PARSED_FOREIGN)
		return pass(packet);
	if (is_bfd(packet)) {
		int verdict = bfd_receive(ctx, packet);

		if (verdict != NOT_BOUND)
			return verdict;
	}
	if (may_be_tunnelled(packet, family)) {
		if (is_unfinished_inside(ctx, packet))
			return VERDICT_PASS;
		family = open_tunnelled(ctx, packet);
		if (family == OPENED_DROPPED)
			return VERDICT_DROP;
		if (family == OPENED_NOT_OURS)
			return pass(packet);
	} else if (uses_frontend_filter && !filter_admits(&packet->tuple.destination) &&
		   !filter_admits_network(&packet->tuple.destination) &&
		   !may_be_masqueraded(packet, family)) {
		return pass(packet);
	} else if (packet->parsed == PARSED_PORTS && is_unfinished(ctx, packet)) {
		return VERDICT_PASS;
	}
	if (packet->parsed == PARSED_FRAGMENT)
		packet->parsed = fragment_resolve(ctx, packet);
	return family == IPV4 ? balance(ctx, packet, scratch, IPV4)
			      : balance(ctx, packet, scratch, IPV6);
}

#endif
