/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Routers move a connection to another node while the set of its backends changes: that node's
 * table may name a backend that never heard of it. So a packet in the middle of a connection, met
 * without a flow, carries a second choice, that of the table before the change; a node that holds
 * no state for it passes it on there, and remembers that it does. Passed on once, it goes no
 * further: the option then names the same backend twice.
 *
 * Of UDP no packet is known to be the middle of anything: the table of now decides.
 */
#ifndef WEIR_LIB_SECOND_CHOICE_H
#define WEIR_LIB_SECOND_CHOICE_H

#include "lib/affinity.h"
#include "lib/scratch.h"
#include "lib/track.h"

/* What the table before the last change says; 0: nothing. */
static __always_inline __u32 choose_before(const struct packet *packet,
					   const struct frontend *frontend, const int family)
{
	if (frontend->flags & FRONTEND_RANDOM || !(frontend->flags & FRONTEND_DSR))
		return 0;
	return range_choose(range_before_from_outside(frontend),
			    number_from_outside(packet, frontend, family));
}

/* The node of the backend, when the entry node's choice did not come along: the same table's, that
 * of before, else anything that is here. */
static __always_inline __u32 choose_here(const struct packet *packet,
					 const struct frontend *frontend, const int family)
{
	__u32 number = number_from_outside(packet, frontend, family);
	__u32 chosen = local_or_none(range_choose(range_from_outside(frontend), number));

	if (!chosen && !is_first_packet(packet))
		chosen = local_or_none(range_choose(range_before_from_outside(frontend), number));
	return chosen ?: local_or_none(range_choose(&frontend->local, number));
}

GLOBAL_FUNCTION int choose_here_ipv4(const struct packet *packet, const struct frontend *frontend)
{
	return packet && frontend ? choose_here(packet, frontend, IPV4) : 0;
}

GLOBAL_FUNCTION int choose_here_ipv6(const struct packet *packet, const struct frontend *frontend)
{
	return packet && frontend ? choose_here(packet, frontend, IPV6) : 0;
}

static __always_inline bool may_have_state_elsewhere(const struct packet *packet)
{
	return packet->tuple.protocol != IPPROTO_UDP && !is_first_packet(packet) &&
	       packet->is_tunnelled <= TUNNELLED_CHOSEN;
}

/* The answers' entry may outlive the client's. */
static __always_inline bool is_answering(const struct packet *packet, const struct backend *backend,
					 const int family)
{
	struct scratch *scratch = scratch_find();
	struct flow_hit hit;

	if (!scratch)
		return true;
	tuple_of_reply(&scratch->mate_tuple, &packet->tuple, backend);
	flow_identify(&scratch->mate_id, &scratch->mate_tuple, family);
	return flow_find(&scratch->mate_id, &hit);
}

/* A backend of another node that may know this connection; 0: none. */
static __always_inline __u32 second_choice(const struct packet *packet,
					   const struct frontend *frontend, __u32 first_id,
					   const int family)
{
	const struct scratch *scratch = scratch_find();
	const struct backend *first = backend_find(first_id);
	const struct backend *second;
	__u32 second_id;

	if (!scratch || !may_have_state_elsewhere(packet))
		return 0;
	if (packet->is_tunnelled)
		second_id = backend_number(&scratch->second, packet->tuple.protocol);
	else
		second_id = choose_before(packet, frontend, family);
	second = backend_find(second_id);
	if (!second || second_id == first_id || second->flags & BACKEND_LOCAL)
		return 0;
	if (first && first->flags & BACKEND_LOCAL && is_answering(packet, first, family))
		return 0;
	return second_id;
}

GLOBAL_FUNCTION int second_choice_ipv4(const struct packet *packet, const struct frontend *frontend,
				       __u32 first_id)
{
	return packet && frontend ? second_choice(packet, frontend, first_id, IPV4) : 0;
}

GLOBAL_FUNCTION int second_choice_ipv6(const struct packet *packet, const struct frontend *frontend,
				       __u32 first_id)
{
	return packet && frontend ? second_choice(packet, frontend, first_id, IPV6) : 0;
}

/* Which backend the packet goes to, given what the table of now says; packet->second_id is what it
 * carries along. */
static __always_inline __u32 settle_choice(struct packet *packet, const struct frontend *frontend,
					   __u32 first_id, const int family)
{
	const struct backend *first = backend_find(first_id);

	packet->second_id = family == IPV4 ? second_choice_ipv4(packet, frontend, first_id)
					   : second_choice_ipv6(packet, frontend, first_id);
	return packet->second_id && (!first || first->flags & BACKEND_LOCAL) ? packet->second_id
									     : first_id;
}

#endif
