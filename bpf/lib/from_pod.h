/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a pod of this node sends to a Service's address. TCP and UDP come here untranslated only
 * from workloads that the socket hooks do not cover (VM runtimes, sidecars with their own stack),
 * SCTP always. Balanced with the same tables as seen from inside:
 *
 *   backend on this node    TO_LOCAL, and REPLY as for a client outside: into the pod's device
 *   on another node         TO_REMOTE_PLAIN: out by an uplink with the pod's own address. The
 * answer comes back by an uplink and is turned there (balance.h), for which the filter has to let
 * the pod's address through the pod itself          TO_REMOTE_SNAT from this node's address, back
 * into its own device: it would answer itself inside, and its socket knows no such connection
 *
 * What is not balanced here is the host's routing's, which has no backend either: it leaves by the
 * default route, and a router may lead it back to any node. No policy that speaks of backends can
 * be asked about it, so it is closed to pods that have one (police_untranslated()).
 *
 * Not served: a backend on the host network of this same node, whose answer no hook sees.
 */
#ifndef WEIR_LIB_FROM_POD_H
#define WEIR_LIB_FROM_POD_H

#include "lib/balance.h"
#include "lib/police.h"

/*
 * Answers to this pod are looked up from now on. User space keeps what it finds when it starts;
 * later it may clear a bit together with another address's, and the next packet sets it again.
 */
static __always_inline void filter_hold(const struct address *address)
{
	struct filter_place place = filter_place_of(address);
	__u32 row = place.row;
	__u64 *word = bpf_map_lookup_elem(&frontend_filter, &row);

	if (word && (*word & place.bits) != place.bits)
		__sync_fetch_and_or(word, place.bits);
}

/* As scratch->ends says, back into the device that it came from. */
static __always_inline int turn_back(ctx_t *ctx, const struct packet *packet,
				     enum verdict_reason reason, const int family)
{
	const struct endpoint *endpoint = endpoint_find(&packet->tuple.source);
	struct scratch *scratch = scratch_find();
	struct nexthop_member way = {};

	if (!endpoint || !scratch)
		return drop(packet, REASON_NO_NEXTHOP);
	way.ifindex = endpoint->ifindex;
	way.destination = endpoint->pod;
	way.source = endpoint->host;
	if (!rewrite_ends(ctx, packet, &scratch->ends, packet->ttl > 1,
			  REWRITE_SOURCE | REWRITE_DESTINATION, family) ||
	    !ctx_write_link(ctx, &way))
		return drop(packet, REASON_MALFORMED);
	count_packet(packet, reason);
	return ctx_redirect(way.ifindex);
}

GLOBAL_FUNCTION int turn_back_ipv4(ctx_t *ctx, const struct packet *packet, __u32 reason)
{
	return packet ? turn_back(ctx, packet, reason, IPV4) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int turn_back_ipv6(ctx_t *ctx, const struct packet *packet, __u32 reason)
{
	return packet ? turn_back(ctx, packet, reason, IPV6) : VERDICT_ABORTED;
}

static __always_inline int turn_back_family(ctx_t *ctx, const struct packet *packet,
					    enum verdict_reason reason, const int family)
{
	return family == IPV4 ? turn_back_ipv4(ctx, packet, reason)
			      : turn_back_ipv6(ctx, packet, reason);
}

/* An answer to this node's address and a port of a masqueraded flow, turned in scratch->ends. */
static __always_inline bool turn_own_answer(const struct packet *packet, const int family)
{
	struct scratch *scratch = scratch_find();
	struct flow_hit hit;

	if (!scratch)
		return false;
	flow_identify(&scratch->mate_id, &packet->tuple, family);
	return flow_find(&scratch->mate_id, &hit) && hit.kind == FLOW_SNAT_REPLY &&
	       turn_snat_reply(scratch, packet, &hit, family);
}

GLOBAL_FUNCTION int turn_own_answer_ipv4(const struct packet *packet)
{
	return packet && turn_own_answer(packet, IPV4);
}

GLOBAL_FUNCTION int turn_own_answer_ipv6(const struct packet *packet)
{
	return packet && turn_own_answer(packet, IPV6);
}

/* The answer of a pod that is its own backend. False: it is none. */
static __always_inline bool is_own_answer(const struct packet *packet, const int family)
{
	const struct scratch *scratch = scratch_find();

	if (!scratch || !is_to_snat_port(packet, family))
		return false;
	if (!(family == IPV4 ? turn_own_answer_ipv4(packet) : turn_own_answer_ipv6(packet)))
		return false;
	return address_is_equal(&scratch->ends.destination, &packet->tuple.source);
}

/* What the stack is left to deliver is, to whoever judges it next, on its way to the backend. */
static __always_inline int deliver_from_pod(ctx_t *ctx, struct packet *packet,
					    const struct backend *backend, const int family)
{
	int verdict = deliver_here(ctx, packet, backend, family);

	packet->tuple.destination = backend->address;
	packet->tuple.destination_port = backend->port;
	return verdict;
}

static __always_inline int send_from_pod(ctx_t *ctx, struct packet *packet,
					 const struct choice *choice, const int family)
{
	const struct backend *backend = backend_find(choice->backend_id);
	struct scratch *scratch = scratch_find();

	if (!backend || !scratch)
		return drop(packet, REASON_UNKNOWN_BACKEND);
	if (choice->kind == FLOW_TO_LOCAL)
		return deliver_from_pod(ctx, packet, backend, family);
	scratch->ends.destination = backend->address;
	scratch->ends.destination_port = backend->port;
	if (choice->kind == FLOW_TO_REMOTE_SNAT) {
		scratch->ends.source = *own_address(family);
		scratch->ends.source_port = choice->snat_port;
		return turn_back_family(ctx, packet, REASON_OF_POD, family);
	}
	filter_hold(&packet->tuple.source);
	scratch->ends.source = packet->tuple.source;
	scratch->ends.source_port = packet->tuple.source_port;
	return route_out_family(ctx, packet, REASON_TO_REMOTE_PLAIN, family);
}

static __always_inline enum flow_kind way_from_pod(const struct packet *packet,
						   const struct backend *backend)
{
	if (!(backend->flags & BACKEND_LOCAL))
		return FLOW_TO_REMOTE_PLAIN;
	return address_is_equal(&backend->address, &packet->tuple.source) ? FLOW_TO_REMOTE_SNAT
									  : FLOW_TO_LOCAL;
}

/* An entry that the flow's packets left at an uplink, when they came from there, is another's. */
static __always_inline bool may_follow_from_pod(const struct packet *packet,
						const struct flow_hit *hit)
{
	const struct backend *backend = backend_find(hit->index);

	return backend && hit->kind == way_from_pod(packet, backend);
}

static __always_inline int judge_from_pod(ctx_t *ctx, struct packet *packet,
					  const struct flow_id *id, const int family)
{
	const struct frontend *frontend = frontend_find(
	    &packet->tuple.destination, packet->tuple.destination_port, packet->tuple.protocol);
	const struct backend *backend;
	enum verdict_reason reason;
	struct choice choice = {};

	if (!frontend || frontend->flags & FRONTEND_SOCKET_ONLY)
		return judge_unknown_port(ctx, packet, family);
	if (!is_balanced_here(packet))
		return !node_config.enforces_policy || police_untranslated(packet, POLICY_EGRESS)
			   ? VERDICT_PASS
			   : VERDICT_DROP;
	if (!frontend_admits(frontend, &packet->tuple.source))
		return drop(packet, REASON_SOURCE_RANGE);
	choice.frontend_id = frontend->frontend_id;
	choice.is_drawn = !frontend->affinity_ticks;
	choice.backend_id = choose_from_inside(packet, frontend);
	backend = backend_find(choice.backend_id);
	if (!backend)
		return judge_without_backend(ctx, packet, frontend, family);
	choice.kind = way_from_pod(packet, backend);
	if (node_config.enforces_policy && !police_new_choice(packet, choice.backend_id))
		return VERDICT_DROP;
	packet->is_judged = true;
	reason = track_family(packet, id, &choice, family);
	if (reason != REASON_UNSPECIFIED)
		return drop(packet, reason);
	return send_from_pod(ctx, packet, &choice, family);
}

static __always_inline int balance_from_pod(ctx_t *ctx, struct packet *packet, const int family)
{
	enum followed followed = FOLLOWED_VOID;
	struct choice choice = {};
	struct flow_hit hit;
	struct flow_id id = {};

	flow_identify(&id, &packet->tuple, family);
	if (!is_first_packet(packet) && flow_find(&id, &hit) && may_follow_from_pod(packet, &hit))
		followed = follow_forward(packet, &hit, family);
	if (followed == FOLLOWED_UNPLACED)
		return drop(packet, REASON_FLOW_SET_FULL);
	if (followed == FOLLOWED) {
		choice.backend_id = hit.index;
		choice.kind = hit.kind;
		choice.snat_port = hit.snat_port;
		return send_from_pod(ctx, packet, &choice, family);
	}
	return judge_from_pod(ctx, packet, &id, family);
}

GLOBAL_FUNCTION int balance_from_pod_ipv4(ctx_t *ctx, struct packet *packet)
{
	return packet ? balance_from_pod(ctx, packet, IPV4) : VERDICT_PASS;
}

GLOBAL_FUNCTION int balance_from_pod_ipv6(ctx_t *ctx, struct packet *packet)
{
	return packet ? balance_from_pod(ctx, packet, IPV6) : VERDICT_PASS;
}

/* Not an answer to anybody: on its way to a Service, or nobody's business here. */
static __always_inline int judge_from_pod_family(ctx_t *ctx, struct packet *packet,
						 const int family)
{
	if (packet->parsed == PARSED_FOREIGN)
		return VERDICT_PASS;
	if (packet->parsed == PARSED_PORTS && is_own_answer(packet, family))
		return turn_back_family(ctx, packet, REASON_REPLY, family);
	if (!filter_admits(&packet->tuple.destination) &&
	    !filter_admits_network(&packet->tuple.destination))
		return VERDICT_PASS;
	if (packet->parsed != PARSED_PORTS)
		return judge_by_address(ctx, packet, packet->parsed, family);
	return family == IPV4 ? balance_from_pod_ipv4(ctx, packet)
			      : balance_from_pod_ipv6(ctx, packet);
}

#endif
