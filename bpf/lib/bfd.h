/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * BFD (RFC 5880), single hop (RFC 5881), asynchronous, answered where the packet comes in. The
 * neighbour's packets are the clock: each is judged, moves the state machine, and goes back as our
 * own when we are due, so keeping a session up needs no process, and proves that this program runs.
 * What we say of our interval is therefore never less than the neighbour's. The first packet of a
 * neighbour that waits to be spoken to comes from user space (agent/bfd.ts); so do packets of a
 * session that hears nothing.
 *
 * Silence is found by a timer for each session, which also takes the neighbour's uplink out of use:
 * bfd_mark().
 *
 * Packets of neighbours without a session here are not ours: they pass.
 */
#ifndef WEIR_LIB_BFD_H
#define WEIR_LIB_BFD_H

#include "lib/bfd_machine.h"
#include "lib/ctx.h"
#include "lib/refuse.h"
#include "lib/unfinished.h"

#define BFD_VERSION	  1
#define BFD_HOPS	  255
#define BFD_TRAFFIC_CLASS 0xc0 /* network control */
#define BFD_UDP_BYTES	  ((__u32)(sizeof(struct udphdr) + WEIR_BFD_CONTROL_BYTES))

struct bfd_packet {
	struct udphdr udp;
	struct bfd_control control;
};

_Static_assert(sizeof(struct bfd_control) == WEIR_BFD_CONTROL_BYTES, "as RFC 5880 4.1 has it");

static __always_inline bool is_bfd(const struct packet *packet)
{
	return packet->tuple.destination_port == bpf_htons(WEIR_BFD_PORT) &&
	       packet->parsed == PARSED_PORTS && packet->tuple.protocol == IPPROTO_UDP;
}

/* A frame that never was on a wire may lack its checksum, see lib/unfinished.h; at tc it is not
 * told from a wrong one. */
static __always_inline bool bfd_checksum_holds(const struct packet *packet,
					       const struct bfd_packet *received, const int family)
{
	__u64 pseudo_header = pseudo_header_sum(&packet->tuple, IPPROTO_UDP, BFD_UDP_BYTES);

	if (!received->udp.check)
		return family == IPV4;
	if (node_config.redirects_only && received->udp.check == csum_fold(pseudo_header))
		return true;
	return csum_fold(csum_add_words(pseudo_header, received, sizeof(*received) / 4)) == 0xffff;
}

/* RFC 5880 6.8.6 up to the selection of the session, RFC 5881 5. BFD_REFUSAL_COUNT: it is good. */
static __always_inline enum bfd_refusal bfd_check(const struct packet *packet,
						  const struct bfd_packet *received,
						  const struct bfd_session *session,
						  const int family)
{
	const struct bfd_control *control = &received->control;
	__u32 state = control->flags >> BFD_STATE_SHIFT;

	if (packet->ttl != BFD_HOPS)
		return BFD_REFUSED_HOPS;
	if (control->flags & BFD_AUTHENTICATED)
		return BFD_REFUSED_AUTHENTICATED;
	/* Without authentication a packet has this length and no other. */
	if (control->version >> BFD_VERSION_SHIFT != BFD_VERSION ||
	    control->bytes != sizeof(*control) || received->udp.len != bpf_htons(BFD_UDP_BYTES) ||
	    !control->multiplier || !control->discriminator || control->flags & BFD_MULTIPOINT ||
	    (control->flags & BFD_POLL && control->flags & BFD_FINAL))
		return BFD_REFUSED_MALFORMED;
	if (!bfd_checksum_holds(packet, received, family))
		return BFD_REFUSED_CHECKSUM;
	if (control->your_discriminator
		? control->your_discriminator != bpf_htonl(session->discriminator)
		: state > BFD_DOWN)
		return BFD_REFUSED_DISCRIMINATOR;
	return BFD_REFUSAL_COUNT;
}

/* In place of the packet: ours, to where it came from. */
static __always_inline int bfd_send(ctx_t *ctx, const struct packet *packet,
				    const struct bfd_control *control, __u32 row, const int family)
{
	const struct answer_class class = {.hops = BFD_HOPS, .traffic_class = BFD_TRAFFIC_CLASS};
	const int ip_bytes = IP_HEADER_BYTES(family);
	struct bfd_packet *sent;
	void *data, *ip;
	__u64 sum;

	if (!ctx_resize(ctx, packet->l3_offset + ip_bytes + sizeof(*sent)))
		return VERDICT_DROP;
	data = ctx_data(ctx);
	ip = packet_l3(data, packet);
	sent = ip + ip_bytes;
	if ((void *)(sent + 1) > ctx_data_end(ctx) ||
	    data + sizeof(struct ethhdr) > ctx_data_end(ctx))
		return VERDICT_DROP;
	ethernet_swap(data);
	answer_write_ip(ip, packet, IPPROTO_UDP, sizeof(*sent), class, family);
	sent->udp.source = bpf_htons(WEIR_BFD_SOURCE_PORT + row);
	sent->udp.dest = bpf_htons(WEIR_BFD_PORT);
	sent->udp.len = bpf_htons(sizeof(*sent));
	sent->udp.check = 0;
	sent->control = *control;
	sum = pseudo_header_sum(&packet->tuple, IPPROTO_UDP, sizeof(*sent));
	sum = csum_add_words(sum, sent, sizeof(*sent) / 4);
	/* Zero would say that there is none. */
	sent->udp.check = csum_finish(sum) ?: 0xffff;
	return ctx_leave_by(ctx, ctx_ingress_ifindex(ctx));
}

static __always_inline int bfd_refuse(const struct packet *packet, struct bfd_state *state,
				      enum bfd_refusal refusal)
{
	if (refusal < BFD_REFUSAL_COUNT)
		state->refused[refusal]++;
	packet_drop(packet, REASON_BFD_REFUSED);
	return VERDICT_DROP;
}

static __always_inline int bfd_take(ctx_t *ctx, const struct packet *packet,
				    const struct bfd_session *session, struct bfd_state *state,
				    const int family)
{
	struct bfd_packet *start = packet_l4(ctx_data(ctx), packet);
	struct bfd_packet received;
	enum bfd_refusal refusal;

	if (packet->l4_offset != packet->l3_offset + IP_HEADER_BYTES(family) ||
	    (void *)(start + 1) > ctx_data_end(ctx))
		return bfd_refuse(packet, state, BFD_REFUSED_MALFORMED);
	received = *start;
	refusal = bfd_check(packet, &received, session, family);
	if (refusal < BFD_REFUSAL_COUNT)
		return bfd_refuse(packet, state, refusal);
	count_packet(packet, REASON_BFD);
	state->ifindex = packet->ifindex;
	if (!bfd_hear(session, state, &received.control))
		return VERDICT_DROP;
	return bfd_send(ctx, packet, &received.control, session->row, family);
}

/* NOT_BOUND: of no session. A function of its own for its stack. */
GLOBAL_FUNCTION int bfd_receive(ctx_t *ctx, const struct packet *packet)
{
	const struct bfd_session *session;
	struct bfd_state *state;
	struct bfd_key key = {};
	__u32 row;

	if (!packet)
		return VERDICT_ABORTED;
	key.peer = packet->tuple.source;
	key.ifindex = packet->ifindex;
	session = bpf_map_lookup_elem(&bfd_sessions, &key);
	if (!session)
		return NOT_BOUND;
	if (session->discriminator == 0 ||
	    (!address_is_none(&session->local) &&
	     !address_is_equal(&session->local, &packet->tuple.destination)))
		return NOT_BOUND;
	row = session->row;
	state = bpf_map_lookup_elem(&bfd_states, &row);
	if (!state)
		return NOT_BOUND;
	return address_is_ipv4(&packet->tuple.source) ? bfd_take(ctx, packet, session, state, IPV4)
						      : bfd_take(ctx, packet, session, state, IPV6);
}

#endif
