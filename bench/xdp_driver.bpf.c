/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Feeds an XDP program with packets of many flows inside one BPF_PROG_TEST_RUN: the kernel repeats
 * with the same buffer and undoes nothing, so before each repeat this program puts length and
 * headers back from a template, gives the packet another flow's source, and tail-calls the program
 * under test. What it costs itself is measured with a program that does nothing.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define TEMPLATE_BYTES 96

struct plan {
	__u64 words[TEMPLATE_BYTES / 8];
	__u32 length;
	__u32 flow_mask;  /* flows, a power of two, less one */
	__u32 source_at;  /* where the lower 16 bits of the flow go: the source port */
	__u32 address_at; /* where the upper 16 bits go: the end of the source address */
	__u32 multiplier; /* odd: the order of visits, so that it differs from that of filling */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} visits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} under_test SEC(".maps");

SEC("xdp.frags")
int idle(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("xdp.frags")
int drive(struct xdp_md *ctx)
{
	__u32 row = 0, flow, at;
	struct plan *plan = bpf_map_lookup_elem(&plans, &row);
	__u64 *visit = bpf_map_lookup_elem(&visits, &row);
	void *data, *data_end;
	long grown;

	if (!plan || !visit)
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	grown = (long)data_end - (long)data - plan->length;
	if (grown && bpf_xdp_adjust_head(ctx, grown))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	data_end = (void *)(long)ctx->data_end;
	if (data + TEMPLATE_BYTES > data_end)
		return XDP_ABORTED;
	for (int i = 0; i < TEMPLATE_BYTES / 8; i++)
		((__u64 *)data)[i] = plan->words[i];
	flow = ((__u32)(*visit)++ * plan->multiplier) & plan->flow_mask;
	at = plan->source_at & 63;
	if (data + at + 2 <= data_end)
		*(__u16 *)(data + at) = flow;
	at = plan->address_at & 63;
	if (data + at + 2 <= data_end)
		*(__u16 *)(data + at) = flow >> 16;
	bpf_tail_call(ctx, &under_test, 0);
	return XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
