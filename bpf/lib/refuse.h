/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Answers made on the spot and sent back where the packet came from: TCP reset (RFC 9293 3.10.7.1),
 * ICMP errors (RFC 792, RFC 4443). They come from the frontend's address, as a host's would, and
 * never answer a reset.
 *
 * An ICMP error quotes the IP header and 8 bytes of what follows: the least that RFC 792 asks and
 * all that a host needs to find the socket, but for SCTP: the answer to an INIT is believed by its
 * initiate tag (RFC 9260 10), which ends at byte 20. The sum over more would cost a long loop.
 */
#ifndef WEIR_LIB_REFUSE_H
#define WEIR_LIB_REFUSE_H

#include "lib/csum.h"
#include "lib/ctx.h"
#include "lib/flow_word.h"
#include "lib/icmp.h"
#include "lib/parse.h"
#include "lib/verdict.h"

/* A tick is about a second. Enough for every client of a Service that has just lost its endpoints;
 * a flood of forged sources costs this CPU under one hundredth of its time, and reflects less than
 * it sends. */
#define ANSWERS_PER_TICK  10000
#define ANSWER_TTL	  64
#define QUOTED_SCTP_BYTES 20
#define QUOTED_WORDS_MAX  ((60 + QUOTED_SCTP_BYTES) / 4)
#define IP_HEADER_BYTES(family)                                                                    \
	((int)((family) == IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)))

/* Type and code of each error, in the two families. */
enum icmp_error {
	ICMP_ERROR_PORT_UNREACHABLE,
	ICMP_ERROR_TOO_BIG,
	ICMP_ERROR_TIME_EXCEEDED,
};

/* False: nothing may be said, or nothing more in this tick. Only the first fragment of a datagram
 * is answered, and no ICMP, which may be an error (RFC 1122 3.2.2). */
static __always_inline bool may_answer(const struct packet *packet, const int family)
{
	__u32 row = 0;
	struct answer_count *count = bpf_map_lookup_elem(&answers, &row);
	__u32 now = flow_now();

	if (!count || packet->fragment == FRAGMENT_LATER ||
	    packet->tuple.protocol == (family == IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return false;
	if (count->tick != now) {
		count->tick = now;
		count->answers = 0;
	}
	if (count->answers >= ANSWERS_PER_TICK) {
		count_packet(packet, REASON_ANSWER_LIMITED);
		return false;
	}
	count->answers++;
	return true;
}

static __always_inline void icmp_name_error(struct icmp_header *icmp, enum icmp_error error,
					    const int family)
{
	switch (error) {
	case ICMP_ERROR_PORT_UNREACHABLE:
		icmp->type = family == IPV4 ? 3 : 1;
		icmp->code = family == IPV4 ? 3 : 4;
		break;
	case ICMP_ERROR_TOO_BIG:
		icmp->type = family == IPV4 ? 3 : 2;
		icmp->code = family == IPV4 ? 4 : 0;
		break;
	default:
		icmp->type = family == IPV4 ? 11 : 3;
		icmp->code = 0;
	}
}

static __always_inline void ethernet_swap(struct ethhdr *ethernet)
{
	__u8 address[ETH_ALEN];

	__builtin_memcpy(address, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, address, ETH_ALEN);
}

struct answer_class {
	__u8 hops;
	__u8 traffic_class;
};

#define ANSWER_CLASS ((struct answer_class){.hops = ANSWER_TTL})

/* The answer's IP header: the packet's addresses the other way round. */
static __always_inline void answer_write_ip(void *header, const struct packet *packet,
					    __u8 protocol, __u32 payload_bytes,
					    const struct answer_class class, const int family)
{
	struct iphdr *ipv4 = header;
	struct ipv6hdr *ipv6 = header;

	if (family == IPV6) {
		*(__be32 *)ipv6 = bpf_htonl(IPV6_VERSION << 28 | class.traffic_class << 20);
		ipv6->payload_len = bpf_htons(payload_bytes);
		ipv6->nexthdr = protocol;
		ipv6->hop_limit = class.hops;
		address_to_ipv6(&ipv6->saddr, &packet->tuple.destination);
		address_to_ipv6(&ipv6->daddr, &packet->tuple.source);
		return;
	}
	ipv4->version = 4;
	ipv4->ihl = sizeof(*ipv4) / 4;
	ipv4->tos = class.traffic_class;
	ipv4->tot_len = bpf_htons(sizeof(*ipv4) + payload_bytes);
	ipv4->id = 0;
	ipv4->frag_off = bpf_htons(IPV4_DONT_FRAGMENT);
	ipv4->ttl = class.hops;
	ipv4->protocol = protocol;
	ipv4->check = 0;
	ipv4->saddr = address_to_ipv4(&packet->tuple.destination);
	ipv4->daddr = address_to_ipv4(&packet->tuple.source);
	ipv4->check = csum_finish(csum_add_words(0, ipv4, sizeof(*ipv4) / 4));
}

/* Sum of the pseudo-header, equal for both families but for the addresses' length; a mapped IPv4
 * address has 0xffff in front, which is nothing in one's complement. */
static __always_inline __u64 pseudo_header_sum(const struct tuple *tuple, __u8 protocol,
					       __u32 l4_bytes)
{
	__u64 sum = csum_add_words(0, &tuple->source, ADDRESS_WORDS);

	sum = csum_add_words(sum, &tuple->destination, ADDRESS_WORDS);
	return sum + bpf_htons(protocol) + bpf_htons(l4_bytes);
}

struct reset {
	__be32 sequence;
	__be32 acknowledged;
	__u8 flags;
};

/* RFC 9293: take the sequence number from the segment's acknowledgment, or acknowledge all of it.
 */
static __always_inline void reset_decide(struct reset *reset, const struct tcphdr *tcp,
					 const struct packet *packet)
{
	__u32 header_bytes = packet->l4_offset - packet->l3_offset + tcp->doff * 4;
	__u32 segment_bytes = packet->ip_bytes - header_bytes;

	reset->sequence = 0;
	reset->acknowledged = 0;
	reset->flags = TCP_RST;
	if (packet->tcp_flags & TCP_ACK) {
		reset->sequence = tcp->ack_seq;
		return;
	}
	segment_bytes += !!(packet->tcp_flags & TCP_SYN) + !!(packet->tcp_flags & TCP_FIN);
	reset->acknowledged = bpf_htonl(bpf_ntohl(tcp->seq) + segment_bytes);
	reset->flags |= TCP_ACK;
}

static __always_inline void reset_write(struct tcphdr *tcp, const struct packet *packet,
					const struct reset *reset)
{
	__u32 *words = (__u32 *)tcp;
	__u64 sum = pseudo_header_sum(&packet->tuple, IPPROTO_TCP, sizeof(*tcp));

	tcp->source = packet->tuple.destination_port;
	tcp->dest = packet->tuple.source_port;
	tcp->seq = reset->sequence;
	tcp->ack_seq = reset->acknowledged;
	words[3] = bpf_htonl((sizeof(*tcp) / 4) << 28 | reset->flags << 16);
	words[4] = 0;
	tcp->check = csum_finish(csum_add_words(sum, tcp, sizeof(*tcp) / 4));
}

static __always_inline int answer_reset(ctx_t *ctx, const struct packet *packet, const int family)
{
	const int ip_bytes = IP_HEADER_BYTES(family);
	void *data = ctx_data(ctx);
	void *data_end = ctx_data_end(ctx);
	struct tcphdr *tcp = packet_l4(data, packet);
	struct reset reset;
	void *ip;

	if (packet->tcp_flags & TCP_RST || (void *)(tcp + 1) > data_end ||
	    !may_answer(packet, family))
		return VERDICT_DROP;
	reset_decide(&reset, tcp, packet);
	if (!ctx_keep_head(ctx, packet, ip_bytes + sizeof(*tcp)))
		return VERDICT_DROP;
	data = ctx_data(ctx);
	data_end = ctx_data_end(ctx);
	ip = packet_l3(data, packet);
	tcp = ip + ip_bytes;
	if ((void *)(tcp + 1) > data_end || data + sizeof(struct ethhdr) > data_end)
		return VERDICT_DROP;
	ethernet_swap(data);
	answer_write_ip(ip, packet, IPPROTO_TCP, sizeof(*tcp), ANSWER_CLASS, family);
	reset_write(tcp, packet, &reset);
	return ctx_leave_by(ctx, ctx_ingress_ifindex(ctx));
}

static __always_inline __u64 quoted_sum(void *start, void *data_end, __u32 words)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < QUOTED_WORDS_MAX; i++) {
		__u32 *word = start + i * 4;

		if (i >= words || (void *)(word + 1) > data_end)
			break;
		sum += *word;
	}
	return sum;
}

static __always_inline void icmp_finish(struct icmp_header *icmp, const struct packet *packet,
					__u64 quoted, __u32 l4_bytes, const int family)
{
	icmp->check = 0;
	quoted = csum_add_words(quoted, icmp, sizeof(*icmp) / 4);
	if (family == IPV6)
		quoted += pseudo_header_sum(&packet->tuple, IPPROTO_ICMPV6, l4_bytes);
	icmp->check = csum_finish(quoted);
}

/* Bytes of the packet that an error about it repeats; whole words. */
static __always_inline __u32 quoted_bytes(const struct packet *packet)
{
	__u32 header_bytes = packet->l4_offset - packet->l3_offset;

	if (packet->tuple.protocol == IPPROTO_SCTP &&
	    packet->ip_bytes >= header_bytes + QUOTED_SCTP_BYTES)
		return header_bytes + QUOTED_SCTP_BYTES;
	return header_bytes + QUOTED_L4_BYTES;
}

static __always_inline int answer_icmp(ctx_t *ctx, const struct packet *packet,
				       enum icmp_error error, __u32 mtu, const int family)
{
	const int ip_bytes = IP_HEADER_BYTES(family);
	const int added = ip_bytes + sizeof(struct icmp_header);
	__u32 quoted = quoted_bytes(packet);
	struct icmp_header *icmp;
	void *data, *data_end, *ip;

	if (!may_answer(packet, family))
		return VERDICT_DROP;
	/* In this order: many segments would refuse the room. */
	if (!ctx_keep_head(ctx, packet, quoted) || !ctx_make_room(ctx, packet, added))
		return VERDICT_DROP;
	data = ctx_data(ctx);
	data_end = ctx_data_end(ctx);
	ip = packet_l3(data, packet);
	icmp = ip + ip_bytes;
	if ((void *)(icmp + 1) > data_end || data + sizeof(struct ethhdr) > data_end)
		return VERDICT_DROP;
	ethernet_swap(data);
	answer_write_ip(ip, packet, family == IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
			sizeof(*icmp) + quoted, ANSWER_CLASS, family);
	icmp_name_error(icmp, error, family);
	icmp->value = bpf_htonl(mtu);
	icmp_finish(icmp, packet, quoted_sum(icmp + 1, data_end, quoted / 4),
		    sizeof(*icmp) + quoted, family);
	return ctx_leave_by(ctx, ctx_ingress_ifindex(ctx));
}

GLOBAL_FUNCTION int answer_icmp_ipv4(ctx_t *ctx, const struct packet *packet, __u32 error,
				     __u32 mtu)
{
	return packet ? answer_icmp(ctx, packet, error, mtu, IPV4) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int answer_icmp_ipv6(ctx_t *ctx, const struct packet *packet, __u32 error,
				     __u32 mtu)
{
	return packet ? answer_icmp(ctx, packet, error, mtu, IPV6) : VERDICT_ABORTED;
}

static __always_inline int answer_error(ctx_t *ctx, const struct packet *packet,
					enum icmp_error error, __u32 mtu, const int family)
{
	return family == IPV4 ? answer_icmp_ipv4(ctx, packet, error, mtu)
			      : answer_icmp_ipv6(ctx, packet, error, mtu);
}

/* The destination has nobody to answer: tell the client what a closed port tells. */
static __always_inline int answer_refusal(ctx_t *ctx, const struct packet *packet, const int family)
{
	if (packet->tuple.protocol == IPPROTO_TCP)
		return answer_reset(ctx, packet, family);
	return answer_error(ctx, packet, ICMP_ERROR_PORT_UNREACHABLE, 0, family);
}

#endif
