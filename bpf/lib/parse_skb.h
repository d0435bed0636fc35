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

/* The packet's family, 0 when it is not IP; packet->parsed is what kind of packet it is. A
 * function of its own for its stack. */
GLOBAL_FUNCTION int parse_skb(ctx_t *ctx, struct packet *packet)
{
	void *data, *data_end;
	__be16 protocol;

	if (!packet || !ctx_read_ahead(ctx, HEADERS_BYTES_MAX))
		return 0;
	data = ctx_data(ctx);
	data_end = ctx_data_end(ctx);
	protocol = parse_ethernet(data, data_end, packet);
	if (protocol == bpf_htons(ETH_P_IP)) {
		packet->parsed = parse_ipv4(data, data_end, packet);
		return IPV4;
	}
	if (protocol == bpf_htons(ETH_P_IPV6)) {
		packet->parsed = parse_ipv6(data, data_end, packet);
		return IPV6;
	}
	return 0;
}

/* IP that parse_skb() could not read, for want of memory. */
static __always_inline bool is_unread(const ctx_t *ctx)
{
	return ctx->protocol == bpf_htons(ETH_P_IP) || ctx->protocol == bpf_htons(ETH_P_IPV6);
}

#endif
