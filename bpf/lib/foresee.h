/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Nothing in a datagram says whether it is its flow's first. To look for the flow is to wait for
 * memory that no cache holds, and when there is none, to wait again: for the entry of the answers,
 * whose place is known only with the backend. Of a SYN both entries are asked for at once.
 *
 * So the datagrams' destination is a hint, as addresses of branches are to a processor: a name
 * server's flows are one question each, and nearly each datagram begins one; of QUIC's hardly any
 * does. Where the last ones were first ones, the backend is chosen before the flow is looked for,
 * and the memory of both entries comes together. That is all: a flow that is found is followed, and
 * a wrong guess costs a look-up of the frontend, or saves none.
 *
 * Foreseen is what can be without a trace: no affinity, no lot, nothing that is refused.
 */
#ifndef WEIR_LIB_FORESEE_H
#define WEIR_LIB_FORESEE_H

#include "lib/affinity.h"
#include "lib/track.h"

/* A guess counts up with a flow's first datagram and down with a further one. */
#define GUESS_FIRST 2
#define GUESS_MAX   3

static __always_inline __u8 *guess_of(struct scratch *scratch, const struct packet *packet)
{
	const struct tuple *tuple = &packet->tuple;
	__u32 mixed = filter_fold(&tuple->destination) ^ tuple->destination_port;

	return &scratch->guesses[filter_mix(mixed) * WEIR_FILTER_MULTIPLIER >> (32 - GUESS_ORDER)];
}

static __always_inline bool is_guessed_first(struct scratch *scratch, const struct packet *packet)
{
	return packet->tuple.protocol == IPPROTO_UDP && *guess_of(scratch, packet) >= GUESS_FIRST;
}

static __always_inline void learn_first(struct scratch *scratch, const struct packet *packet)
{
	__u8 *guess = guess_of(scratch, packet);

	if (packet->tuple.protocol == IPPROTO_UDP && *guess < GUESS_MAX)
		++*guess;
}

/* Answers go to no Service, and say nothing about one. */
static __always_inline void learn_further(struct scratch *scratch, const struct packet *packet,
					  const struct flow_hit *hit)
{
	__u8 *guess = guess_of(scratch, packet);

	if (packet->tuple.protocol == IPPROTO_UDP && *guess && hit->kind != FLOW_REPLY &&
	    hit->kind != FLOW_SNAT_REPLY)
		--*guess;
}

static __always_inline bool is_foreseeable(const struct packet *packet,
					   const struct frontend *frontend)
{
	return !packet->is_tunnelled &&
	       !(frontend->flags & (FRONTEND_SOCKET_ONLY | FRONTEND_RANDOM)) &&
	       !frontend->affinity_ticks && !is_from_service(packet) &&
	       frontend_admits(frontend, &packet->tuple.source);
}

static __always_inline void foresee(struct packet *packet, const int family)
{
	struct scratch *scratch = scratch_find();
	const struct frontend *frontend = frontend_find(
	    &packet->tuple.destination, packet->tuple.destination_port, packet->tuple.protocol);
	const struct backend *backend;
	struct choice *choice;

	if (!scratch || !frontend || !is_foreseeable(packet, frontend))
		return;
	choice = &scratch->choice;
	choice->frontend_id = frontend->frontend_id;
	choice->is_drawn = false;
	choice->is_of_node = is_of_node(frontend);
	choice->backend_id =
	    range_choose(range_from_outside(frontend), tuple_hash(&packet->tuple, family));
	backend = backend_find(choice->backend_id);
	if (!backend)
		return;
	choice->kind = way_to_backend(frontend, backend);
	fetch_entries(scratch, packet, &scratch->id, choice->kind, backend, family);
	packet->is_foreseen = true;
}

GLOBAL_FUNCTION int foresee_ipv4(struct packet *packet)
{
	if (packet)
		foresee(packet, IPV4);
	return 0;
}

GLOBAL_FUNCTION int foresee_ipv6(struct packet *packet)
{
	if (packet)
		foresee(packet, IPV6);
	return 0;
}

#endif
