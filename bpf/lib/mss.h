/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The largest segment that a backend announces in its SYN-ACK, lowered to what fits the tunnel.
 * Only the client's packets travel in it, so only what the backend says to the client matters; and
 * any connection may be moved to a node that has to tunnel, so all of them get it.
 */
#ifndef WEIR_LIB_MSS_H
#define WEIR_LIB_MSS_H

#include "lib/rewrite.h"

extern const volatile struct node_config node_config;

#define TCP_OPTION_END	 0
#define TCP_OPTION_NOP	 1
#define TCP_OPTION_MSS	 2
#define TCP_OPTION_BYTES 4 /* of the MSS option */
#define TCP_HEADER_MAX	 60
/* Options in front of it that are looked at; everybody sends it first. */
#define TCP_OPTIONS_MAX	   12
#define TCP_OPTION_AT_MASK 255

static __always_inline void mss_write(ctx_t *ctx, const struct packet *packet, __u32 at,
				      __u32 limit)
{
	__be16 after = bpf_htons(limit);
	__be16 before;

	if (bpf_skb_load_bytes(ctx, at, &before, sizeof(before)) || bpf_ntohs(before) <= limit ||
	    bpf_skb_store_bytes(ctx, at, &after, sizeof(after), 0))
		return;
	/* At an odd place its bytes are the halves of two words. */
	if ((at - packet->l4_offset) % 2) {
		before = __builtin_bswap16(before);
		after = __builtin_bswap16(after);
	}
	bpf_l4_csum_replace(ctx, packet->l4_offset + offsetof(struct tcphdr, check), before, after,
			    sizeof(after));
}

GLOBAL_FUNCTION int mss_lower(ctx_t *ctx, const struct packet *packet, __u32 limit)
{
	void *data, *data_end;
	__u32 at, end;
	__u8 *header;

	if (!packet || !ctx_read_ahead(ctx, packet->l4_offset + TCP_HEADER_MAX))
		return 0;
	data = ctx_data(ctx);
	data_end = ctx_data_end(ctx);
	header = packet_l4(data, packet);
	if ((void *)header + sizeof(struct tcphdr) > data_end)
		return 0;
	at = packet->l4_offset + sizeof(struct tcphdr);
	end = packet->l4_offset + (header[12] >> 4) * 4;
	for (int i = 0; i < TCP_OPTIONS_MAX; i++) {
		__u8 *option = packet_at(data, at, TCP_OPTION_AT_MASK);

		if (at + TCP_OPTION_BYTES > end || (void *)option + TCP_OPTION_BYTES > data_end ||
		    option[0] == TCP_OPTION_END)
			return 0;
		if (option[0] == TCP_OPTION_MSS) {
			if (option[1] == TCP_OPTION_BYTES)
				mss_write(ctx, packet, at + 2, limit);
			return 0;
		}
		if (option[0] != TCP_OPTION_NOP && option[1] < 2)
			return 0;
		at += option[0] == TCP_OPTION_NOP ? 1 : option[1];
	}
	return 0;
}

static __always_inline void mss_clamp(ctx_t *ctx, const struct packet *packet, const int family)
{
	const __u8 answer = TCP_SYN | TCP_ACK;
	__u32 limit = family == IPV4 ? node_config.mss_ipv4 : node_config.mss_ipv6;

	if (limit && packet->tuple.protocol == IPPROTO_TCP &&
	    (packet->tcp_flags & answer) == answer)
		mss_lower(ctx, packet, limit);
}

#endif
