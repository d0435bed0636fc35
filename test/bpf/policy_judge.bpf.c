/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Asks lib/policy.h many questions in one run: the first four bytes of the packet say how many rows
 * of `questions` there are, `answers` has a row for each afterwards.
 */
#include "maps.h"
#include "lib/policy.h"

#define QUESTIONS_MAX 4096

const volatile struct node_config node_config = {};

struct question {
	struct address subject;
	struct address peer;
	__u16 source_port;
	__u16 port; /* the destination's; of ICMP the type */
	__u8 protocol;
	__u8 direction;
	__u8 circumstances;
	__u8 is_node; /* the subject is the node, and this one of its addresses */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, QUESTIONS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct question);
} questions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, QUESTIONS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct policy_verdict);
} answers_given SEC(".maps");

static long ask(__u32 row, void *context)
{
	const struct question *asked = bpf_map_lookup_elem(&questions, &row);
	struct policy_verdict *verdict = bpf_map_lookup_elem(&answers_given, &row);
	struct policy_question question = {};
	struct address node = {};
	bool is_egress;

	(void)context;
	if (!asked || !verdict)
		return 1;
	is_egress = asked->direction == POLICY_EGRESS;
	question.tuple.source = is_egress ? asked->subject : asked->peer;
	question.tuple.destination = is_egress ? asked->peer : asked->subject;
	question.tuple.source_port = bpf_htons(asked->source_port);
	question.tuple.destination_port = bpf_htons(asked->port);
	question.tuple.protocol = asked->protocol;
	question.direction = asked->direction;
	question.circumstances = asked->circumstances | (asked->is_node ? POLICY_OF_HOST : 0);
	question.set = policy_set_of(asked->is_node ? &node : &asked->subject);
	policy_judge(&question, verdict);
	return 0;
}

SEC("xdp")
int judge_all(struct xdp_md *ctx)
{
	const __u32 *count = (void *)(long)ctx->data;

	if ((void *)(count + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	return bpf_loop(*count, ask, NULL, 0);
}

/* One question, asked again and again: what it costs. */
SEC("xdp")
int judge_first(struct xdp_md *ctx)
{
	(void)ctx;
	return ask(0, NULL);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
