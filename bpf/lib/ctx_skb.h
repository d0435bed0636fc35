/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Socket buffers at tc as lib/ctx.h has them. */
#ifndef WEIR_LIB_CTX_SKB_H
#define WEIR_LIB_CTX_SKB_H

#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include "abi/nexthop.h"
#include "lib/packet.h"

typedef struct __sk_buff ctx_t;

#define VERDICT_PASS	TC_ACT_OK
#define VERDICT_DROP	TC_ACT_SHOT
#define VERDICT_ABORTED TC_ACT_SHOT

static __always_inline __u32 ctx_bytes(const ctx_t *ctx)
{
	return ctx->len;
}

static __always_inline __u32 ctx_ingress_ifindex(const ctx_t *ctx)
{
	return ctx->ifindex;
}

/*
 * SCTP's way of segmentation (GSO_BY_FRAGS): headers alone in the front, each segment's chunks in a
 * buffer of its own, of any size. What is pulled to the front is lost to its segment.
 */
#define SEGMENTS_IN_LIST 0xffff

static __always_inline bool is_list_of_segments(const ctx_t *ctx)
{
	return ctx->gso_size == SEGMENTS_IN_LIST;
}

/* Headers may lie in the buffer's pages; what was written by a socket has them in front. */
static __always_inline bool ctx_read_ahead(ctx_t *ctx, __u32 bytes)
{
	__u32 wanted = ctx->len < bytes ? ctx->len : bytes;

	return is_list_of_segments(ctx) || ctx->data_end - ctx->data >= wanted ||
	       !bpf_skb_pull_data(ctx, wanted);
}

/* What was merged on its way in, or not cut yet, is sent in segments of this size. */
static __always_inline __u32 ctx_segment_bytes(ctx_t *ctx, const struct packet *packet)
{
	__u8 words = sizeof(struct udphdr) / 4 << 4;

	if (!ctx->gso_size)
		return packet->ip_bytes;
	if (is_list_of_segments(ctx))
		return 0;
	if (packet->tuple.protocol == IPPROTO_TCP)
		bpf_skb_load_bytes(ctx, packet->l4_offset + 12, &words, sizeof(words));
	return packet->l4_offset - packet->l3_offset + (words >> 4) * 4 + ctx->gso_size;
}

static __always_inline int ctx_redirect(__u32 ifindex)
{
	return bpf_redirect(ifindex, 0);
}

/* What a pod's device must take of enum nexthop_flags, either of them: NAPI matters to frames of
 * XDP alone, but without it the pod is known only where the device may be skipped. */
#define POD_DEVICE_WAYS (NEXTHOP_REDIRECT | NEXTHOP_BYPASS)

/*
 * From the uplink's receive path right into that of the pod's end, within the same softirq; through
 * the device, the buffer would wait in its end's queue for one of its own. Nobody looks at the
 * link layer again: what was not for this node, or still has a tag, is not taken for the pod's.
 */
static __always_inline int ctx_redirect_to_pod(ctx_t *ctx, const struct nexthop *device,
					       __u32 ifindex, const int family)
{
	const __be16 protocol = bpf_htons(family == IPV4 ? ETH_P_IP : ETH_P_IPV6);

	if (device->flags & NEXTHOP_BYPASS && ctx->pkt_type == PACKET_HOST &&
	    ctx->protocol == protocol && !ctx->vlan_present)
		return bpf_redirect_peer(ifindex, 0);
	return bpf_redirect(ifindex, 0);
}

/*
 * What one of our programs sends out by an uplink needs nothing more of the one at its egress
 * (lib/egress.h), which is told by a mark that lasts until there. The stack writes over it; who
 * else redirects a packet on its way might carry it on, so it is wiped when it was seen.
 */
#define SENT_BY_US_0 0x57656972
#define SENT_BY_US_1 0x73656e74

static __always_inline int ctx_leave_by(ctx_t *ctx, __u32 ifindex)
{
	ctx->cb[0] = SENT_BY_US_0;
	ctx->cb[1] = SENT_BY_US_1;
	return bpf_redirect(ifindex, 0);
}

static __always_inline bool ctx_was_sent_by_us(ctx_t *ctx)
{
	if (ctx->cb[0] != SENT_BY_US_0 || ctx->cb[1] != SENT_BY_US_1)
		return false;
	ctx->cb[0] = 0;
	return true;
}

/* Counted, for the verifier of 6.1 sees no end in what packet->l3_offset says. */
#define TAGS_MAX  2
#define TAG_BYTES 4

/* The outer tag is beside the skb's data, an inner one in it. */
static __always_inline bool ctx_strip_tags(ctx_t *ctx, const struct packet *packet)
{
	if (ctx->vlan_present && bpf_skb_vlan_pop(ctx))
		return false;
	for (__u32 i = 0; i < TAGS_MAX; i++) {
		if (packet->l3_offset <= sizeof(struct ethhdr) + i * TAG_BYTES)
			return true;
		if (bpf_skb_vlan_pop(ctx))
			return false;
	}
	return true;
}

/*
 * Encapsulation, as UDP if there is more than an IP header: what is still to be cut into segments
 * learns where the inner headers begin, and keeps its segments' size, for the MTU was asked with
 * the tunnel's headers taken off.
 */
static __always_inline bool ctx_push_outer(ctx_t *ctx, const struct packet *packet, int bytes,
					   const int outer_family)
{
	const int ip_bytes = outer_family == IPV4 ? 20 : 40;
	const __u64 flags =
	    BPF_F_ADJ_ROOM_FIXED_GSO | (bytes > ip_bytes ? BPF_F_ADJ_ROOM_ENCAP_L4_UDP : 0) |
	    (outer_family == IPV4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);

	return ctx_strip_tags(ctx, packet) &&
	       !bpf_skb_adjust_room(ctx, bytes, BPF_ADJ_ROOM_MAC, flags);
}

static __always_inline bool ctx_make_room(ctx_t *ctx, const struct packet *packet, int bytes)
{
	(void)packet;
	return !bpf_skb_adjust_room(ctx, bytes, BPF_ADJ_ROOM_MAC, 0);
}

/* BPF_F_ADJ_ROOM_DECAP_L3_IPV4 and _IPV6, which older headers lack. */
#define DECAP_L3(protocol) ((protocol) == bpf_htons(ETH_P_IP) ? 1ULL << 7 : 1ULL << 8)

/*
 * The flags that say what family comes out exist from 6.3 on (a flag that is not known is refused).
 * Before, the outer header is first turned into one of the inner family.
 */
static __always_inline bool ctx_pop_outer(ctx_t *ctx, __u32 inner_offset, __be16 protocol)
{
	int bytes = (int)inner_offset - (int)sizeof(struct ethhdr);

	if (bpf_skb_adjust_room(ctx, -bytes, BPF_ADJ_ROOM_MAC,
				BPF_F_ADJ_ROOM_FIXED_GSO | DECAP_L3(protocol))) {
		if (ctx->protocol != protocol) {
			if (bpf_skb_change_proto(ctx, protocol, 0))
				return false;
			bytes += protocol == bpf_htons(ETH_P_IPV6) ? 20 : -20;
		}
		if (bpf_skb_adjust_room(ctx, -bytes, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
			return false;
	}
	return !bpf_skb_store_bytes(ctx, offsetof(struct ethhdr, h_proto), &protocol,
				    sizeof(protocol), 0);
}

static __always_inline bool ctx_resize(ctx_t *ctx, __u32 bytes)
{
	return !bpf_skb_change_tail(ctx, bytes, 0);
}

/*
 * Where the device has summed up all that came (CHECKSUM_COMPLETE), the pod's stack believes that
 * sum: what was written in place and is not made up for by a checksum in the packet is added.
 */
static __always_inline void ctx_add_to_sum(ctx_t *ctx, __u32 difference)
{
	bpf_csum_update(ctx, difference);
}

/* All that answers quote, and more than there is up to the end of any transport's ports. */
#define HEAD_KEPT_BYTES	  80
#define HEAD_PULLED_BYTES 128

/*
 * What was merged on its way in, or comes from a stack next door, has an unfinished checksum
 * (CHECKSUM_PARTIAL): the buffer may not end before the checksum's field, and the device would
 * finish it in whatever stands there. No helper says that there is none to finish, but the kernel
 * sees it when the place where the sum begins is taken off the front. So the head is copied behind
 * that place, and what comes before is taken off.
 */
static __always_inline bool ctx_keep_head(ctx_t *ctx, const struct packet *packet, __u32 ip_bytes)
{
	const __u32 moved = packet->l3_offset + HEAD_PULLED_BYTES + HEAD_KEPT_BYTES;
	address_word *from;

	/* Room is neither made nor taken behind an inner tag. */
	if (packet->l3_offset != sizeof(struct ethhdr))
		return ctx_resize(ctx, packet->l3_offset + ip_bytes);
	/* First this, for what is cut is no longer one of many segments. */
	if (!ctx_resize(ctx, moved))
		return false;
	from = packet_l3((void *)(long)ctx->data, packet);
	if ((void *)from + HEAD_PULLED_BYTES + HEAD_KEPT_BYTES > (void *)(long)ctx->data_end)
		return false;
	for (int i = 0; i < HEAD_KEPT_BYTES / 4; i++)
		from[i + HEAD_PULLED_BYTES / 4] = from[i];
	return !bpf_skb_adjust_room(ctx, -HEAD_PULLED_BYTES, BPF_ADJ_ROOM_MAC, 0) &&
	       ctx_resize(ctx, packet->l3_offset + ip_bytes);
}

#endif
