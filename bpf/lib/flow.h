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
 * than its state may be, the longest idle half-open or closing one, the longest idle of those that
 * are most likely over: one-sided ones whose client has closed (an entry node can do without), and
 * UDP that has been silent for a while. A set full of live established flows refuses it: a flood of
 * first packets replaces only its own kind.
 *
 * A key that must have one owner (the port of a masqueraded flow) is claimed, not recorded:
 * flow_claim() in lib/flow_claim.h.
 *
 * flow_details has what is seldom read, in a second array with the same numbering; it is written
 * while its entry is BUSY and read between two looks at its entry's word.
 */
#ifndef WEIR_LIB_FLOW_H
#define WEIR_LIB_FLOW_H

#include <linux/in.h>
#include "lib/flow_word.h"
#include "lib/hash.h"

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
	__u32 set;
	__u32 index;
	__u8 kind;
	__u8 flags;
	__be16 snat_port;
	__u32 way;
};

static __always_inline void flow_place_in_set(struct flow_id *id, __u64 hash)
{
	__u32 mask = node_config.flow_set_mask ?: WEIR_FLOW_SETS - 1;

	id->set = hash_finish(hash ^ node_config.flow_secret[1]) & mask;
}

static __always_inline void flow_place_ipv6(struct flow_id *id, const struct tuple *tuple)
{
	__u64 first, second;

	first = nh_tuple(tuple, KEY_SECRET, IPV6);
	second = nh_tuple(tuple, KEY_SECRET_2, IPV6);
	id->key[0] = first;
	id->key[1] = first >> 32;
	id->key[2] = second;
	id->key[3] = second >> 32;
	flow_place_in_set(id, first);
}

/* A function of its own because its sums would fill its callers' stacks. */
GLOBAL_FUNCTION int flow_identify_ipv6(struct flow_id *id, const struct tuple *tuple)
{
	if (id && tuple)
		flow_place_ipv6(id, tuple);
	return 0;
}

static __always_inline void flow_identify_ipv4(struct flow_id *id, const struct tuple *tuple)
{
	id->key[0] = address_to_ipv4(&tuple->source);
	id->key[1] = address_to_ipv4(&tuple->destination);
	id->key[2] = tuple_ports(tuple);
	id->key[3] = tuple->protocol << 8 | IPV4;
	flow_place_in_set(id, nh_tuple(tuple, KEY_SECRET, IPV4));
}

static __always_inline void flow_identify(struct flow_id *id, const struct tuple *tuple,
					  const int family)
{
	if (family == IPV4)
		flow_identify_ipv4(id, tuple);
	else
		flow_identify_ipv6(id, tuple);
}

/* The same without a call, which costs more than all else that it does: for every packet. */
static __always_inline void flow_identify_inline(struct flow_id *id, const struct tuple *tuple,
						 const int family)
{
	if (family == IPV4)
		flow_identify_ipv4(id, tuple);
	else
		flow_place_ipv6(id, tuple);
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
	hit->snat_port = shared->snat_port;
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
		if (flow_read(&set->ways[i], id, hit)) {
			hit->set = row;
			hit->way = i;
			return true;
		}
	return false;
}

/* A consistent copy of the details; false when the entry is another flow's by now. */
static __always_inline bool flow_read_detail(const struct flow_hit *hit, struct flow_detail *detail)
{
	__u32 row = hit->set;
	const struct flow_detail_set *set = bpf_map_lookup_elem(&flow_details, &row);
	const volatile struct flow *shared = hit->flow;
	__u64 again;

	if (!set)
		return false;
	*detail = set->ways[hit->way % WEIR_FLOW_WAYS];
	barrier();
	again = shared->word;
	return ((again ^ hit->word) & FLOW_VERSION_MASK) == 0 && flow_state(again) > FLOW_BUSY;
}

enum flow_touched {
	FLOW_TOUCHED_NOTHING, /* nothing new, or another CPU was faster: the next packet tries again
			       */
	FLOW_TOUCHED_STATE,
	FLOW_TOUCHED_TICK, /* a new tick began: the moment for what is done about once a second */
};

/* Adds to the entry's state and renews its time; `hit` has the new word afterwards. */
static __always_inline enum flow_touched flow_touch(struct flow_hit *hit, enum flow_state state)
{
	__u64 before = hit->word;
	__u64 word = flow_word(before, flow_join(flow_state(before), state), flow_now());

	if (word == before || __sync_val_compare_and_swap(&hit->flow->word, before, word) != before)
		return FLOW_TOUCHED_NOTHING;
	hit->word = word;
	return (word ^ before) & FLOW_TICK_MASK ? FLOW_TOUCHED_TICK : FLOW_TOUCHED_STATE;
}

/* Places to take, best last; within a class the longest idle wins. 0: not to be taken. */
#define RANK_LEFT_OVER (1u << 24)
#define RANK_YIELDING  (2u << 24)
#define RANK_EXPIRED   (3u << 24)
#define RANK_FREE      (4u << 24)
#define RANK_SAME      (5u << 24)

static __always_inline __u32 flow_rank(const volatile struct flow *flow, __u64 word,
				       const struct flow_id *id, __u32 now)
{
	enum flow_state state = flow_state(word);
	__u32 idle = flow_idle_ticks(word, now);
	__u8 kind = flow->kind;

	if (state == FLOW_BUSY)
		return 0;
	if (state == FLOW_FREE)
		return RANK_FREE;
	if (flow_has_key(flow, id))
		return RANK_SAME;
	if (flow_rests(kind, idle))
		return 0;
	if (idle > flow_idle_limit(state, kind, flow->flags))
		return RANK_EXPIRED | idle;
	if (flow_yields(state))
		return RANK_YIELDING | idle;
	return flow_is_left_over(state, kind, flow->flags, idle) ? RANK_LEFT_OVER | idle : 0;
}

struct flow_place {
	__u64 word;
	__u32 way;
	__u32 rank;
};

/* place->rank is 0 when there is none. */
static __always_inline void flow_choose_place(struct flow_set *set, const struct flow_id *id,
					      __u32 now, struct flow_place *place)
{
	place->rank = 0;
#pragma unroll
	for (int i = 0; i < WEIR_FLOW_WAYS; i++) {
		const volatile struct flow *flow = &set->ways[i];
		__u64 word = flow->word;
		__u32 rank = flow_rank(flow, word, id, now);

		if (rank > place->rank) {
			place->rank = rank;
			place->way = i;
			place->word = word;
		}
	}
}

/* What an entry says besides its key. */
struct flow_data {
	__u32 index;
	__u8 kind;
	__u8 flags;
	__be16 snat_port;
	struct flow_detail detail;
};

/* Makes the entry ours to write. Returns its word, 0 when another CPU took it. */
static __always_inline __u64 flow_seize(struct flow *flow, const struct flow_place *place)
{
	__u64 claim = flow_word(place->word + FLOW_VERSION_ONE, FLOW_BUSY, 0);

	return __sync_val_compare_and_swap(&flow->word, place->word, claim) == place->word ? claim
											   : 0;
}

static __always_inline void flow_write(struct flow *entry, struct flow_detail *detail,
				       const struct flow_id *id, const struct flow_data *data)
{
	volatile struct flow *flow = entry;

	flow->key[0] = id->key[0];
	flow->key[1] = id->key[1];
	flow->key[2] = id->key[2];
	flow->key[3] = id->key[3];
	flow->index = data->index;
	flow->kind = data->kind;
	flow->flags = data->flags;
	flow->snat_port = data->snat_port;
	*detail = data->detail;
}

/* An exchange and not a store: it is ordered behind the data on every architecture. */
static __always_inline void flow_publish(struct flow *flow, __u64 claim, enum flow_state state,
					 __u32 now)
{
	__sync_lock_test_and_set(&flow->word, flow_word(claim, state, now));
}

/*
 * Asks for the memory of a place that will be written soon, for which a new flow finds nothing in
 * the caches. Asked for together, the lines come together; else one after the other, since every
 * exchange waits for what was begun before it. Of the details the line of the first ways, which
 * are taken first.
 */
static __always_inline void flow_fetch(const struct flow_id *id)
{
	__u32 row = id->set;
	const volatile struct flow_set *set = bpf_map_lookup_elem(&flows, &row);
	const volatile struct flow_detail_set *details = bpf_map_lookup_elem(&flow_details, &row);

	if (!set || !details)
		return;
	(void)set->ways[0].word;
	(void)set->ways[WEIR_FLOW_WAYS / 2].word;
	(void)details->ways[0].frontend_id;
}

/* False: the set is full of live established flows, or another CPU took the place. */
GLOBAL_FUNCTION int flow_record(const struct flow_id *id, const struct flow_data *data,
				enum flow_state state)
{
	struct flow_place place = {};
	struct flow_detail_set *details;
	__u32 now = flow_now();
	struct flow_set *set;
	struct flow *flow;
	__u32 row;
	__u64 claim;

	if (!id || !data)
		return false;
	row = id->set;
	set = bpf_map_lookup_elem(&flows, &row);
	details = bpf_map_lookup_elem(&flow_details, &row);
	if (!set || !details)
		return false;
	flow_choose_place(set, id, now, &place);
	if (place.rank == 0)
		return false;
	flow = &set->ways[place.way % WEIR_FLOW_WAYS];
	claim = flow_seize(flow, &place);
	if (!claim)
		return false;
	flow_write(flow, &details->ways[place.way % WEIR_FLOW_WAYS], id, data);
	flow_publish(flow, claim, state, now);
	return true;
}

#endif
