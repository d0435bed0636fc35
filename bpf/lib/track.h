/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the flow table remembers of a Service's flow.
 *
 *   node of the backend   two entries, mates: client -> frontend (TO_LOCAL) and backend -> client
 *                         (REPLY). They are in different sets and may be replaced one by one, so
 *                         each, once a tick, brings the other up to date, and the forward packet
 *                         puts a lost REPLY entry back.
 *   entry node            one entry (TO_REMOTE).
 *
 * When does a flow count as established, so that a flood can't push it out? On the backend's node
 * when the backend answers; for TCP not by the SYN-ACK, which it gives to a forged SYN too, but by
 * the first segment after it, for which it must have seen the client's acknowledgment. On an entry
 * node, which sees no answers, with the client's second packet.
 */
#ifndef WEIR_LIB_TRACK_H
#define WEIR_LIB_TRACK_H

#include "lib/flow.h"
#include "lib/lb.h"
#include "lib/verdict.h"

/* A Service's packet judged: which backend, on whose behalf. */
struct choice {
	__u32 backend_id;
	__u32 frontend_id;
};

static __always_inline __u8 flow_flags_of(const struct tuple *tuple)
{
	return tuple->protocol == IPPROTO_UDP ? FLOW_IS_UDP : 0;
}

static __always_inline enum flow_state first_state(const struct packet *packet)
{
	return is_last_packet(packet) ? FLOW_CLOSING : FLOW_HALF_OPEN;
}

static __always_inline void tuple_of_reply(struct tuple *reply, const struct tuple *forward,
					   const struct backend *backend)
{
	reply->source = backend->address;
	reply->source_port = backend->port;
	reply->destination = forward->source;
	reply->destination_port = forward->source_port;
	reply->protocol = forward->protocol;
}

static __always_inline bool track_reply(const struct tuple *forward, const struct backend *backend,
					__u32 frontend_id, enum flow_state state, const int family)
{
	struct flow_data data = {.index = frontend_id, .kind = FLOW_REPLY};
	struct tuple reply;
	struct flow_id id = {};

	tuple_of_reply(&reply, forward, backend);
	flow_identify(&id, &reply, family);
	data.flags = flow_flags_of(forward);
	if (endpoint_find(&forward->source))
		data.flags |= FLOW_CLIENT_IS_LOCAL;
	return flow_record(&id, &data, state);
}

/*
 * Remembers a new flow. False: it must not be forwarded, for its replies would leave untranslated.
 * Without its forward entry a flow still works: each of its packets is judged again, and judged
 * alike as long as the Service does not change. That is counted.
 */
static __always_inline bool track_new_flow(const struct packet *packet, const struct flow_id *id,
					   const struct choice *choice, const int family)
{
	const struct backend *backend = backend_find(choice->backend_id);
	struct flow_data data = {
	    .index = choice->backend_id,
	    .kind = FLOW_TO_REMOTE,
	    .flags = flow_flags_of(&packet->tuple),
	};
	enum flow_state state = first_state(packet);

	if (!backend)
		return false;
	if (backend->flags & BACKEND_LOCAL) {
		data.kind = FLOW_TO_LOCAL;
		if (!track_reply(&packet->tuple, backend, choice->frontend_id, state, family))
			return false;
	}
	if (!flow_record(id, &data, state))
		count_packet(packet, REASON_FLOW_SET_FULL);
	return true;
}

/* The once-a-tick visit of a forward packet to its REPLY entry. */
static __always_inline void refresh_reply(const struct packet *packet, __u32 backend_id,
					  enum flow_state state, const int family)
{
	const struct backend *backend = backend_find(backend_id);
	const struct frontend *frontend;
	struct flow_hit hit;
	struct tuple reply;
	struct flow_id id = {};

	if (!backend)
		return;
	tuple_of_reply(&reply, &packet->tuple, backend);
	flow_identify(&id, &reply, family);
	if (flow_find(&id, &hit)) {
		flow_touch(&hit, state);
		return;
	}
	frontend = frontend_find(&packet->tuple.destination, packet->tuple.destination_port,
				 packet->tuple.protocol);
	if (frontend)
		track_reply(&packet->tuple, backend, frontend->frontend_id, state, family);
}

GLOBAL_FUNCTION int track_new_flow_ipv4(const struct packet *packet, const struct flow_id *id,
					const struct choice *choice)
{
	return packet && id && choice && track_new_flow(packet, id, choice, IPV4);
}

GLOBAL_FUNCTION int track_new_flow_ipv6(const struct packet *packet, const struct flow_id *id,
					const struct choice *choice)
{
	return packet && id && choice && track_new_flow(packet, id, choice, IPV6);
}

GLOBAL_FUNCTION int refresh_reply_ipv4(const struct packet *packet, __u32 backend_id, __u32 state)
{
	if (packet)
		refresh_reply(packet, backend_id, state, IPV4);
	return 0;
}

GLOBAL_FUNCTION int refresh_reply_ipv6(const struct packet *packet, __u32 backend_id, __u32 state)
{
	if (packet)
		refresh_reply(packet, backend_id, state, IPV6);
	return 0;
}

/* A further packet of the client: moves the entry's state and time. */
static __always_inline void follow_forward(const struct packet *packet, const struct flow_hit *hit,
					   const int family)
{
	enum flow_state before = flow_state(hit->word);
	enum flow_state state = before;

	if (is_last_packet(packet))
		state = FLOW_CLOSING;
	else if (state == FLOW_HALF_OPEN && hit->kind == FLOW_TO_REMOTE)
		state = FLOW_ESTABLISHED;
	if (!flow_touch(hit, state) && state == before)
		return;
	if (hit->kind != FLOW_TO_LOCAL)
		return;
	if (family == IPV4)
		refresh_reply_ipv4(packet, hit->index, state);
	else
		refresh_reply_ipv6(packet, hit->index, state);
}

/* A packet of the backend: moves its entry, and the forward one when there is news. */
static __always_inline void follow_reply(const struct packet *packet, const struct flow_hit *hit,
					 const struct frontend_address *frontend, const int family)
{
	enum flow_state state = flow_state(hit->word);
	enum flow_state before = state;
	struct tuple forward = {
	    .source = packet->tuple.destination,
	    .source_port = packet->tuple.destination_port,
	    .destination = frontend->address,
	    .destination_port = frontend->port,
	    .protocol = packet->tuple.protocol,
	};
	struct flow_hit mate;
	struct flow_id id = {};

	if (is_last_packet(packet))
		state = FLOW_CLOSING;
	else if (state == FLOW_HALF_OPEN && !(packet->tcp_flags & TCP_SYN))
		state = FLOW_ESTABLISHED;
	if (!flow_touch(hit, state) && state == before)
		return;
	flow_identify(&id, &forward, family);
	if (flow_find(&id, &mate) && mate.kind == FLOW_TO_LOCAL)
		flow_touch(&mate, state);
}

#endif
