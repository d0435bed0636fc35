/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The order in which a packet is judged.
 *
 *   1. Its flow is known and the backend still there: follow it (lib/follow.h). The first packet of
 *      a TCP connection skips this, for ports are re-used.
 *   2. Its destination is a frontend: the client's backend by affinity, else that of its hash (from
 *      outside), or the one that the entry node chose (from a tunnel). No backend: refuse when none
 *      is anywhere, else drop.
 *   3. It is an ICMP error about a packet of a flow: to the end that it is for (lib/icmp_relay.h).
 *   4. Its address is a Service's, its port is not: refuse. Ping is answered; other ICMP is
 *      dropped, for the stack would send it out again by the default route.
 *   5. No Service has its address, a ServiceCIDR does: drop. Else pass.
 * Fragments are judged by the ports of their datagram.
 */
#ifndef WEIR_LIB_BALANCE_H
#define WEIR_LIB_BALANCE_H

#include "lib/affinity.h"
#include "lib/deliver.h"
#include "lib/echo.h"
#include "lib/foresee.h"
#include "lib/masquerade.h"
#include "lib/police.h"
#include "lib/second_choice.h"
#include "lib/track.h"

/* REASON_UNSPECIFIED: the flow is remembered, and has its port where it needs one. */
static __always_inline enum verdict_reason track_family(const struct packet *packet,
							const struct flow_id *id,
							struct choice *choice, const int family)
{
	enum verdict_reason reason;

	choice->snat_port = 0;
	if (choice->kind == FLOW_TO_REMOTE_SNAT) {
		choice->snat_port =
		    snat_assign(packet, id, choice->backend_id, choice->frontend_id,
				client_flags_of(&packet->tuple), events_of_client(packet), family);
		if (!choice->snat_port)
			return REASON_SNAT_EXHAUSTED;
	}
	reason = family == IPV4 ? track_new_flow_ipv4(packet, id, choice)
				: track_new_flow_ipv6(packet, id, choice);
	if (reason != REASON_UNSPECIFIED && choice->snat_port)
		snat_undo();
	return reason;
}

static __always_inline __u32 choose_family(const struct packet *packet,
					   const struct frontend *frontend, const int family)
{
	if (packet->is_tunnelled == TUNNELLED_UNCHOSEN)
		return family == IPV4 ? choose_here_ipv4(packet, frontend)
				      : choose_here_ipv6(packet, frontend);
	if (packet->is_tunnelled)
		return find_chosen_backend(packet->tuple.protocol);
	return family == IPV4 ? choose_from_outside_ipv4(packet, frontend)
			      : choose_from_outside_ipv6(packet, frontend);
}

static __always_inline int pass(const struct packet *packet)
{
	count_packet(packet, REASON_NOT_OURS);
	return VERDICT_PASS;
}

/* No Service has the destination address. */
static __always_inline int judge_unknown_address(const struct packet *packet)
{
	if (packet->is_tunnelled)
		return drop(packet, REASON_UNKNOWN_FRONTEND);
	if (is_unallocated(&packet->tuple.destination))
		return drop(packet, REASON_UNALLOCATED_ADDRESS);
	return pass(packet);
}

/* The destination address is no frontend with this port. */
static __always_inline int judge_unknown_port(ctx_t *ctx, struct packet *packet, const int family)
{
	if (packet->is_tunnelled)
		return drop(packet, REASON_UNKNOWN_FRONTEND);
	if (!frontend_find_catch_all(&packet->tuple.destination))
		return judge_unknown_address(packet);
	packet_drop(packet, REASON_NO_SUCH_PORT);
	return answer_refusal(ctx, packet, family);
}

static __always_inline int judge_without_backend(ctx_t *ctx, struct packet *packet,
						 const struct frontend *frontend, const int family)
{
	if (packet->is_tunnelled)
		return drop(packet, REASON_UNKNOWN_BACKEND);
	if (frontend->flags & FRONTEND_ANY_ENDPOINT)
		return drop(packet, REASON_NO_LOCAL_ENDPOINT);
	packet_drop(packet, REASON_NO_ENDPOINT);
	return answer_refusal(ctx, packet, family);
}

/* The entry node of a tunnelled packet has drawn already, if it could say so. */
static __always_inline bool is_drawn(const struct packet *packet, const struct frontend *frontend)
{
	return frontend->flags & FRONTEND_RANDOM &&
	       (!packet->is_tunnelled || packet->is_tunnelled == TUNNELLED_UNCHOSEN);
}

/* A pod of this node is protected here, for nobody sees what is redirected into its device. */
static __always_inline bool is_allowed_to_begin(const struct packet *packet,
						struct scratch *scratch,
						const struct choice *choice)
{
	scratch->generation = 0;
	scratch->reply_generation = 0;
	return choice->kind != FLOW_TO_LOCAL || police_new_delivery(packet, choice->backend_id);
}

/* scratch->choice is made: the flow is remembered, and its packet goes on its way. */
static __always_inline int begin_flow(ctx_t *ctx, struct packet *packet, struct scratch *scratch,
				      const int family)
{
	struct choice *choice = &scratch->choice;
	const struct backend *backend = backend_find(choice->backend_id);
	enum verdict_reason reason;

	if (!backend)
		return drop(packet, REASON_UNKNOWN_BACKEND);
	if (node_config.enforces_policy && !is_allowed_to_begin(packet, scratch, choice))
		return VERDICT_DROP;
	reason = track_family(packet, &scratch->id, choice, family);
	if (reason != REASON_UNSPECIFIED)
		return drop(packet, reason);
	learn_first(scratch, packet);
	packet->is_of_node = choice->is_of_node;
	if (choice->kind != FLOW_TO_REMOTE_SNAT)
		return deliver_family(ctx, packet, choice->backend_id, family);
	masquerade_as(scratch, backend, choice->snat_port, family);
	return route_out_family(ctx, packet, reason_of_client(packet, REASON_TO_REMOTE_SNAT),
				family);
}

/* scratch->id is the packet's flow, and knows it not, or no longer. */
static __always_inline int judge_new(ctx_t *ctx, struct packet *packet, struct scratch *scratch,
				     const int family)
{
	const struct frontend *frontend = frontend_find(
	    &packet->tuple.destination, packet->tuple.destination_port, packet->tuple.protocol);
	struct choice *choice = &scratch->choice;
	const struct backend *backend;

	/* Its entry was looked for already, and its details come as late as that did. */
	if (!is_first_packet(packet))
		flow_fetch(&scratch->id);
	if (!frontend || frontend->flags & FRONTEND_SOCKET_ONLY)
		return judge_unknown_port(ctx, packet, family);
	if (is_from_service(packet))
		return drop(packet, REASON_FORGED_SOURCE);
	/* The entry node of a tunnelled packet has asked already. */
	if (!packet->is_tunnelled && !frontend_admits(frontend, &packet->tuple.source))
		return drop(packet, REASON_SOURCE_RANGE);
	choice->frontend_id = frontend->frontend_id;
	choice->is_drawn = is_drawn(packet, frontend);
	choice->is_of_node = is_of_node(frontend);
	choice->backend_id = choose_family(packet, frontend, family);
	if (may_have_state_elsewhere(packet))
		choice->backend_id = settle_choice(packet, frontend, choice->backend_id, family);
	backend = backend_find(choice->backend_id);
	if (!backend)
		return judge_without_backend(ctx, packet, frontend, family);
	choice->kind = packet->second_id == choice->backend_id ? FLOW_TO_REMOTE
							       : way_to_backend(frontend, backend);
	return begin_flow(ctx, packet, scratch, family);
}

/* The first packet of a flow, or a further one of what is forgotten. */
static __always_inline int judge_ports(ctx_t *ctx, struct packet *packet, const int family)
{
	struct scratch *scratch = scratch_find();

	if (!scratch)
		return VERDICT_ABORTED;
	return packet->is_foreseen ? begin_flow(ctx, packet, scratch, family)
				   : judge_new(ctx, packet, scratch, family);
}

/* Ours by its address but impossible to balance: answered or dropped here, or the default route
 * would send it back to the router that will send it here again. */
static __always_inline int judge_by_address(ctx_t *ctx, struct packet *packet, enum parsed parsed,
					    const int family)
{
	packet->tuple.source_port = 0;
	packet->tuple.destination_port = 0;
	packet->tcp_flags = 0;
	if (!frontend_find_catch_all(&packet->tuple.destination))
		return judge_unknown_address(packet);
	if (parsed == PARSED_FRAGMENT)
		return drop(packet, REASON_FRAGMENT);
	if (parsed == PARSED_TRUNCATED)
		return drop(packet, REASON_MALFORMED);
	if (parsed == PARSED_ICMP) {
		if (!answer_echo(ctx, packet, family))
			return drop(packet, REASON_ICMP_UNANSWERED);
		count_packet(packet, REASON_ECHO);
		return ctx_leave_by(ctx, ctx_ingress_ifindex(ctx));
	}
	packet_drop(packet, REASON_NO_SUCH_PORT);
	return answer_error(ctx, packet, ICMP_ERROR_PORT_UNREACHABLE, 0, family);
}

/* What no flow binds. */
static __always_inline int judge(ctx_t *ctx, struct packet *packet, const int family)
{
	enum parsed parsed = packet->parsed;

	if (parsed == PARSED_PORTS)
		return judge_ports(ctx, packet, family);
	if (parsed == PARSED_ICMP && packet->is_tunnelled)
		return drop(packet, REASON_ICMP_UNANSWERED);
	if (parsed == PARSED_FOREIGN)
		return drop(packet, REASON_MALFORMED_TUNNEL);
	return judge_by_address(ctx, packet, parsed, family);
}

#endif
