/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which backend a new connection gets. Session affinity keeps a client with its backend, for all
 * frontends of one Service port, until it has made no new connection for the idle time, or the
 * backend is no longer in the set that this packet may use.
 *
 * A client that has no entry yet gets the slot of its address's hash instead of its connection's:
 * routers spread connections over nodes, and every node then begins with the same backend.
 *
 * Shared by packets and sockets. Time is the flow table's tick, uncut: entries have no sweeper.
 */
#ifndef WEIR_LIB_AFFINITY_H
#define WEIR_LIB_AFFINITY_H

#include "lib/flow_word.h"
#include "lib/hash.h"
#include "lib/lb.h"

/* Slots looked through for a backend. Tables of up to 163 backends are smaller; of a larger one, a
 * backend's slots are so many that it has one here but once in 10^7 at 1000 backends. */
#define AFFINITY_SLOTS_MAX (1 << 14)

struct slot_search {
	__u32 base;
	__u32 backend_id;
	__u32 is_found;
};

static long slot_compare(__u32 index, void *context)
{
	struct slot_search *search = context;

	search->is_found = slot_read(search->base + index) == search->backend_id;
	return search->is_found;
}

/* Whether the set of endpoints behind this table has the backend. */
static __always_inline bool range_holds(const struct slot_range *range, __u32 backend_id)
{
	struct slot_search search = {.base = range->base, .backend_id = backend_id};
	__u32 slots = range->size;

	if (slots > AFFINITY_SLOTS_MAX)
		slots = AFFINITY_SLOTS_MAX;
	bpf_loop(slots, slot_compare, &search, 0);
	return search.is_found;
}

static __always_inline __u32 affinity_now(void)
{
	__u32 shift = node_config.tick_shift ?: WEIR_FLOW_TICK_JIFFIES_SHIFT;

	return bpf_jiffies64() >> (shift & 63);
}

/* The client's backend, its time renewed; 0 when it has none that may be used. */
static __always_inline __u32 affinity_find(const struct frontend *frontend,
					   const struct slot_range *range,
					   const struct address *client)
{
	struct affinity_key key = {.client = *client, .port_id = frontend->port_id};
	struct affinity *entry = bpf_map_lookup_elem(&affinity, &key);
	__u32 now = affinity_now();

	if (!entry || now - entry->tick > frontend->affinity_ticks)
		return 0;
	if (!backend_find(entry->backend_id) || !range_holds(range, entry->backend_id))
		return 0;
	entry->tick = now;
	return entry->backend_id;
}

static __always_inline void affinity_store(const struct frontend *frontend,
					   const struct address *client, __u32 backend_id)
{
	struct affinity_key key = {.client = *client, .port_id = frontend->port_id};
	struct affinity entry = {.backend_id = backend_id, .tick = affinity_now()};

	bpf_map_update_elem(&affinity, &key, &entry, BPF_ANY);
}

/* `number` picks the slot where no affinity does: of the hash, or random. 0: the set is empty. */
static __always_inline __u32 choose_backend(const struct frontend *frontend,
					    const struct slot_range *range,
					    const struct address *client, __u32 number)
{
	__u32 backend_id;

	if (!frontend->affinity_ticks)
		return range_choose(range, number);
	backend_id = affinity_find(frontend, range, client);
	if (backend_id)
		return backend_id;
	backend_id = range_choose(range, number);
	if (backend_id)
		affinity_store(frontend, client, backend_id);
	return backend_id;
}

/* The same on all nodes for one client, whatever its port. */
static __always_inline __u32 client_hash(const struct address *client)
{
	return hash_finish(nh_address(client, KEY_FIXED, HASH_WORD_SOURCE));
}

/* Equal on all nodes for one flow, unless it is to be random. */
static __always_inline __u32 number_from_outside(const struct packet *packet,
						 const struct frontend *frontend, const int family)
{
	if (frontend->flags & FRONTEND_RANDOM)
		return bpf_get_prandom_u32();
	return frontend->affinity_ticks ? client_hash(&packet->tuple.source)
					: tuple_hash(&packet->tuple, family);
}

/* A new flow that came by an uplink. */
static __always_inline __u32 choose_from_outside(const struct packet *packet,
						 const struct frontend *frontend, const int family)
{
	return choose_backend(frontend, range_from_outside(frontend), &packet->tuple.source,
			      number_from_outside(packet, frontend, family));
}

/* A new flow that a pod of this node began. */
GLOBAL_FUNCTION int choose_from_inside(const struct packet *packet, const struct frontend *frontend)
{
	if (!packet || !frontend)
		return 0;
	return choose_backend(frontend, range_from_inside(frontend), &packet->tuple.source,
			      bpf_get_prandom_u32());
}

/* Functions of their own because keys and hashes would fill their callers' stacks. */
GLOBAL_FUNCTION int choose_from_outside_ipv4(const struct packet *packet,
					     const struct frontend *frontend)
{
	return packet && frontend ? choose_from_outside(packet, frontend, IPV4) : 0;
}

GLOBAL_FUNCTION int choose_from_outside_ipv6(const struct packet *packet,
					     const struct frontend *frontend)
{
	return packet && frontend ? choose_from_outside(packet, frontend, IPV6) : 0;
}

#endif
