/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Backends on other nodes without a tunnel: the packet goes there from this node's own address and
 * a port that the flow owns, so that the answer comes back here.
 *
 *   TO_REMOTE_SNAT   client -> frontend: names the backend and the port
 *   SNAT_REPLY       backend -> this node and the port: names the frontend, its details the client
 *
 * The second one owns the port. It is claimed (lib/flow_claim.h), never written over another live
 * flow's, and the first one is nothing without it: with the first packet of every tick the port is
 * looked up and must still be this client's, else the packet is judged anew. So the two live and
 * die together although they lie in different sets.
 *
 * A port is one backend's: two flows to different backends may have the same.
 */
#ifndef WEIR_LIB_SNAT_H
#define WEIR_LIB_SNAT_H

#include "lib/flow_claim.h"
#include "lib/lb.h"
#include "lib/scratch.h"
#include "lib/verdict.h"

#define SNAT_TRIES 64
/* A prime, so that its steps come by every port of a range that it does not divide. */
#define SNAT_STEP 1009

/* Cheap first: nearly every packet fails at its port. */
static __always_inline bool is_to_snat_port(const struct packet *packet, const int family)
{
	__u16 port = bpf_ntohs(packet->tuple.destination_port);

	if (!node_config.snat_port_first || port < node_config.snat_port_first ||
	    port > node_config.snat_port_last)
		return false;
	return address_is_equal(&packet->tuple.destination, own_address(family));
}

/* Of packets without a port in sight: fragments of answers, and errors about what was sent. */
static __always_inline bool is_to_snat_address(const struct packet *packet, const int family)
{
	return node_config.snat_port_first &&
	       address_is_equal(&packet->tuple.destination, own_address(family));
}

static __always_inline void tuple_of_snat_reply(struct tuple *reply, const struct backend *backend,
						__be16 snat_port, __u32 protocol, const int family)
{
	reply->source = backend->address;
	reply->source_port = backend->port;
	reply->destination = *own_address(family);
	reply->destination_port = snat_port;
	reply->protocol = protocol;
}

/* The SNAT_REPLY entry of this packet's flow, if the port is still its own. */
static __always_inline bool snat_find_own(struct scratch *scratch, const struct packet *packet,
					  __u32 backend_id, __be16 snat_port, struct flow_hit *hit,
					  const int family)
{
	const struct backend *backend = bpf_map_lookup_elem(&backends, &backend_id);
	const struct frontend_address *frontend;
	struct flow_detail *detail = &scratch->detail;

	if (!backend)
		return false;
	tuple_of_snat_reply(&scratch->mate_tuple, backend, snat_port, packet->tuple.protocol,
			    family);
	flow_identify(&scratch->mate_id, &scratch->mate_tuple, family);
	if (!flow_find(&scratch->mate_id, hit) || hit->kind != FLOW_SNAT_REPLY)
		return false;
	frontend = bpf_map_lookup_elem(&frontend_addresses, &hit->index);
	if (!frontend || !flow_read_detail(hit, detail))
		return false;
	return detail->client_port == packet->tuple.source_port &&
	       address_is_equal(&detail->client, &packet->tuple.source) &&
	       frontend->port == packet->tuple.destination_port &&
	       address_is_equal(&frontend->address, &packet->tuple.destination);
}

/* The visit of a forward packet to its port. False: the port is another's by now, or nobody's. */
static __always_inline bool snat_confirm(const struct packet *packet, __u32 backend_id,
					 __be16 snat_port, enum flow_state state, const int family)
{
	struct scratch *scratch = scratch_find();
	struct flow_hit hit;

	if (!scratch || !snat_find_own(scratch, packet, backend_id, snat_port, &hit, family))
		return false;
	/* A race lost to the backend's packet is harmless, one lost to a new owner is not. */
	return flow_touch(&hit, state) != FLOW_TOUCHED_NOTHING || flow_is_still(&hit);
}

GLOBAL_FUNCTION int snat_confirm_ipv4(const struct packet *packet, __u32 backend_id,
				      __u32 snat_port, __u32 state)
{
	return packet && snat_confirm(packet, backend_id, snat_port, state, IPV4);
}

GLOBAL_FUNCTION int snat_confirm_ipv6(const struct packet *packet, __u32 backend_id,
				      __u32 snat_port, __u32 state)
{
	return packet && snat_confirm(packet, backend_id, snat_port, state, IPV6);
}

/* A further packet of the client. False: to be judged anew. */
static __always_inline bool snat_follow(const struct packet *packet, struct flow_hit *hit,
					enum flow_state events, const int family)
{
	enum flow_state state = flow_join(flow_state(hit->word), events);
	__u32 idle = flow_idle_ticks(hit->word, flow_now());
	bool is_own;

	if (idle == 0 && state == flow_state(hit->word))
		return true;
	is_own = family == IPV4 ? snat_confirm_ipv4(packet, hit->index, hit->snat_port, state)
				: snat_confirm_ipv6(packet, hit->index, hit->snat_port, state);
	if (is_own)
		flow_touch(hit, events);
	return is_own;
}

/* scratch->mate_tuple and ->data say the rest. */
static __always_inline enum flow_claimed snat_claim(__be16 port, enum flow_state state,
						    bool takes_left_over, const int family)
{
	struct scratch *scratch = scratch_find();

	if (!scratch)
		return FLOW_CLAIM_NO_PLACE;
	scratch->mate_tuple.destination_port = port;
	scratch->data.snat_port = port;
	flow_identify(&scratch->mate_id, &scratch->mate_tuple, family);
	return flow_claim(&scratch->mate_id, &scratch->data, state, takes_left_over);
}

GLOBAL_FUNCTION int snat_claim_ipv4(__u32 port, __u32 state, __u32 takes_left_over)
{
	return snat_claim(port, state, takes_left_over, IPV4);
}

GLOBAL_FUNCTION int snat_claim_ipv6(__u32 port, __u32 state, __u32 takes_left_over)
{
	return snat_claim(port, state, takes_left_over, IPV6);
}

static __always_inline enum flow_claimed snat_claim_family(__be16 port, enum flow_state state,
							   bool takes_left_over, const int family)
{
	return family == IPV4 ? snat_claim_ipv4(port, state, takes_left_over)
			      : snat_claim_ipv6(port, state, takes_left_over);
}

/*
 * A port of our own from a random place of the range on; network order, 0 when there is none. The
 * port of a connection that is over, or that nobody has answered, is taken only when no free one
 * was found: its backend may wait in TIME_WAIT or for the handshake's end, and then the first SYN
 * costs a round more.
 */
static __always_inline __be16 snat_allocate(enum flow_state state, const int family)
{
	__u32 ports = node_config.snat_port_last - node_config.snat_port_first + 1;
	__u32 place = bpf_get_prandom_u32() % ports;
	__u32 step = ports % SNAT_STEP ? SNAT_STEP % ports : 1;
	__be16 left_over = 0;

	for (__u32 i = 0; i < SNAT_TRIES && i < ports; i++) {
		__be16 port = bpf_htons(node_config.snat_port_first + place);
		enum flow_claimed claimed = snat_claim_family(port, state, false, family);

		if (claimed == FLOW_CLAIMED)
			return port;
		if (claimed == FLOW_CLAIM_LEFT_OVER)
			left_over = port;
		place += step;
		if (place >= ports)
			place -= ports;
	}
	if (left_over && snat_claim_family(left_over, state, true, family) == FLOW_CLAIMED)
		return left_over;
	return 0;
}

GLOBAL_FUNCTION int snat_allocate_ipv4(__u32 state)
{
	return snat_allocate(state, IPV4);
}

GLOBAL_FUNCTION int snat_allocate_ipv6(__u32 state)
{
	return snat_allocate(state, IPV6);
}

/* What the caller of snat_allocate() has to say of the flow first. */
static __always_inline void snat_describe(struct scratch *scratch, const struct packet *packet,
					  const struct backend *backend, __u32 frontend_id,
					  __u8 flags, const int family)
{
	struct flow_data *data = &scratch->data;

	tuple_of_snat_reply(&scratch->mate_tuple, backend, 0, packet->tuple.protocol, family);
	data->detail.client = packet->tuple.source;
	data->detail.client_port = packet->tuple.source_port;
	data->detail.protocol = packet->tuple.protocol;
	data->detail.ifindex_high = 0;
	data->detail.frontend_id = frontend_id;
	data->index = frontend_id;
	data->kind = FLOW_SNAT_REPLY;
	data->flags = flags;
}

/*
 * The same connection again, or another on its ports: an earlier port goes on with the same backend
 * (a SYN sent twice must not come from two ports), and is given back before another is asked. 0:
 * there is none.
 */
static __always_inline __be16 snat_again(const struct packet *packet, const struct flow_id *id,
					 __u32 backend_id, enum flow_state state, const int family)
{
	struct scratch *scratch = scratch_find();
	struct flow_hit earlier;
	struct flow_hit mate;

	if (!scratch || !flow_find(id, &earlier) || earlier.kind != FLOW_TO_REMOTE_SNAT)
		return 0;
	if (!snat_find_own(scratch, packet, earlier.index, earlier.snat_port, &mate, family))
		return 0;
	if (earlier.index != backend_id) {
		flow_free(&mate);
		return 0;
	}
	/* Not recorded, which would take the port from whoever has just claimed it. */
	return flow_restart(&mate, state) ? earlier.snat_port : 0;
}

GLOBAL_FUNCTION int snat_again_ipv4(const struct packet *packet, const struct flow_id *id,
				    __u32 backend_id, __u32 state)
{
	return packet && id ? snat_again(packet, id, backend_id, state, IPV4) : 0;
}

GLOBAL_FUNCTION int snat_again_ipv6(const struct packet *packet, const struct flow_id *id,
				    __u32 backend_id, __u32 state)
{
	return packet && id ? snat_again(packet, id, backend_id, state, IPV6) : 0;
}

/*
 * The port of a new flow, its SNAT_REPLY entry written; 0: none is to be had. Inlined into the
 * caller, for the two functions after each other need less stack than inside each other.
 */
static __always_inline __be16 snat_assign(const struct packet *packet, const struct flow_id *id,
					  __u32 backend_id, __u32 frontend_id, __u8 flags,
					  enum flow_state state, const int family)
{
	const struct backend *backend = backend_find(backend_id);
	struct scratch *scratch = scratch_find();
	__be16 port;

	if (!backend || !scratch || !node_config.snat_port_first)
		return 0;
	port = family == IPV4 ? snat_again_ipv4(packet, id, backend_id, state)
			      : snat_again_ipv6(packet, id, backend_id, state);
	if (port)
		return port;
	snat_describe(scratch, packet, backend, frontend_id, flags, family);
	return family == IPV4 ? snat_allocate_ipv4(state) : snat_allocate_ipv6(state);
}

/* Gives the port just assigned back: a flow without its forward entry would claim one more with
 * every packet. */
static __always_inline void snat_undo(void)
{
	struct scratch *scratch = scratch_find();
	struct flow_hit hit;

	if (scratch && flow_find(&scratch->mate_id, &hit) && hit.kind == FLOW_SNAT_REPLY)
		flow_free(&hit);
}

#endif
