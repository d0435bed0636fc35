/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * XDP frames as lib/ctx.h has them.
 *
 * A frame that this program sends out: back through the device it came in by, XDP_TX is the shorter
 * way. Not on a veth: its driver wakes the other end for XDP_TX only if that end has an XDP program
 * of its own, though it queues the frame when NAPI alone is there (GRO on). The frame then waits
 * until something else wakes the other end, up to seconds. A redirect into the same device always
 * wakes it.
 */
#ifndef WEIR_LIB_CTX_XDP_H
#define WEIR_LIB_CTX_XDP_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>
#include "abi/config.h"
#include "abi/nexthop.h"
#include "lib/packet.h"

extern const volatile struct node_config node_config;

typedef struct xdp_md ctx_t;

#define VERDICT_PASS	XDP_PASS
#define VERDICT_DROP	XDP_DROP
#define VERDICT_ABORTED XDP_ABORTED

static __always_inline __u32 ctx_bytes(ctx_t *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

/* A frame's first buffer holds more headers than anybody reads. */
static __always_inline bool ctx_read_ahead(ctx_t *ctx, __u32 bytes)
{
	(void)ctx;
	(void)bytes;
	return true;
}

static __always_inline __u32 ctx_ingress_ifindex(const ctx_t *ctx)
{
	return ctx->ingress_ifindex;
}

static __always_inline __u32 ctx_segment_bytes(ctx_t *ctx, const struct packet *packet)
{
	(void)ctx;
	return packet->ip_bytes;
}

static __always_inline int ctx_redirect(__u32 ifindex)
{
	return bpf_redirect(ifindex, 0);
}

/* What a pod's device must take of enum nexthop_flags, either of them. */
#define POD_DEVICE_WAYS NEXTHOP_REDIRECT

static __always_inline int ctx_redirect_to_pod(ctx_t *ctx, const struct nexthop *device,
					       __u32 ifindex, const int family)
{
	(void)ctx, (void)device, (void)family;
	return bpf_redirect(ifindex, 0);
}

static __always_inline int ctx_leave_by(ctx_t *ctx, __u32 ifindex)
{
	if (ifindex == ctx->ingress_ifindex && !node_config.redirects_only)
		return XDP_TX;
	return bpf_redirect(ifindex, 0);
}

static __always_inline int tags_bytes(const struct packet *packet)
{
	return (int)(packet->l3_offset & L3_OFFSET_MASK) - (int)sizeof(struct ethhdr);
}

/* The Ethernet header itself is left to the caller to write. */
static __always_inline bool ctx_strip_tags(ctx_t *ctx, const struct packet *packet)
{
	return tags_bytes(packet) <= 0 || !bpf_xdp_adjust_head(ctx, tags_bytes(packet));
}

/* The Ethernet header is left to the caller to write. `outer_family` tells socket buffers alone. */
static __always_inline bool ctx_push_outer(ctx_t *ctx, const struct packet *packet, int bytes,
					   const int outer_family)
{
	(void)outer_family;
	return !bpf_xdp_adjust_head(ctx, tags_bytes(packet) - bytes);
}

/* Moves the link layer `distance` bytes to the front, over the room made there. */
static __always_inline bool link_layer_move(void *data, void *data_end, __u32 bytes, int distance)
{
	for (int i = 0; i < (L3_OFFSET_MASK - 1) / 2; i++) {
		__u16 *to = data + i * 2;
		__u16 *from = data + distance + i * 2;

		if ((__u32)i * 2 >= bytes)
			break;
		if ((void *)(from + 1) > data_end)
			return false;
		*to = *from;
	}
	return true;
}

static __always_inline bool ctx_make_room(ctx_t *ctx, const struct packet *packet, int bytes)
{
	if (bpf_xdp_adjust_head(ctx, -bytes))
		return false;
	return link_layer_move((void *)(long)ctx->data, (void *)(long)ctx->data_end,
			       packet->l3_offset, bytes);
}

/*
 * The frame's own addresses stay in front of the inner packet: the stack wants to see its own as
 * the destination when it is the stack that delivers.
 */
static __always_inline bool ctx_pop_outer(ctx_t *ctx, __u32 inner_offset, __be16 protocol)
{
	struct ethhdr link;
	void *data = (void *)(long)ctx->data;

	if (data + sizeof(link) > (void *)(long)ctx->data_end)
		return false;
	__builtin_memcpy(&link, data, sizeof(link));
	link.h_proto = protocol;
	if (bpf_xdp_adjust_head(ctx, (int)inner_offset - (int)sizeof(link)))
		return false;
	data = (void *)(long)ctx->data;
	if (data + sizeof(link) > (void *)(long)ctx->data_end)
		return false;
	__builtin_memcpy(data, &link, sizeof(link));
	return true;
}

/* A multi-buffer frame loses its fragments. */
static __always_inline bool ctx_resize(ctx_t *ctx, __u32 bytes)
{
	return bpf_xdp_adjust_tail(ctx, (int)bytes - (int)bpf_xdp_get_buff_len(ctx)) == 0;
}

static __always_inline void ctx_add_to_sum(ctx_t *ctx, __u32 difference)
{
	(void)ctx, (void)difference;
}

static __always_inline bool ctx_keep_head(ctx_t *ctx, const struct packet *packet, __u32 ip_bytes)
{
	return ctx_resize(ctx, packet->l3_offset + ip_bytes);
}

#endif
