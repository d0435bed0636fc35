/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the flow table remembers of a Service's flow.
 *
 *   node of the backend   two entries, mates: client -> frontend (TO_LOCAL) and backend -> client
 *                         (REPLY). They are in different sets and may be replaced one by one, so
 *                         each, once a tick, brings the other up to date, and the forward packet
 *                         puts a lost REPLY entry back; before the backend has answered, each of
 *                         TCP does, and is dropped when there is no place.
 *   entry node            one entry (TO_REMOTE), or the two of a masqueraded flow (lib/snat.h).
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
#include "lib/scratch.h"
#include "lib/snat.h"
#include "lib/verdict.h"

static __always_inline __u8 flow_flags_of(const struct tuple *tuple)
{
	return tuple->protocol == IPPROTO_UDP ? FLOW_IS_UDP : 0;
}

/* Of the client's half, and of what leads its answers back to this node. A pod's device alone says
 * that the client is local: what comes by an uplink from such an address is nobody's. */
static __always_inline __u8 client_flags_of(const struct tuple *tuple)
{
	return flow_flags_of(tuple) | (WEIR_POD_DEVICE ? FLOW_CLIENT_IS_LOCAL : 0);
}

static __always_inline bool is_of_node(const struct frontend *frontend)
{
	return frontend->flags & FRONTEND_OF_NODE;
}

static __always_inline bool has_reply_entry(__u8 kind)
{
	return kind == FLOW_TO_LOCAL || kind == FLOW_TO_REMOTE_PLAIN;
}

/* Both entries of a flow say the same of its client. */
static __always_inline void detail_fill(struct flow_detail *detail, const struct tuple *forward,
					__u32 frontend_id)
{
	detail->client = forward->source;
	detail->client_port = forward->source_port;
	detail->protocol = forward->protocol;
	detail->ifindex_high = 0;
	detail->frontend_id = frontend_id;
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

/* Where a flow's REPLY entry is: scratch->mate_id. */
static __always_inline void identify_reply(struct scratch *scratch, const struct tuple *forward,
					   const struct backend *backend, const int family)
{
	tuple_of_reply(&scratch->mate_tuple, forward, backend);
	flow_identify(&scratch->mate_id, &scratch->mate_tuple, family);
}

/* Asks for the memory of what a new flow will write; says where its REPLY entry is, if any. */
static __always_inline void fetch_entries(struct scratch *scratch, const struct packet *packet,
					  const struct flow_id *id, __u8 kind,
					  const struct backend *backend, const int family)
{
	if (has_reply_entry(kind)) {
		identify_reply(scratch, &packet->tuple, backend, family);
		flow_fetch(&scratch->mate_id);
	}
	flow_fetch(id);
}

/* What policy's verdict leaves in an entry (lib/police.h). */
static __always_inline __be16 mark_of(__u32 generation)
{
	return node_config.enforces_policy ? bpf_htons(generation) : 0;
}

/* Of the backend's half. An uplink's program takes of local clients what a tunnel brings alone. */
static __always_inline __u8 reply_flags_of(const struct tuple *forward)
{
	const __u8 of_local = FLOW_CLIENT_IS_LOCAL | (WEIR_POD_DEVICE ? 0 : FLOW_LEAVES);

	return flow_flags_of(forward) | (endpoint_find(&forward->source) ? of_local : 0);
}

/* scratch->mate_id says where, `mark` what policy said of the backend's end. */
static __always_inline bool track_reply(struct scratch *scratch, const struct tuple *forward,
					__u32 frontend_id, enum flow_state state, __be16 mark)
{
	struct flow_data *data = &scratch->data;

	detail_fill(&data->detail, forward, frontend_id);
	data->index = frontend_id;
	data->kind = FLOW_REPLY;
	data->snat_port = mark;
	data->flags = reply_flags_of(forward);
	return flow_record(&scratch->mate_id, data, state);
}

/*
 * The REPLY entry of a packet that was judged. Later packets of a flow come here too when its
 * forward entry found no place: what their REPLY entry has come to stays, or the next SYN of
 * anybody would take an established flow's place.
 */
static __always_inline bool hold_reply(struct scratch *scratch, const struct packet *packet,
				       __u32 frontend_id)
{
	enum flow_state state = events_of_client(packet);
	struct flow_hit hit;

	if (!is_first_packet(packet) && flow_find(&scratch->mate_id, &hit) &&
	    hit.kind == FLOW_REPLY && hit.index == frontend_id) {
		flow_touch(&hit, state);
		return true;
	}
	return track_reply(scratch, &packet->tuple, frontend_id, state,
			   mark_of(scratch->reply_generation));
}

/*
 * Remembers a new flow. REASON_UNSPECIFIED: done; else why it must not be forwarded, for its
 * replies would leave untranslated. Without its forward entry a flow still works, unless
 * masqueraded or drawn by lot: each of its packets is judged again, and judged alike as long as the
 * Service does not change. That is counted.
 */
static __always_inline enum verdict_reason track_new_flow(const struct packet *packet,
							  const struct flow_id *id,
							  const struct choice *choice,
							  const int family)
{
	const struct backend *backend = backend_find(choice->backend_id);
	enum flow_state state = events_of_client(packet);
	struct scratch *scratch = scratch_find();
	struct flow_data *data;

	if (!backend || !scratch)
		return REASON_FLOW_SET_FULL;
	if (!packet->is_foreseen)
		fetch_entries(scratch, packet, id, choice->kind, backend, family);
	if (has_reply_entry(choice->kind) && !hold_reply(scratch, packet, choice->frontend_id))
		return REASON_FLOW_SET_FULL;
	data = &scratch->data;
	detail_fill(&data->detail, &packet->tuple, choice->frontend_id);
	data->index = choice->backend_id;
	data->kind = choice->kind;
	data->flags = client_flags_of(&packet->tuple) | (choice->is_of_node ? FLOW_OF_NODE : 0);
	data->snat_port = choice->snat_port ?: mark_of(scratch->generation);
	if (flow_record(id, data, state))
		return REASON_UNSPECIFIED;
	if (choice->kind == FLOW_TO_REMOTE_SNAT || choice->is_drawn)
		return REASON_FLOW_SET_FULL;
	count_packet(packet, REASON_FLOW_SET_FULL);
	return REASON_UNSPECIFIED;
}

/*
 * One port of a client can reach one backend through several frontends, and the last to begin has
 * the answers' entry. It may have been a forged packet: the flow that goes on takes it back. So
 * does one without an answer yet from what the backend seemed to begin while it had no entry.
 */
static __always_inline bool is_taken_over(const struct flow_hit *reply,
					  const struct frontend *frontend, enum flow_state state)
{
	if (reply->kind == FLOW_POD)
		return !(state & WEIR_FLOW_ANSWERED);
	return frontend && reply->kind == FLOW_REPLY && reply->index != frontend->frontend_id;
}

/* The visit of a forward packet to its REPLY entry: `state` is what its own has come to. False: it
 * is lost, and there is no place for it. */
static __always_inline bool refresh_reply(const struct packet *packet, __u32 backend_id,
					  enum flow_state state, const int family)
{
	const struct backend *backend = backend_find(backend_id);
	struct scratch *scratch = scratch_find();
	const struct frontend *frontend;
	struct flow_hit hit;

	if (!backend || !scratch)
		return true;
	identify_reply(scratch, &packet->tuple, backend, family);
	frontend = frontend_find(&packet->tuple.destination, packet->tuple.destination_port,
				 packet->tuple.protocol);
	if (flow_find(&scratch->mate_id, &hit) && !is_taken_over(&hit, frontend, state)) {
		flow_touch(&hit, state);
		return true;
	}
	return !frontend || track_reply(scratch, &packet->tuple, frontend->frontend_id, state, 0);
}

GLOBAL_FUNCTION int track_new_flow_ipv4(const struct packet *packet, const struct flow_id *id,
					const struct choice *choice)
{
	return packet && id && choice ? track_new_flow(packet, id, choice, IPV4)
				      : REASON_FLOW_SET_FULL;
}

GLOBAL_FUNCTION int track_new_flow_ipv6(const struct packet *packet, const struct flow_id *id,
					const struct choice *choice)
{
	return packet && id && choice ? track_new_flow(packet, id, choice, IPV6)
				      : REASON_FLOW_SET_FULL;
}

GLOBAL_FUNCTION int refresh_reply_ipv4(const struct packet *packet, __u32 backend_id, __u32 state)
{
	return !packet || refresh_reply(packet, backend_id, state, IPV4);
}

GLOBAL_FUNCTION int refresh_reply_ipv6(const struct packet *packet, __u32 backend_id, __u32 state)
{
	return !packet || refresh_reply(packet, backend_id, state, IPV6);
}

/*
 * Nothing of its backend has come but a SYN-ACK: until then a flood may have pushed its REPLY entry
 * out, and what the backend says next would be nobody's answer. Each such packet looks for it.
 */
static __always_inline bool awaits_answer(const struct flow_hit *hit)
{
	return !(hit->flags & FLOW_IS_UDP) && !(flow_state(hit->word) & WEIR_FLOW_ANSWERED);
}

enum followed {
	FOLLOWED_VOID,	   /* the entry is: the packet is to be judged anew */
	FOLLOWED_UNPLACED, /* its answers have no place: it must not go on */
	FOLLOWED,
};

/* A further packet of the client: adds to the entry's state and renews its time. */
static __always_inline enum followed follow_forward(const struct packet *packet,
						    struct flow_hit *hit, const int family)
{
	enum flow_state events = events_of_client(packet);
	bool is_placed;

	if (hit->kind == FLOW_TO_REMOTE_SNAT)
		return snat_follow(packet, hit, events, family) ? FOLLOWED : FOLLOWED_VOID;
	if (flow_is_one_sided(hit->kind))
		events |= WEIR_FLOW_ANSWERED;
	if ((flow_touch(hit, events) == FLOW_TOUCHED_NOTHING && !awaits_answer(hit)) ||
	    !has_reply_entry(hit->kind))
		return FOLLOWED;
	is_placed = family == IPV4 ? refresh_reply_ipv4(packet, hit->index, flow_state(hit->word))
				   : refresh_reply_ipv6(packet, hit->index, flow_state(hit->word));
	return is_placed || !awaits_answer(hit) ? FOLLOWED : FOLLOWED_UNPLACED;
}

/*
 * A SYN-ACK where none can come: a SYN through the frontend would have begun the entry anew. The
 * client has used the port again, for the backend's own address. Of a silent connection it is told
 * by time alone, for with TCP Fast Open (RFC 7413) a SYN-ACK may be sent again behind data.
 */
static __always_inline bool answers_past_us(const struct packet *packet, const struct flow_hit *hit)
{
	enum flow_state state = flow_state(hit->word);

	if ((packet->tcp_flags & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK))
		return false;
	return state == FLOW_CLOSING ||
	       (state & WEIR_FLOW_ANSWERED &&
		flow_idle_ticks(hit->word, flow_now()) > WEIR_FLOW_IDLE_HALF_OPEN);
}

/* The frontend whose answer this packet of a backend is, and its REPLY entry; NULL: nobody's. */
static __always_inline const struct frontend_address *
find_answered(const struct packet *packet, const struct flow_id *id, struct flow_hit *hit)
{
	const struct frontend_address *frontend;

	if (!flow_find(id, hit) || hit->kind != FLOW_REPLY)
		return NULL;
	frontend = bpf_map_lookup_elem(&frontend_addresses, &hit->index);
	if (!frontend || frontend->protocol != packet->tuple.protocol)
		return NULL;
	if (!answers_past_us(packet, hit))
		return frontend;
	flow_free(hit);
	return NULL;
}

/* Is `forward` the client's half of the flow whose other half is `reply`? */
static __always_inline bool flow_is_mate(const struct flow_hit *reply,
					 const struct flow_hit *forward)
{
	if (reply->kind == FLOW_SNAT_REPLY)
		return forward->kind == FLOW_TO_REMOTE_SNAT &&
		       forward->snat_port == reply->snat_port;
	return has_reply_entry(forward->kind);
}

/* A packet of the backend: moves its entry, and the forward one when there is news. The client is
 * where the packet goes, or whom the details name. */
static __always_inline void follow_reply(const struct packet *packet, struct flow_hit *hit,
					 const struct address *client, __be16 client_port,
					 const struct frontend_address *frontend, const int family)
{
	struct scratch *scratch = scratch_find();
	struct tuple *forward;
	struct flow_hit mate;

	if (flow_touch(hit, events_of_backend(packet)) == FLOW_TOUCHED_NOTHING || !scratch)
		return;
	forward = &scratch->mate_tuple;
	forward->source = *client;
	forward->source_port = client_port;
	forward->destination = frontend->address;
	forward->destination_port = frontend->port;
	forward->protocol = packet->tuple.protocol;
	flow_identify(&scratch->mate_id, forward, family);
	if (flow_find(&scratch->mate_id, &mate) && flow_is_mate(hit, &mate))
		flow_touch(&mate, flow_state(hit->word));
}

#endif
