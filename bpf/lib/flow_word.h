/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * An entry's word: {version, state, tick} (abi/flow.h), what time means to it, and what may replace
 * it.
 *
 * RST is not checked against the window: the table knows no sequence numbers. So a forged one makes
 * an entry FLOW_CLOSING, and no more than that: it goes on forwarding, each packet renews its time,
 * and only another flow in need of its place takes it away.
 */
#ifndef WEIR_LIB_FLOW_WORD_H
#define WEIR_LIB_FLOW_WORD_H

#include "maps.h"
#include "lib/packet.h"

extern const volatile struct node_config node_config;

#define FLOW_TICK_MASK	  ((1ULL << WEIR_FLOW_TICK_BITS) - 1)
#define FLOW_STATE_MASK	  (((1ULL << WEIR_FLOW_STATE_BITS) - 1) << WEIR_FLOW_STATE_SHIFT)
#define FLOW_VERSION_MASK (~0ULL << WEIR_FLOW_VERSION_SHIFT)
#define FLOW_VERSION_ONE  (1ULL << WEIR_FLOW_VERSION_SHIFT)

static __always_inline __u32 flow_now(void)
{
	__u32 shift = node_config.tick_shift ?: WEIR_FLOW_TICK_JIFFIES_SHIFT;

	return (bpf_jiffies64() >> (shift & 63)) & FLOW_TICK_MASK;
}

static __always_inline enum flow_state flow_state(__u64 word)
{
	return (word & FLOW_STATE_MASK) >> WEIR_FLOW_STATE_SHIFT;
}

static __always_inline __u64 flow_word(__u64 version, enum flow_state state, __u32 tick)
{
	return (version & FLOW_VERSION_MASK) | (__u64)state << WEIR_FLOW_STATE_SHIFT | tick;
}

/* Another CPU may have begun the next tick already: what lies ahead of now is not idle at all.
 * Every limit is far below half the range, and user space frees what is older in time. */
static __always_inline __u32 flow_idle_ticks(__u64 word, __u32 now)
{
	__u32 idle = (now - (__u32)word) & FLOW_TICK_MASK;

	return idle > FLOW_TICK_MASK / 2 ? 0 : idle;
}

/* States that a flood can bring about, and that may be replaced before their time. */
static __always_inline bool flow_yields(enum flow_state state)
{
	return !(state & WEIR_FLOW_ANSWERED) || state == FLOW_CLOSING;
}

/* Too young to be freed or replaced, see WEIR_FLOW_SNAT_REST. */
static __always_inline bool flow_rests(__u8 kind, __u32 idle)
{
	return kind == FLOW_SNAT_REPLY && idle < WEIR_FLOW_SNAT_REST;
}

/* Of a tunnelled flow the entry node sees the client's half alone. */
static __always_inline bool flow_is_one_sided(__u8 kind)
{
	return kind == FLOW_TO_REMOTE;
}

/* Answered, but most likely over. */
static __always_inline bool flow_is_left_over(enum flow_state state, __u8 kind, __u8 flags,
					      __u32 idle)
{
	return (flow_is_one_sided(kind) && state == FLOW_CLIENT_CLOSED) ||
	       (flags & FLOW_IS_UDP && idle > WEIR_FLOW_SILENT_UDP);
}

static __always_inline __u32 flow_idle_limit(enum flow_state state, __u8 kind, __u8 flags)
{
	if (state == FLOW_CLOSING)
		return WEIR_FLOW_IDLE_CLOSING;
	if (state == FLOW_HALF_OPEN && !(flags & FLOW_IS_UDP))
		return WEIR_FLOW_IDLE_UNANSWERED_TCP;
	if (!(state & WEIR_FLOW_ANSWERED))
		return WEIR_FLOW_IDLE_HALF_OPEN;
	if (flags & FLOW_IS_UDP)
		return WEIR_FLOW_IDLE_ESTABLISHED_UDP;
	if (state != FLOW_ESTABLISHED)
		return WEIR_FLOW_IDLE_HALF_CLOSED;
	return flow_is_one_sided(kind) ? WEIR_FLOW_IDLE_ONE_SIDED_TCP
				       : WEIR_FLOW_IDLE_ESTABLISHED_TCP;
}

/* What a packet of either end adds to its flow's state. */
static __always_inline enum flow_state events_of_client(const struct packet *packet)
{
	if (packet->tcp_flags & TCP_RST)
		return FLOW_CLOSING;
	return FLOW_HALF_OPEN | (packet->tcp_flags & TCP_FIN ? WEIR_FLOW_CLIENT_FIN : 0);
}

/* A SYN-ACK is given to a forged SYN too; for any other segment the backend must have seen the
 * client's acknowledgment. */
static __always_inline enum flow_state events_of_backend(const struct packet *packet)
{
	if (packet->tcp_flags & TCP_RST)
		return FLOW_CLOSING;
	if (packet->tcp_flags & TCP_SYN)
		return FLOW_HALF_OPEN;
	return FLOW_ESTABLISHED | (packet->tcp_flags & TCP_FIN ? WEIR_FLOW_BACKEND_FIN : 0);
}

/* Joined; both ends' FIN are the end whatever else is known. */
static __always_inline enum flow_state flow_join(enum flow_state one, enum flow_state other)
{
	__u32 joined = one | other;
	const __u32 both = WEIR_FLOW_CLIENT_FIN | WEIR_FLOW_BACKEND_FIN;

	return (joined & both) == both ? FLOW_CLOSING : joined;
}

#endif
