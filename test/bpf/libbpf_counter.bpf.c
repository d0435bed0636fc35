// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* What the tests of libbpf-ts load: a counting XDP program, hooks for tcx and cgroups, and a ring
 * of numbered events. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 wanted_verdict = XDP_PASS;
const volatile __u64 step = 1;
const volatile __u8 magic[6] = {};

struct counter {
	__u64 packets;
	__be16 port;
	__u8 pad0[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 600);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct counter);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1 << 17);
	__type(key, __u64);
	__type(value, struct counter);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} runs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} prefixes SEC(".maps");

SEC("xdp")
int count_xdp(struct xdp_md *context)
{
	__u8 *data = (void *)(long)context->data;
	__u8 *end = (void *)(long)context->data_end;
	__u32 zero = 0;
	struct counter *counter = bpf_map_lookup_elem(&counters, &zero);
	__u32 *run = bpf_map_lookup_elem(&runs, &zero);

	if (!counter || !run || data + 14 > end)
		return XDP_ABORTED;
	__sync_fetch_and_add(&counter->packets, step);
	*run += 1;
	for (int i = 0; i < 6; i++)
		data[i] = magic[i];
	return wanted_verdict;
}

SEC("xdp")
int drop_xdp(struct xdp_md *context)
{
	(void)context;
	return XDP_DROP;
}

SEC("xdp")
int emit_event(struct xdp_md *context)
{
	static __u64 sequence;
	__u64 *record = bpf_ringbuf_reserve(&events, 2 * sizeof(*record), 0);

	(void)context;
	if (!record)
		return XDP_DROP;
	record[0] = __sync_fetch_and_add(&sequence, 1);
	record[1] = ~record[0];
	bpf_ringbuf_submit(record, 0);
	return XDP_PASS;
}

SEC("tc")
int count_tc(struct __sk_buff *context)
{
	__u32 one = 1;
	struct counter *counter = bpf_map_lookup_elem(&counters, &one);

	(void)context;
	if (counter)
		__sync_fetch_and_add(&counter->packets, 1);
	return -1; /* TCX_NEXT, TC_ACT_UNSPEC */
}

SEC("cgroup/connect4")
int refuse_connect4(struct bpf_sock_addr *context)
{
	return context->user_port != bpf_htons(9);
}

SEC("cgroup/connect4")
int allow_connect4(struct bpf_sock_addr *context)
{
	(void)context;
	return 1;
}
