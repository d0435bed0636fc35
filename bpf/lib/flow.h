/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table: sets of WEIR_FLOW_WAYS entries in one array, no locks.
 *
 * Each entry's `word` is {version, state, tick} and carries the protocol between CPUs:
 *   write   compare-and-exchange the word to {version + 1, BUSY}; whoever loses the race leaves the
 *           entry alone. Write key and data. Store {version + 1, live state, now}.
 *   read    read the word; FREE and BUSY are a miss. Compare the key, copy the data, read the word
 *           again: another version or BUSY is a miss. State and tick may have moved meanwhile.
 *   touch   compare-and-exchange state and tick, only when one of them changes, so that an
 *           established flow writes once a tick and never per packet. A lost race is harmless.
 * User space sweeps the mapped table by the same rules.
 *
 * The key of an IPv4 flow is exact. That of an IPv6 flow is a digest of 2 x 64 bits, each of which
 * collides with probability 2^-32 under a secret key, so nobody can aim at another's entry.
 *
 * A new entry takes, in this order: the entry of the same flow, a free one, one idle for longer
 * than its state may be, the longest idle half-open or closing one. A set full of live established
 * flows refuses it: a flood of first packets replaces only its own kind.
 */
#ifndef WEIR_LIB_FLOW_H
#define WEIR_LIB_FLOW_H

#include <linux/in.h>
#include "lib/hash.h"
#include "maps.h"

extern const volatile struct node_config node_config;

#define FLOW_TICK_MASK	  ((1ULL << WEIR_FLOW_TICK_BITS) - 1)
#define FLOW_STATE_MASK	  (((1ULL << WEIR_FLOW_STATE_BITS) - 1) << WEIR_FLOW_STATE_SHIFT)
#define FLOW_VERSION_MASK (~0ULL << WEIR_FLOW_VERSION_SHIFT)
#define FLOW_VERSION_ONE  (1ULL << WEIR_FLOW_VERSION_SHIFT)

_Static_assert(sizeof(struct flow) == 32, "two entries share a cache line");
_Static_assert(sizeof(struct flow_set) == 128, "a set is two cache lines");

/* Where a flow is and how it is recognised there. */
struct flow_id {
	__u32 key[4];
	__u32 set;
};

/* A consistent copy of an entry, and the entry itself to touch it. */
struct flow_hit {
	struct flow *flow;
	__u64 word;
	__u32 index;
	__u8 kind;
	__u8 flags;
};

static __always_inline __u32 flow_now(void)
{
	__u32 shift = node_config.tick_shift ?: WEIR_FLOW_TICK_JIFFIES_SHIFT;

	return (bpf_jiffies64() >> (shift & 63)) & FLOW_TICK_MASK;
}

static __always_inline enum flow_state flow_state(__u64 word)
{
	return (word & FLOW_STATE_MASK) >> WEIR_FLOW_STATE_SHIFT;
}

static __always_inline __u64 flow_word(__u64 version, enum flow_state state, __u32 tick)
{
	return (version & FLOW_VERSION_MASK) | (__u64)state << WEIR_FLOW_STATE_SHIFT | tick;
}

static __always_inline __u32 flow_idle_ticks(__u64 word, __u32 now)
{
	return (now - (__u32)word) & FLOW_TICK_MASK;
}

static __always_inline void flow_place_in_set(struct flow_id *id, __u64 hash)
{
	__u32 mask = node_config.flow_set_mask ?: WEIR_FLOW_SETS - 1;

	id->set = hash_finish(hash ^ node_config.flow_secret[1]) & mask;
}

/* A function of its own because its sums would fill its callers' stacks. */
GLOBAL_FUNCTION int flow_identify_ipv6(struct flow_id *id, const struct tuple *tuple)
{
	__u64 first, second;

	if (!id || !tuple)
		return 0;
	first = nh_tuple(tuple, node_config.flow_secret[0], IPV6);
	second = nh_tuple(tuple, node_config.flow_secret[1], IPV6);
	id->key[0] = first;
	id->key[1] = first >> 32;
	id->key[2] = second;
	id->key[3] = second >> 32;
	flow_place_in_set(id, first);
	return 0;
}

static __always_inline void flow_identify_ipv4(struct flow_id *id, const struct tuple *tuple)
{
	id->key[0] = address_to_ipv4(&tuple->source);
	id->key[1] = address_to_ipv4(&tuple->destination);
	id->key[2] = tuple_ports(tuple);
	id->key[3] = tuple->protocol << 8 | IPV4;
	flow_place_in_set(id, nh_tuple(tuple, node_config.flow_secret[0], IPV4));
}

static __always_inline void flow_identify(struct flow_id *id, const struct tuple *tuple,
					  const int family)
{
	if (family == IPV4)
		flow_identify_ipv4(id, tuple);
	else
		flow_identify_ipv6(id, tuple);
}

static __always_inline bool flow_has_key(const volatile struct flow *flow, const struct flow_id *id)
{
	return flow->key[0] == id->key[0] && flow->key[1] == id->key[1] &&
	       flow->key[2] == id->key[2] && flow->key[3] == id->key[3];
}

/* x86 keeps loads in order, so the compiler alone must be held back; see DESIGN for arm64. */
static __always_inline bool flow_read(struct flow *flow, const struct flow_id *id,
				      struct flow_hit *hit)
{
	const volatile struct flow *shared = flow;
	__u64 again;

	hit->word = shared->word;
	barrier();
	if (!flow_has_key(shared, id) || flow_state(hit->word) <= FLOW_BUSY)
		return false;
	hit->flow = flow;
	hit->index = shared->index;
	hit->kind = shared->kind;
	hit->flags = shared->flags;
	barrier();
	again = shared->word;
	return ((again ^ hit->word) & FLOW_VERSION_MASK) == 0 && flow_state(again) > FLOW_BUSY;
}

static __always_inline bool flow_find(const struct flow_id *id, struct flow_hit *hit)
{
	__u32 row = id->set; /* on the stack: see lib/lb.h on keys */
	struct flow_set *set = bpf_map_lookup_elem(&flows, &row);

	if (!set)
		return false;
#pragma unroll
	for (int i = 0; i < WEIR_FLOW_WAYS; i++)
		if (flow_read(&set->ways[i], id, hit))
			return true;
	return false;
}

/* Returns whether a new tick began for this flow: the moment for what is done about once a second.
 */
static __always_inline bool flow_touch(const struct flow_hit *hit, enum flow_state state)
{
	__u64 word = flow_word(hit->word, state, flow_now());

	if (word == hit->word)
		return false;
	__sync_val_compare_and_swap(&hit->flow->word, hit->word, word);
	return (word ^ hit->word) & FLOW_TICK_MASK;
}

static __always_inline __u32 flow_idle_limit(enum flow_state state, bool is_tcp)
{
	if (state == FLOW_HALF_OPEN)
		return WEIR_FLOW_IDLE_HALF_OPEN;
	if (state == FLOW_CLOSING)
		return WEIR_FLOW_IDLE_CLOSING;
	return is_tcp ? WEIR_FLOW_IDLE_ESTABLISHED_TCP : WEIR_FLOW_IDLE_ESTABLISHED_UDP;
}

/* Places to take, best last; within a class the longest idle wins. 0: not to be taken. */
#define RANK_YIELDING (1u << 24)
#define RANK_EXPIRED  (2u << 24)
#define RANK_FREE     (3u << 24)
#define RANK_SAME     (4u << 24)

static __always_inline __u32 flow_rank(const volatile struct flow *flow, __u64 word,
				       const struct flow_id *id, __u32 now)
{
	enum flow_state state = flow_state(word);
	__u32 idle = flow_idle_ticks(word, now);
	bool is_tcp = !(flow->flags & FLOW_IS_UDP);

	if (state == FLOW_BUSY)
		return 0;
	if (state == FLOW_FREE)
		return RANK_FREE;
	if (flow_has_key(flow, id))
		return RANK_SAME;
	if (idle > flow_idle_limit(state, is_tcp))
		return RANK_EXPIRED | idle;
	return state == FLOW_ESTABLISHED ? 0 : RANK_YIELDING | idle;
}

struct flow_place {
	struct flow *flow;
	__u64 word;
};

static __always_inline bool flow_choose_place(struct flow_set *set, const struct flow_id *id,
					      __u32 now, struct flow_place *place)
{
	__u32 best = 0;

#pragma unroll
	for (int i = 0; i < WEIR_FLOW_WAYS; i++) {
		const volatile struct flow *flow = &set->ways[i];
		__u64 word = flow->word;
		__u32 rank = flow_rank(flow, word, id, now);

		if (rank > best) {
			best = rank;
			place->flow = &set->ways[i];
			place->word = word;
		}
	}
	return best != 0;
}

/* What an entry says besides its key. */
struct flow_data {
	__u32 index;
	__u8 kind;
	__u8 flags;
	__be16 snat_port;
};

/* False: the set is full of live established flows, or another CPU took the place. */
GLOBAL_FUNCTION int flow_record(const struct flow_id *id, const struct flow_data *data,
				enum flow_state state)
{
	struct flow_place place = {};
	__u32 now = flow_now();
	volatile struct flow *flow;
	struct flow_set *set;
	__u32 row;
	__u64 claim;

	if (!id || !data)
		return false;
	row = id->set;
	set = bpf_map_lookup_elem(&flows, &row);
	if (!set || !flow_choose_place(set, id, now, &place) || !place.flow)
		return false;
	flow = place.flow;
	claim = flow_word(place.word + FLOW_VERSION_ONE, FLOW_BUSY, 0);
	if (__sync_val_compare_and_swap(&flow->word, place.word, claim) != place.word)
		return false;
	flow->key[0] = id->key[0];
	flow->key[1] = id->key[1];
	flow->key[2] = id->key[2];
	flow->key[3] = id->key[3];
	flow->index = data->index;
	flow->kind = data->kind;
	flow->flags = data->flags;
	flow->snat_port = data->snat_port;
	/* An exchange and not a store: it is ordered behind the data on every architecture. */
	__sync_lock_test_and_set(&flow->word, flow_word(claim, state, now));
	return true;
}

#endif
