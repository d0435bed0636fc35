/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets of many flows into a bed, and what counts them where they come out. IPv4, UDP.
 *
 * generate   a test run with live frames: the kernel hands the same pages again and again, as the
 *            last receiver left them, so each frame is written anew: headers from a template,
 * source and destination by the number of the flow, checksums complete sink_*     drop and count;
 * what is not UDP passes reflect    the ceiling of the box: a bare redirect
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAME_BYTES	 64
#define DESTINATIONS_MAX (1 << 17)
#define SAMPLE_BYTES	 128
#define GENEVE_PORT	 6081

struct plan {
	__u64 words[FRAME_BYTES / 8];
	__u32 flow_mask;    /* flows, a power of two, less one */
	__u32 multiplier;   /* odd: the order of visits */
	__u32 destinations; /* rows in use */
	__u32 ip_sum;	    /* of the template's IP header, both addresses and the checksum zero */
	__u32
	    udp_sum;  /* of its UDP datagram and pseudo header without addresses, ports, checksum */
	__u32 source; /* first source address */
	__u32 ends;   /* enum ends */
	__u32 pad0;
};

/* What of a flow varies beside its destination. */
enum ends {
	ENDS_OF_CLIENTS, /* address and port of the source */
	ENDS_OF_POD,	 /* the source's port alone */
	ENDS_ANSWERED,	 /* ENDS_OF_POD, the other way: the port that a row names is the source's */
};

struct destination {
	__be32 address;
	__be16 port;
	__u16 pad0;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DESTINATIONS_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct destination);
} destinations SEC(".maps");

enum count {
	COUNT_SENT,
	COUNT_TO_POD,	 /* UDP to a pod's address */
	COUNT_TO_TUNNEL, /* Geneve to a node's address */
	COUNT_OTHER,
	COUNTS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, COUNTS * sizeof(__u64));
} counts SEC(".maps");

/* The last frame that a sink saw, while it is asked to keep one. */
struct sample {
	__u32 is_wanted;
	__u32 length;
	__u8 bytes[SAMPLE_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sample);
} samples SEC(".maps");

/* What reflect does. */
struct reflection {
	__u32 ifindex;
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct reflection);
} reflections SEC(".maps");

struct frame {
	struct ethhdr ethernet;
	struct iphdr ip;
	struct udphdr udp;
} __attribute__((packed));

static __always_inline __u64 *counters(void)
{
	__u32 row = 0;

	return bpf_map_lookup_elem(&counts, &row);
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u32 halves(__be32 address)
{
	return (address & 0xffff) + (address >> 16);
}

/* Different for different flows below 2^30; with one source address, below 2^15. */
static __always_inline void write_flow(struct frame *frame, const struct plan *plan, __u32 flow,
				       const struct destination *destination)
{
	bool is_one_source = plan->ends != ENDS_OF_CLIENTS;
	__u32 further = is_one_source ? 0 : (flow & 0xff) | (flow >> 16 << 8 & 0xff00);
	__u32 place = is_one_source ? flow & 0x7fff : (flow >> 8 & 0xff) + (flow >> 24 << 8);
	__be32 source = bpf_htonl(plan->source + further);
	__be16 port = bpf_htons(1024 + place);
	__u32 ends = halves(source) + halves(destination->address);
	bool is_answered = plan->ends == ENDS_ANSWERED;

	frame->ip.saddr = source;
	frame->ip.daddr = destination->address;
	frame->ip.check = fold(plan->ip_sum + ends);
	frame->udp.source = is_answered ? destination->port : port;
	frame->udp.dest = is_answered ? port : destination->port;
	frame->udp.check = fold(plan->udp_sum + ends + port + destination->port);
	if (!frame->udp.check)
		frame->udp.check = 0xffff;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 row = 0, flow;
	struct plan *plan = bpf_map_lookup_elem(&plans, &row);
	struct destination *destination;
	__u64 *count = counters();

	if (!plan || !count || data + FRAME_BYTES > data_end)
		return XDP_DROP;
	for (int i = 0; i < FRAME_BYTES / 8; i++)
		((__u64 *)data)[i] = plan->words[i];
	flow = ((__u32)count[COUNT_SENT] * plan->multiplier) & plan->flow_mask;
	row = plan->destinations ? flow % plan->destinations : 0;
	destination = bpf_map_lookup_elem(&destinations, &row);
	if (!destination)
		return XDP_DROP;
	write_flow(data, plan, flow, destination);
	count[COUNT_SENT]++;
	return XDP_TX;
}

static __always_inline enum count kind_of(const struct frame *frame)
{
	__u32 address = bpf_ntohl(frame->ip.daddr);

	/* 10.244.0.0/16 and 172.20.0.0/16, see cluster.ts. */
	if (address >> 16 == 0x0af4)
		return COUNT_TO_POD;
	if (address >> 16 == 0xac14 && frame->udp.dest == bpf_htons(GENEVE_PORT))
		return COUNT_TO_TUNNEL;
	return COUNT_OTHER;
}

static __always_inline void keep_sample(void *data, void *data_end)
{
	__u32 row = 0;
	struct sample *sample = bpf_map_lookup_elem(&samples, &row);

	if (!sample || !sample->is_wanted)
		return;
	sample->length = data_end - data;
	for (int i = 0; i < SAMPLE_BYTES; i++) {
		if (data + i + 1 > data_end)
			break;
		sample->bytes[i] = *(__u8 *)(data + i);
	}
}

/* False: not for a sink. */
static __always_inline bool swallow(void *data, void *data_end)
{
	struct frame *frame = data;
	__u64 *count = counters();

	if (!count || data + sizeof(*frame) > data_end ||
	    frame->ethernet.h_proto != bpf_htons(ETH_P_IP) || frame->ip.protocol != IPPROTO_UDP)
		return false;
	switch (kind_of(frame)) {
	case COUNT_TO_POD:
		count[COUNT_TO_POD]++;
		break;
	case COUNT_TO_TUNNEL:
		count[COUNT_TO_TUNNEL]++;
		break;
	default:
		count[COUNT_OTHER]++;
	}
	keep_sample(data, data_end);
	return true;
}

SEC("xdp.frags")
int sink_xdp(struct xdp_md *ctx)
{
	return swallow((void *)(long)ctx->data, (void *)(long)ctx->data_end) ? XDP_DROP : XDP_PASS;
}

SEC("tc")
int sink_tc(struct __sk_buff *skb)
{
	return swallow((void *)(long)skb->data, (void *)(long)skb->data_end) ? TC_ACT_SHOT
									     : TC_ACT_OK;
}

SEC("xdp.frags")
int reflect(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	__u32 row = 0;
	struct reflection *to = bpf_map_lookup_elem(&reflections, &row);
	struct frame *frame = data;

	if (!to || data + sizeof(*frame) > data_end)
		return XDP_DROP;
	__builtin_memcpy(frame->ethernet.h_dest, to->destination, ETH_ALEN);
	__builtin_memcpy(frame->ethernet.h_source, to->source, ETH_ALEN);
	return bpf_redirect(to->ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
