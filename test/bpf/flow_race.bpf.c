/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table under fire: each run takes a random one of RACE_FLOWS flows and either records it
 * or looks it up and checks that what the entry says is that flow's. Run on two CPUs at once with
 * fewer places than flows, so that nearly every write replaces another flow's entry.
 */
#include "maps.h"
#include "lib/flow.h"

#define RACE_FLOWS 512

const volatile struct node_config node_config = {};

struct tally {
	__u64 records;
	__u64 hits;
	__u64 wrong;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

static __always_inline void race_record(struct tally *tally, const struct flow_id *id, __u32 flow)
{
	struct flow_data data = {.index = flow, .kind = FLOW_TO_LOCAL, .flags = flow};

	tally->records += flow_record(id, &data, FLOW_HALF_OPEN);
}

static __always_inline void race_find(struct tally *tally, const struct flow_id *id, __u32 flow)
{
	struct flow_hit hit;

	if (!flow_find(id, &hit))
		return;
	tally->hits++;
	tally->wrong += hit.index != flow || hit.flags != (__u8)flow || hit.kind != FLOW_TO_LOCAL;
}

SEC("xdp")
int race(struct xdp_md *ctx)
{
	__u32 random = bpf_get_prandom_u32(), flow = random % RACE_FLOWS, row = 0;
	struct tally *tally = bpf_map_lookup_elem(&tallies, &row);
	struct tuple tuple = {.protocol = IPPROTO_TCP, .source_port = flow};
	struct flow_id id = {};

	(void)ctx;
	if (!tally)
		return XDP_ABORTED;
	flow_identify(&id, &tuple, IPV4);
	if (random >> 31)
		race_record(tally, &id, flow);
	else
		race_find(tally, &id, flow);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
