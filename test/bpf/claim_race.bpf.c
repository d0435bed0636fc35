/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Claims under fire: each run takes one of a few keys, claims it as if it were a lock, and gives it
 * back. Run on two CPUs at once; whoever finds somebody else inside has proved the claim wrong.
 */
#include "maps.h"
#include "lib/flow_claim.h"

#define RACE_KEYS 16
#define RACE_STAY 8

const volatile struct node_config node_config = {};

struct tally {
	__u64 claims;
	__u64 refusals;
	__u64 wrong;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

/* How many are inside, by key. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RACE_KEYS);
	__type(key, __u32);
	__type(value, __u64);
} inside SEC(".maps");

static __always_inline void race_stay(struct tally *tally, __u64 *count)
{
	volatile __u64 *shared = count;

	tally->wrong += __sync_fetch_and_add(count, 1) != 0;
	for (int i = 0; i < RACE_STAY; i++)
		tally->wrong += *shared != 1;
	__sync_fetch_and_add(count, -1);
}

SEC("xdp")
int race(struct xdp_md *ctx)
{
	__u32 key = bpf_get_prandom_u32() % RACE_KEYS, row = 0;
	struct tally *tally = bpf_map_lookup_elem(&tallies, &row);
	__u64 *count = bpf_map_lookup_elem(&inside, &key);
	struct tuple tuple = {.protocol = IPPROTO_TCP, .destination_port = key};
	struct flow_data data = {.index = key, .kind = FLOW_SNAT_REPLY};
	struct flow_id id = {};
	struct flow_hit hit;

	(void)ctx;
	if (!tally || !count)
		return XDP_ABORTED;
	flow_identify(&id, &tuple, IPV4);
	if (flow_claim(&id, &data, FLOW_ESTABLISHED, false) != FLOW_CLAIMED) {
		tally->refusals++;
		return XDP_PASS;
	}
	tally->claims++;
	race_stay(tally, count);
	if (!flow_find(&id, &hit) || !flow_free(&hit))
		tally->wrong++;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
