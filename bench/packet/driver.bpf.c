/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Feeds a program with packets of many flows inside one BPF_PROG_TEST_RUN: the kernel repeats with
 * the same buffer and undoes nothing, so before each repeat this program puts length and headers
 * back from a template, gives the packet the ends and checksums of the next flow of a list, and
 * tail-calls the program under test. What it costs itself is measured with programs that do
 * nothing.
 *
 * The list is walked in order, whole cache lines at a time, and its author decides the order: the
 * processor fetches it ahead, where a look-up by a scrambled number would add a miss of its own to
 * each packet.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define TEMPLATE_BYTES 96
#define ROWS_MAX       (1 << 20)

/* Where the changing fields are: there is no VLAN tag, no IP option and no extension header. */
#define IPV4_CHECK	 24
#define IPV4_SOURCE	 26
#define IPV4_DESTINATION 30
#define IPV4_PORTS	 34
#define IPV6_SOURCE	 34 /* the last four bytes of each address */
#define IPV6_DESTINATION 50
#define IPV6_PORTS	 54
#define TCP_CHECK	 16
#define UDP_CHECK	 6

/* As in the packet: network order. */
struct ends {
	__u32 source;
	__u32 destination;
	__u16 source_port;
	__u16 destination_port;
	__u16 check;
	__u16 ipv4_check;
};

struct plan {
	__u64 words[TEMPLATE_BYTES / 8];
	__u32 length;
	__u32 rows;
	__u32 is_ipv6;
	__u32 is_udp;
	__u32 next; /* row of the next packet */
	__u32 pad0;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ROWS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ends);
} list SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} xdp_under_test SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} tc_under_test SEC(".maps");

static __always_inline struct plan *find_plan(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&plans, &row);
}

static __always_inline void write_ends(void *data, const struct plan *plan, const struct ends *ends)
{
	__u32 check = plan->is_udp ? UDP_CHECK : TCP_CHECK;
	void *ports;

	if (plan->is_ipv6) {
		*(__u32 *)(data + IPV6_SOURCE) = ends->source;
		*(__u32 *)(data + IPV6_DESTINATION) = ends->destination;
		ports = data + IPV6_PORTS;
	} else {
		*(__u16 *)(data + IPV4_CHECK) = ends->ipv4_check;
		*(__u32 *)(data + IPV4_SOURCE) = ends->source;
		*(__u32 *)(data + IPV4_DESTINATION) = ends->destination;
		ports = data + IPV4_PORTS;
	}
	*(__u16 *)ports = ends->source_port;
	*(__u16 *)(ports + 2) = ends->destination_port;
	*(__u16 *)(ports + check) = ends->check;
}

/* False: the buffer is not as the plan says. */
static __always_inline int write_next(void *data, void *data_end, struct plan *plan)
{
	__u32 row = plan->next;
	const struct ends *ends = bpf_map_lookup_elem(&list, &row);

	if (!ends || data + TEMPLATE_BYTES > data_end)
		return 0;
	plan->next = row + 1 >= plan->rows ? 0 : row + 1;
	for (int i = 0; i < TEMPLATE_BYTES / 8; i++)
		((__u64 *)data)[i] = plan->words[i];
	write_ends(data, plan, ends);
	return 1;
}

SEC("xdp.frags")
int drive_xdp(struct xdp_md *ctx)
{
	struct plan *plan = find_plan();
	long grown;

	if (!plan)
		return XDP_ABORTED;
	grown = (long)ctx->data_end - (long)ctx->data - plan->length;
	if (grown && bpf_xdp_adjust_head(ctx, grown))
		return XDP_ABORTED;
	if (!write_next((void *)(long)ctx->data, (void *)(long)ctx->data_end, plan))
		return XDP_ABORTED;
	bpf_tail_call(ctx, &xdp_under_test, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int idle_xdp(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("tc")
int drive_tc(struct __sk_buff *ctx)
{
	struct plan *plan = find_plan();

	if (!plan || !write_next((void *)(long)ctx->data, (void *)(long)ctx->data_end, plan))
		return TC_ACT_SHOT;
	bpf_tail_call(ctx, &tc_under_test, 0);
	return TC_ACT_SHOT;
}

SEC("tc")
int idle_tc(struct __sk_buff *ctx)
{
	(void)ctx;
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
