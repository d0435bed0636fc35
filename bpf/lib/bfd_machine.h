/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The state of a BFD session: what a good packet makes of it (RFC 5880 6.8.6), what is said in
 * return (6.8.7), and what silence does (6.8.4). Knows no carrier.
 *
 * A neighbour's packets come by one queue, so nothing here is locked: of two that came at once one
 * would be forgotten, and the next says it again.
 */
#ifndef WEIR_LIB_BFD_MACHINE_H
#define WEIR_LIB_BFD_MACHINE_H

#include "lib/address.h"
#include "maps.h"

#define BFD_VERSION_SHIFT    5
#define BFD_DIAGNOSTIC_MASK  31
#define BFD_STATE_SHIFT	     6
#define BFD_FLAGS_MASK	     63
#define BFD_CLOCK	     1 /* CLOCK_MONOTONIC, as bpf_ktime_get_ns() */
#define NS_PER_US	     1000ULL
#define BFD_DETECTION_US_MAX (300 * 1000000ULL)
/* What jitter leaves of an interval (6.8.7: three quarters), and a little for a late interrupt. */
#define BFD_DUE(interval_us) ((__u64)(interval_us) * NS_PER_US * 11 / 16)

struct bfd_control {
	__u8 version; /* three bits, then five of diagnostic */
	__u8 flags;   /* two bits of state, then enum bfd_flag */
	__u8 multiplier;
	__u8 bytes;
	__be32 discriminator;
	__be32 your_discriminator;
	__be32 desired_us;
	__be32 required_us;
	__be32 echo_required_us;
};

static __always_inline __u32 bfd_longer(__u32 one, __u32 other)
{
	return one > other ? one : other;
}

/*
 * Whether frames to this neighbour are lost: it fell silent, or says that we did (or what else
 * broke). One that only begins anew gives no reason. A session that never was up tells nothing, for
 * the router may not speak BFD at all; nor does one that the router has switched off (RFC 5882).
 */
static __always_inline bool bfd_is_dead(const struct bfd_state *state)
{
	if (state->state == BFD_UP || !state->ups || state->remote_state == BFD_ADMIN_DOWN)
		return false;
	return state->diagnostic == BFD_DIAGNOSTIC_SILENCE ||
	       (state->diagnostic == BFD_DIAGNOSTIC_NEIGHBOUR &&
		WEIR_BFD_LOSSES >> state->remote_diagnostic & 1);
}

static __always_inline void bfd_mark_row(__u32 row, __u32 ifindex, bool is_dead)
{
	struct nexthop *nexthop = bpf_map_lookup_elem(&nexthops, &row);
	__u32 bits = 0;

	if (!nexthop)
		return;
#pragma unroll
	for (__u32 i = 0; i < WEIR_NEXTHOP_MEMBERS; i++)
		if (i < nexthop->member_count && nexthop->members[i].ifindex == ifindex)
			bits |= 1U << i;
	/* Every flow reads that line: it is written when there is news alone. */
	if ((nexthop->members_down & bits) == (is_dead ? bits : 0))
		return;
	if (is_dead)
		__sync_fetch_and_or(&nexthop->members_down, bits);
	else
		__sync_fetch_and_and(&nexthop->members_down, ~bits);
}

/* Said again with every packet, for user space may have written the rows meanwhile. */
static __always_inline void bfd_mark(const struct bfd_state *state)
{
	bool is_dead = bfd_is_dead(state);

	if (state->governs & BFD_GOVERNS_IPV4)
		bfd_mark_row(NEXTHOP_UPLINKS_IPV4, state->ifindex, is_dead);
	if (state->governs & BFD_GOVERNS_IPV6)
		bfd_mark_row(NEXTHOP_UPLINKS_IPV6, state->ifindex, is_dead);
}

static __always_inline void bfd_become(struct bfd_state *state, enum bfd_session_state next,
				       enum bfd_diagnostic diagnostic, __u64 now)
{
	if (next == BFD_UP)
		state->ups++;
	else if (state->state == BFD_UP)
		state->downs++;
	if (next == BFD_DOWN || next == BFD_UP)
		state->diagnostic = diagnostic;
	state->state = next;
	state->changed_ns = now;
}

/* Nothing was heard for the detection time, unless something was since the timer was set. */
static int bfd_expire(void *map, int *key, struct bfd_timer *timer)
{
	__u32 row = *key;
	struct bfd_state *state = bpf_map_lookup_elem(&bfd_states, &row);
	__u64 now = bpf_ktime_get_ns();

	(void)map, (void)timer;
	if (!state || now - state->heard_ns < state->detection_us * NS_PER_US)
		return 0;
	state->remote_discriminator = 0;
	if (state->state != BFD_UP && state->state != BFD_INIT)
		return 0;
	bfd_become(state, BFD_DOWN, BFD_DIAGNOSTIC_SILENCE, now);
	bfd_mark(state);
	return 0;
}

static __always_inline void bfd_watch(__u32 row, __u32 detection_us)
{
	struct bfd_timer *timer = bpf_map_lookup_elem(&bfd_timers, &row);

	if (!timer)
		return;
	/* Refused when it has been done: a timer is made once in the life of its map. The callback
	 * is set each time, for the one of before may be of a program that was replaced. */
	bpf_timer_init(&timer->timer, &bfd_timers, BFD_CLOCK);
	bpf_timer_set_callback(&timer->timer, bfd_expire);
	bpf_timer_start(&timer->timer, detection_us * NS_PER_US, 0);
}

/* RFC 5880 6.8.6, the table. True: the state changed. */
static __always_inline bool bfd_step(struct bfd_state *state, __u32 remote, __u64 now)
{
	if (remote == BFD_ADMIN_DOWN || (remote == BFD_DOWN && state->state == BFD_UP)) {
		if (state->state == BFD_DOWN)
			return false;
		bfd_become(state, BFD_DOWN, BFD_DIAGNOSTIC_NEIGHBOUR, now);
		return true;
	}
	if (state->state == BFD_DOWN && remote == BFD_DOWN) {
		bfd_become(state, BFD_INIT, BFD_DIAGNOSTIC_NONE, now);
		return true;
	}
	if ((state->state == BFD_DOWN && remote == BFD_INIT) ||
	    (state->state == BFD_INIT && remote >= BFD_INIT)) {
		bfd_become(state, BFD_UP, BFD_DIAGNOSTIC_NONE, now);
		return true;
	}
	return false;
}

/* What we say from now on; what the peer must have heard before it counts is polled for (6.8.3). */
static __always_inline void bfd_tell(const struct bfd_session *session, struct bfd_state *state)
{
	__u32 required = session->interval_us;
	/* Ours goes out when the neighbour's comes in: never less than that is promised. */
	__u32 desired = bfd_longer(required, state->remote_desired_us);

	if (state->state != BFD_UP)
		desired = bfd_longer(desired, WEIR_BFD_SLOW_US);
	if (state->state != BFD_UP || !state->told_desired_us) {
		state->is_polling = 0;
		state->required_us = required;
	} else if (desired != state->told_desired_us || required != state->told_required_us) {
		state->is_polling = 1;
		state->required_us = bfd_longer(required, state->required_us);
	}
	state->told_desired_us = desired;
	state->told_required_us = required;
}

static __always_inline void bfd_note(struct bfd_state *state, const struct bfd_control *control,
				     __u64 now)
{
	state->heard_ns = now;
	state->received++;
	state->remote_discriminator = bpf_ntohl(control->discriminator);
	state->remote_desired_us = bpf_ntohl(control->desired_us);
	state->remote_required_us = bpf_ntohl(control->required_us);
	state->remote_state = control->flags >> BFD_STATE_SHIFT;
	state->remote_flags = control->flags & BFD_FLAGS_MASK;
	state->remote_diagnostic = control->version & BFD_DIAGNOSTIC_MASK;
	state->remote_multiplier = control->multiplier;
	if (control->flags & BFD_FINAL && state->is_polling) {
		state->is_polling = 0;
		state->required_us = state->told_required_us;
	}
}

/* 6.8.4: the neighbour's multiplier, and the slower of what it would like and what we take. */
static __always_inline __u32 bfd_detection_us(const struct bfd_state *state)
{
	__u64 detection_us = (__u64)state->remote_multiplier *
			     bfd_longer(state->required_us, state->remote_desired_us);

	return detection_us < BFD_DETECTION_US_MAX ? detection_us : BFD_DETECTION_US_MAX;
}

/*
 * Whether the packet is answered. At once: a poll, and news. Else when the interval has passed, and
 * not to a neighbour that wants no packets or, on demand, none while both are up.
 */
static __always_inline bool bfd_is_due(const struct bfd_state *state, __u64 now)
{
	bool is_quiet =
	    !state->remote_required_us || (state->remote_flags & BFD_DEMAND &&
					   state->state == BFD_UP && state->remote_state == BFD_UP);

	if (is_quiet && !state->is_polling)
		return false;
	return now - state->answered_ns >=
	       BFD_DUE(bfd_longer(state->told_desired_us, state->remote_required_us));
}

static __always_inline void bfd_write(struct bfd_control *control,
				      const struct bfd_session *session,
				      const struct bfd_state *state)
{
	bool is_final = control->flags & BFD_POLL;
	__u32 said = session->is_admin_down ? BFD_ADMIN_DOWN : state->state;
	__u32 diagnostic = session->is_admin_down ? BFD_DIAGNOSTIC_ADMIN : state->diagnostic;

	control->version = 1 << BFD_VERSION_SHIFT | (diagnostic & BFD_DIAGNOSTIC_MASK);
	control->flags = said << BFD_STATE_SHIFT | BFD_INDEPENDENT |
			 (is_final	      ? BFD_FINAL
			  : state->is_polling ? BFD_POLL
					      : 0);
	control->multiplier = session->multiplier;
	control->bytes = sizeof(*control);
	control->your_discriminator = control->discriminator;
	control->discriminator = bpf_htonl(session->discriminator);
	control->desired_us = bpf_htonl(state->told_desired_us);
	control->required_us = bpf_htonl(state->told_required_us);
	control->echo_required_us = 0;
}

/* A good packet. True: `control` is the answer that goes out now. */
static __always_inline bool bfd_hear(const struct bfd_session *session, struct bfd_state *state,
				     struct bfd_control *control)
{
	__u64 now = bpf_ktime_get_ns();
	bool is_news;

	state->governs = session->governs;
	bfd_note(state, control, now);
	if (session->is_admin_down) {
		is_news = state->state != BFD_DOWN;
		if (is_news)
			bfd_become(state, BFD_DOWN, BFD_DIAGNOSTIC_ADMIN, now);
	} else {
		is_news = bfd_step(state, state->remote_state, now);
	}
	bfd_tell(session, state);
	state->detection_us = bfd_detection_us(state);
	bfd_watch(session->row, state->detection_us);
	bfd_mark(state);
	if (!is_news && !(control->flags & BFD_POLL) && !bfd_is_due(state, now))
		return false;
	state->answered_ns = now;
	state->answered++;
	bfd_write(control, session, state);
	return true;
}

#endif
