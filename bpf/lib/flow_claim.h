/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Claiming: a new entry under a key that no live entry has. Two CPUs may want one key at once, and
 * since a set has several ways, each may find a place of its own. So the claim is made in the order
 * of Dekker: seize a way, write the key there while it is BUSY, a full barrier, look at the other
 * ways. Whoever sees its key in another way that is not FREE gives its own up. Of two at least one
 * sees the other; that both do, and neither gets it, is allowed: the caller tries the next key.
 */
#ifndef WEIR_LIB_FLOW_CLAIM_H
#define WEIR_LIB_FLOW_CLAIM_H

#include "lib/flow.h"

enum flow_claimed {
	FLOW_CLAIMED,
	FLOW_CLAIM_TAKEN, /* a live flow has the key */
	/* the same, but its connection has been over, or waiting for an answer, for a while */
	FLOW_CLAIM_LEFT_OVER,
	FLOW_CLAIM_NO_PLACE, /* the set is full, or another CPU was faster */
};

/* How a place is taken by the key's own way alone, not by its rank in the set. */
static __always_inline enum flow_claimed flow_claim_same(__u64 word, __u8 kind, __u8 flags,
							 __u32 now, bool takes_left_over)
{
	enum flow_state state = flow_state(word);
	__u32 idle = flow_idle_ticks(word, now);

	if (state == FLOW_BUSY || flow_rests(kind, idle))
		return FLOW_CLAIM_TAKEN;
	if (idle > flow_idle_limit(state, kind, flags))
		return FLOW_CLAIMED;
	if (!flow_yields(state) || idle < WEIR_FLOW_SNAT_REUSE)
		return FLOW_CLAIM_TAKEN;
	return takes_left_over ? FLOW_CLAIMED : FLOW_CLAIM_LEFT_OVER;
}

/* The place for a claim: the key's own way when it may be had, else the best of the set. */
static __always_inline enum flow_claimed flow_claim_place(struct flow_set *set,
							  const struct flow_id *id, __u32 now,
							  bool takes_left_over,
							  struct flow_place *place)
{
	enum flow_claimed same;

	flow_choose_place(set, id, now, place);
#pragma unroll
	for (int i = 0; i < WEIR_FLOW_WAYS; i++) {
		const volatile struct flow *flow = &set->ways[i];
		__u64 word = flow->word;

		barrier();
		if (flow_state(word) == FLOW_FREE || !flow_has_key(flow, id))
			continue;
		same = flow_claim_same(word, flow->kind, flow->flags, now, takes_left_over);
		place->way = i;
		place->word = word;
		return same;
	}
	return place->rank && place->rank < RANK_SAME ? FLOW_CLAIMED : FLOW_CLAIM_NO_PLACE;
}

static __always_inline bool flow_has_twin(struct flow_set *set, const struct flow_id *id, __u32 way)
{
#pragma unroll
	for (int i = 0; i < WEIR_FLOW_WAYS; i++) {
		const volatile struct flow *flow = &set->ways[i];

		if ((__u32)i != way && flow_state(flow->word) != FLOW_FREE &&
		    flow_has_key(flow, id))
			return true;
	}
	return false;
}

/* `takes_left_over`: see FLOW_CLAIM_LEFT_OVER. */
GLOBAL_FUNCTION int flow_claim(const struct flow_id *id, const struct flow_data *data,
			       enum flow_state state, __u32 takes_left_over)
{
	struct flow_place place = {};
	struct flow_detail_set *details;
	__u32 now = flow_now();
	enum flow_claimed claimed;
	struct flow_set *set;
	struct flow *flow;
	__u64 claim;
	__u32 row;

	if (!id || !data)
		return FLOW_CLAIM_NO_PLACE;
	row = id->set;
	set = bpf_map_lookup_elem(&flows, &row);
	details = bpf_map_lookup_elem(&flow_details, &row);
	if (!set || !details)
		return FLOW_CLAIM_NO_PLACE;
	claimed = flow_claim_place(set, id, now, takes_left_over, &place);
	if (claimed != FLOW_CLAIMED)
		return claimed;
	flow = &set->ways[place.way % WEIR_FLOW_WAYS];
	claim = flow_seize(flow, &place);
	if (!claim)
		return FLOW_CLAIM_NO_PLACE;
	flow_write(flow, &details->ways[place.way % WEIR_FLOW_WAYS], id, data);
	/* Writes nothing new; exchanges are full barriers. */
	__sync_lock_test_and_set(&flow->word, claim);
	if (flow_has_twin(set, id, place.way)) {
		flow_publish(flow, claim, FLOW_FREE, 0);
		return FLOW_CLAIM_TAKEN;
	}
	flow_publish(flow, claim, state, now);
	return FLOW_CLAIMED;
}

/* Whether the entry is still the flow's that was found, whatever happened to its state and time. */
static __always_inline bool flow_is_still(const struct flow_hit *hit)
{
	const volatile struct flow *shared = hit->flow;
	__u64 word = shared->word;

	return ((word ^ hit->word) & FLOW_VERSION_MASK) == 0 && flow_state(word) > FLOW_BUSY;
}

/* The same flow begins anew in its entry. False: it has changed meanwhile. */
static __always_inline bool flow_restart(const struct flow_hit *hit, enum flow_state state)
{
	__u64 word = flow_word(hit->word, state, flow_now());

	return __sync_val_compare_and_swap(&hit->flow->word, hit->word, word) == hit->word;
}

/* Gives an entry up. False: it has changed meanwhile. */
static __always_inline bool flow_free(const struct flow_hit *hit)
{
	__u64 word = flow_word(hit->word + FLOW_VERSION_ONE, FLOW_FREE, 0);

	return __sync_val_compare_and_swap(&hit->flow->word, hit->word, word) == hit->word;
}

#endif
