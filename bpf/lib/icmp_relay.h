/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP errors that come by an uplink (or out of a tunnel) about packets that this Service's
 * backends sent: brought to the end that they are for, so that path MTU discovery works through a
 * VIP as it does to a host.
 *
 * The quoted packet went from the frontend to the client; its flow is known by the reversed tuple.
 * A router may bring the error to another node than the flow's: there the same table chooses the
 * same backend. Errors go through the tunnel as they came, with the choice, and are translated on
 * the backend's node like any other.
 *
 * Of a masqueraded flow only the node that owns the port can tell; elsewhere its errors end.
 */
#ifndef WEIR_LIB_ICMP_RELAY_H
#define WEIR_LIB_ICMP_RELAY_H

#include "lib/affinity.h"
#include "lib/deliver.h"
#include "lib/icmp.h"
#include "lib/snat.h"

enum error_way {
	ERROR_UNKNOWN,	 /* no error, or nobody's */
	ERROR_TO_POD,	 /* translated, to scratch->error_backend_id, or by the stack */
	ERROR_BY_TUNNEL, /* untouched, to scratch->error_backend_id */
	ERROR_ROUTED,	 /* translated, out by an uplink */
};

static __always_inline bool error_to_backend(struct quoted *quoted, __u32 backend_id)
{
	const struct backend *backend = backend_find(backend_id);

	if (!backend)
		return false;
	quoted->after.source = backend->address;
	quoted->after.source_port = backend->port;
	return true;
}

static __always_inline enum error_way error_way_to(struct scratch *scratch, __u32 backend_id)
{
	const struct backend *backend = backend_find(backend_id);

	if (!backend || !error_to_backend(&scratch->quoted, backend_id))
		return ERROR_UNKNOWN;
	scratch->error_backend_id = backend_id;
	return backend->flags & BACKEND_LOCAL ? ERROR_TO_POD : ERROR_BY_TUNNEL;
}

/* The quoted packet carried this node's port: the error is the client's. */
static __always_inline enum error_way error_to_masqueraded(struct scratch *scratch,
							   const struct flow_hit *hit)
{
	__u32 row = hit->index;
	const struct frontend_address *frontend = bpf_map_lookup_elem(&frontend_addresses, &row);
	struct flow_detail *detail = &scratch->detail;

	if (!frontend || !flow_read_detail(hit, detail))
		return ERROR_UNKNOWN;
	scratch->quoted.after.source = detail->client;
	scratch->quoted.after.source_port = detail->client_port;
	scratch->quoted.after.destination = frontend->address;
	scratch->quoted.after.destination_port = frontend->port;
	return ERROR_ROUTED;
}

/* The quoted packet is one that a pod of this node sent to a backend elsewhere, translated by its
 * device: the stack brings the error to the pod. */
static __always_inline enum error_way error_to_client_pod(struct scratch *scratch,
							  const struct flow_hit *hit)
{
	__u32 row = hit->index;
	const struct frontend_address *frontend = bpf_map_lookup_elem(&frontend_addresses, &row);

	if (!frontend || frontend->protocol != scratch->quoted.before.protocol)
		return ERROR_UNKNOWN;
	scratch->quoted.after.destination = frontend->address;
	scratch->quoted.after.destination_port = frontend->port;
	scratch->error_backend_id = 0;
	return ERROR_TO_POD;
}

static __always_inline enum error_way error_follow(struct scratch *scratch,
						   const struct packet *packet,
						   const struct flow_hit *hit, const int family)
{
	switch (hit->kind) {
	case FLOW_TO_LOCAL:
		return error_way_to(scratch, hit->index);
	case FLOW_TO_REMOTE:
		return packet->is_tunnelled ? ERROR_UNKNOWN : error_way_to(scratch, hit->index);
	case FLOW_SNAT_REPLY:
		return error_to_masqueraded(scratch, hit);
	case FLOW_REPLY:
		return error_to_client_pod(scratch, hit);
	case FLOW_TO_REMOTE_SNAT:
		if (!error_to_backend(&scratch->quoted, hit->index))
			return ERROR_UNKNOWN;
		scratch->quoted.after.destination = *own_address(family);
		scratch->quoted.after.destination_port = hit->snat_port;
		return ERROR_ROUTED;
	default:
		return ERROR_UNKNOWN;
	}
}

/* Where the flow's own packets would be sent from here, by the table alone. */
static __always_inline enum error_way error_choose(struct scratch *scratch,
						   const struct tuple *forward, const int family)
{
	const struct frontend *frontend =
	    frontend_find(&forward->destination, forward->destination_port, forward->protocol);
	__u32 number;

	if (!frontend || frontend->flags & (FRONTEND_SOCKET_ONLY | FRONTEND_RANDOM))
		return ERROR_UNKNOWN;
	/* The backend knows the node that the flow came by as its client, and that is not this one.
	 */
	if (!(frontend->flags & FRONTEND_DSR))
		return ERROR_UNKNOWN;
	number =
	    frontend->affinity_ticks ? client_hash(&forward->source) : tuple_hash(forward, family);
	return error_way_to(scratch, range_choose(range_from_outside(frontend), number));
}

/* Out of a tunnel without a choice: by the same table, if it names a backend of this node. */
static __always_inline enum error_way
error_choose_here(struct scratch *scratch, const struct tuple *forward, const int family)
{
	enum error_way way = error_choose(scratch, forward, family);

	return way == ERROR_TO_POD ? way : ERROR_UNKNOWN;
}

static __always_inline enum error_way error_trace(ctx_t *ctx, const struct packet *packet,
						  const int family)
{
	struct scratch *scratch = scratch_find();
	enum error_way way = ERROR_UNKNOWN;
	struct flow_hit hit;

	if (!scratch || !quoted_parse(ctx, packet, &scratch->quoted, family))
		return ERROR_UNKNOWN;
	tuple_reverse(&scratch->mate_tuple, &scratch->quoted.before);
	flow_identify(&scratch->mate_id, &scratch->mate_tuple, family);
	if (flow_find(&scratch->mate_id, &hit))
		way = error_follow(scratch, packet, &hit, family);
	if (way != ERROR_UNKNOWN)
		return way;
	if (packet->is_tunnelled == TUNNELLED_UNCHOSEN)
		return error_choose_here(scratch, &scratch->mate_tuple, family);
	if (packet->is_tunnelled)
		return error_way_to(scratch, find_chosen_backend(scratch->mate_tuple.protocol));
	return error_choose(scratch, &scratch->mate_tuple, family);
}

GLOBAL_FUNCTION int error_trace_ipv4(ctx_t *ctx, const struct packet *packet)
{
	return packet ? error_trace(ctx, packet, IPV4) : ERROR_UNKNOWN;
}

GLOBAL_FUNCTION int error_trace_ipv6(ctx_t *ctx, const struct packet *packet)
{
	return packet ? error_trace(ctx, packet, IPV6) : ERROR_UNKNOWN;
}

static __always_inline const struct nexthop_member *error_member(const struct scratch *scratch,
								 const struct packet *packet,
								 enum error_way way,
								 const int family)
{
	const struct backend *backend = backend_find(scratch->error_backend_id);
	const struct nexthop *nexthop;

	if (way == ERROR_ROUTED) {
		nexthop = nexthop_find_uplinks(family);
		return nexthop ? nexthop_choose_member(
				     nexthop, path_hash(tuple_hash(&packet->tuple, family)))
			       : NULL;
	}
	/* Where policy is enforced the pod's device looks whether it is about what is allowed. */
	if (node_config.enforces_policy)
		return NULL;
	nexthop = backend ? nexthop_find(backend->nexthop_id) : NULL;
	if (!nexthop || nexthop->kind != NEXTHOP_KIND_DEVICE ||
	    !(nexthop->flags & NEXTHOP_REDIRECT))
		return NULL;
	return nexthop_choose_member(nexthop, 0);
}

/* Translated as scratch->quoted says; by the stack where no device is known. */
static __always_inline int error_deliver(ctx_t *ctx, const struct packet *packet,
					 enum error_way way, const int family)
{
	struct scratch *scratch = scratch_find();
	const struct nexthop_member *member;

	if (!scratch)
		return VERDICT_ABORTED;
	member = error_member(scratch, packet, way, family);
	if (member && packet->ttl <= 1)
		return drop(packet, REASON_TTL_EXCEEDED);
	if (!error_translate(ctx, packet, member ? 1 : 0, family))
		return drop(packet, REASON_MALFORMED);
	if (member && !write_way(ctx, packet, member, family))
		return drop(packet, REASON_MALFORMED);
	count_packet(packet, REASON_ICMP_RELAYED);
	return member ? ctx_leave_by(ctx, member->ifindex) : VERDICT_PASS;
}

GLOBAL_FUNCTION int error_deliver_ipv4(ctx_t *ctx, const struct packet *packet, __u32 way)
{
	return packet ? error_deliver(ctx, packet, way, IPV4) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int error_deliver_ipv6(ctx_t *ctx, const struct packet *packet, __u32 way)
{
	return packet ? error_deliver(ctx, packet, way, IPV6) : VERDICT_ABORTED;
}

/* NOT_BOUND: it is no error, or none that this node can bring anywhere. */
static __always_inline int relay_error(ctx_t *ctx, struct packet *packet, const int family)
{
	const struct scratch *scratch = scratch_find();
	enum error_way way;

	packet->tuple.source_port = 0;
	packet->tuple.destination_port = 0;
	way = family == IPV4 ? error_trace_ipv4(ctx, packet) : error_trace_ipv6(ctx, packet);
	if (way == ERROR_UNKNOWN || !scratch)
		return NOT_BOUND;
	if (way == ERROR_BY_TUNNEL)
		return deliver_family(ctx, packet, scratch->error_backend_id, family);
	return family == IPV4 ? error_deliver_ipv4(ctx, packet, way)
			      : error_deliver_ipv6(ctx, packet, way);
}

/* Functions of their own because judge() and what is below this would exceed the stack together. */
GLOBAL_FUNCTION int relay_error_ipv4(ctx_t *ctx, struct packet *packet)
{
	return packet ? relay_error(ctx, packet, IPV4) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int relay_error_ipv6(ctx_t *ctx, struct packet *packet)
{
	return packet ? relay_error(ctx, packet, IPV6) : VERDICT_ABORTED;
}

#endif
