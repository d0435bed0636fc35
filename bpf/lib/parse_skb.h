/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Parsing of socket buffers, whose headers need not lie in the directly readable part. */
#ifndef WEIR_LIB_PARSE_SKB_H
#define WEIR_LIB_PARSE_SKB_H

#include "lib/ctx.h"
#include "lib/parse.h"

/* Ethernet, the longest IPv4 header and TCP's fixed part; pods send no tags. */
#define HEADERS_BYTES_MAX (sizeof(struct ethhdr) + 60 + sizeof(struct tcphdr))

/* The same after a tunnel's headers. */
#define TUNNELLED_HEADERS_BYTES_MAX 192

/* Headers may lie in the skb's pages; what was written by a socket has them in front. */
static __always_inline bool skb_pull_headers(struct __sk_buff *skb, __u32 bytes)
{
	__u32 wanted = skb->len < bytes ? skb->len : bytes;

	return skb->data_end - skb->data >= wanted || !bpf_skb_pull_data(skb, wanted);
}

/* The family of a packet with ports, 0 for any other. */
static __always_inline int parse_skb(struct __sk_buff *skb, struct packet *packet)
{
	void *data, *data_end;
	__be16 protocol;

	if (!skb_pull_headers(skb, HEADERS_BYTES_MAX))
		return 0;
	data = (void *)(long)skb->data;
	data_end = (void *)(long)skb->data_end;
	protocol = parse_ethernet(data, data_end, packet);
	if (protocol == bpf_htons(ETH_P_IP))
		return parse_ipv4(data, data_end, packet) == PARSED_PORTS ? IPV4 : 0;
	if (protocol == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(data, data_end, packet) == PARSED_PORTS ? IPV6 : 0;
	return 0;
}

#endif
