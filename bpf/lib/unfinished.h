/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * XDP on a veth meets frames that never were on a wire: their sender left the checksum to the
 * device, and only the socket buffer knows. The field holds the sum of the pseudo-header alone, and
 * a frame that XDP redirects goes out like that. Such frames are left to weir_uplink_ingress, which
 * stands behind XDP on veths and has the socket buffer. They are told by what the field holds: of
 * the finished ones one in 65536 looks the same, and is as well served there. An unfinished SCTP
 * checksum is zero (lib/sctp.h).
 */
#ifndef WEIR_LIB_UNFINISHED_H
#define WEIR_LIB_UNFINISHED_H

#include "lib/encap.h"
#include "lib/refuse.h"

#ifdef WEIR_SKB

static __always_inline bool is_unfinished(ctx_t *ctx, const struct packet *packet)
{
	(void)ctx, (void)packet;
	return false;
}

static __always_inline bool is_unfinished_inside(ctx_t *ctx, const struct packet *packet)
{
	(void)ctx, (void)packet;
	return false;
}

#else

static __always_inline bool check_is_unfinished(void *l4, void *data_end, __u8 protocol,
						__u64 pseudo_header)
{
	struct tcphdr *tcp = l4;
	struct udphdr *udp = l4;
	struct sctp_header *sctp = l4;

	if (protocol == IPPROTO_SCTP)
		return (void *)sctp + SCTP_COMMON_BYTES <= data_end && !sctp->check;
	if (protocol == IPPROTO_TCP)
		return (void *)(tcp + 1) <= data_end && tcp->check == csum_fold(pseudo_header);
	return protocol == IPPROTO_UDP && (void *)(udp + 1) <= data_end &&
	       udp->check == csum_fold(pseudo_header);
}

static __always_inline bool is_unfinished(ctx_t *ctx, const struct packet *packet)
{
	__u32 l4_bytes = packet->ip_bytes - (packet->l4_offset - packet->l3_offset);

	if (!node_config.redirects_only)
		return false;
	return check_is_unfinished(
	    packet_l4(ctx_data(ctx), packet), ctx_data_end(ctx), packet->tuple.protocol,
	    pseudo_header_sum(&packet->tuple, packet->tuple.protocol, l4_bytes));
}

static __always_inline bool is_unfinished_ipv4(struct iphdr *ip, void *data_end)
{
	__u64 sum;

	if ((void *)(ip + 1) > data_end || ip->ihl != sizeof(*ip) / 4)
		return false;
	sum = csum_add_words(0, &ip->saddr, 2);
	sum += bpf_htons(ip->protocol) + bpf_htons(bpf_ntohs(ip->tot_len) - sizeof(*ip));
	return check_is_unfinished(ip + 1, data_end, ip->protocol, sum);
}

static __always_inline bool is_unfinished_ipv6(struct ipv6hdr *ip, void *data_end)
{
	__u64 sum;

	if ((void *)(ip + 1) > data_end)
		return false;
	sum = csum_add_words(0, &ip->saddr, 2 * ADDRESS_WORDS);
	sum += bpf_htons(ip->nexthdr) + ip->payload_len;
	return check_is_unfinished(ip + 1, data_end, ip->nexthdr, sum);
}

/* The packet inside one that came to our end of a tunnel. */
static __always_inline bool is_unfinished_inside(ctx_t *ctx, const struct packet *packet)
{
	struct tunnel_header *header = packet_l4(ctx_data(ctx), packet);
	void *data_end = ctx_data_end(ctx);

	if (!node_config.redirects_only)
		return false;
	if (packet->tuple.protocol == IPPROTO_IPIP)
		return is_unfinished_ipv4((void *)header, data_end);
	if (packet->tuple.protocol == IPPROTO_IPV6)
		return is_unfinished_ipv6((void *)header, data_end);
	if ((void *)(header + 1) > data_end)
		return false;
	if (header->geneve.protocol == bpf_htons(ETH_P_IP))
		return is_unfinished_ipv4((void *)(header + 1), data_end);
	return is_unfinished_ipv6((void *)(header + 1), data_end);
}

#endif
#endif
