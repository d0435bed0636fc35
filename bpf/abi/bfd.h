/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * BFD (RFC 5880, single hop: RFC 5881). User space says which sessions there are, in bfd_sessions;
 * the programs hold their state, in bfd_states, which user space reads through mapped memory. A row
 * of bfd_states outlives the agent, and with it the session.
 */
#ifndef WEIR_ABI_BFD_H
#define WEIR_ABI_BFD_H

#include "types.h"

#define WEIR_BFD_PORT 3784
/* A session's packets come from this port and its row (RFC 5881 4: 49152 to 65535). */
#define WEIR_BFD_SOURCE_PORT   49152
#define WEIR_BFD_SESSIONS      64
#define WEIR_BFD_CONTROL_BYTES 24
/* No faster while a session is not up (RFC 5880 6.8.3). */
#define WEIR_BFD_SLOW_US 1000000

/* As RFC 5880 4.1 numbers them. */
enum bfd_session_state {
	BFD_ADMIN_DOWN = 0,
	BFD_DOWN = 1,
	BFD_INIT = 2,
	BFD_UP = 3,
};

enum bfd_diagnostic {
	BFD_DIAGNOSTIC_NONE = 0,
	BFD_DIAGNOSTIC_SILENCE = 1, /* control detection time expired */
	BFD_DIAGNOSTIC_ECHO = 2,
	BFD_DIAGNOSTIC_NEIGHBOUR = 3, /* neighbour signalled session down */
	BFD_DIAGNOSTIC_FORWARDING = 4,
	BFD_DIAGNOSTIC_PATH = 5,
	BFD_DIAGNOSTIC_BEYOND = 6, /* concatenated path down */
	BFD_DIAGNOSTIC_ADMIN = 7,
};

/* Those that say that frames are lost, as bits. */
#define WEIR_BFD_LOSSES                                                                            \
	(1 << BFD_DIAGNOSTIC_SILENCE | 1 << BFD_DIAGNOSTIC_ECHO | 1 << BFD_DIAGNOSTIC_FORWARDING | \
	 1 << BFD_DIAGNOSTIC_PATH | 1 << BFD_DIAGNOSTIC_BEYOND)

/* Byte 1 of a control packet, below the two bits of the state. */
enum bfd_flag {
	BFD_POLL = 0x20,
	BFD_FINAL = 0x10,
	BFD_INDEPENDENT = 0x08, /* forwarding does not share fate with the control plane */
	BFD_AUTHENTICATED = 0x04,
	BFD_DEMAND = 0x02,
	BFD_MULTIPOINT = 0x01,
};

/* What a packet of a known neighbour is refused for. */
enum bfd_refusal {
	BFD_REFUSED_HOPS = 0, /* it came through a router, or from a forger beyond one */
	BFD_REFUSED_CHECKSUM = 1,
	BFD_REFUSED_MALFORMED = 2,
	BFD_REFUSED_AUTHENTICATED = 3, /* no authentication is offered */
	BFD_REFUSED_DISCRIMINATOR = 4,
	BFD_REFUSAL_COUNT = 5,
};

/* bfd_sessions: by neighbour, on the link that it is on. */
struct bfd_key {
	struct address peer;
	__u32 ifindex;
};

/* The families whose uplink the session vouches for. */
enum bfd_governs {
	BFD_GOVERNS_IPV4 = 1,
	BFD_GOVERNS_IPV6 = 2,
};

struct bfd_session {
	__u32 row;	     /* in bfd_states and bfd_timers */
	__u32 discriminator; /* ours, never 0; the same as long as the session is wanted */
	__u32 interval_us;   /* what we would like to send at, and the fastest we take */
	__u8 multiplier;
	__u8 is_admin_down;
	__u8 governs; /* enum bfd_governs */
	__u8 pad0;
	struct address local; /* the address that the peer speaks to; :: for any */
};

/* bfd_states: written by the programs, and by user space once, before the session is there. */
struct bfd_state {
	__u64 heard_ns;	   /* the last valid packet, since boot; 0: never */
	__u64 answered_ns; /* the last answer */
	__u64 changed_ns;  /* when `state` became what it is */
	__u64 received;	   /* valid ones */
	__u64 answered;
	__u32 refused[BFD_REFUSAL_COUNT];
	__u32 ups;
	__u32 downs;		    /* from up, whatever the reason */
	__u32 detection_us;	    /* so much silence ends the session */
	__u32 remote_discriminator; /* 0: unknown, or silent too long */
	__u32 remote_desired_us;
	__u32 remote_required_us;
	__u32 told_desired_us; /* what our last answer said; 0: none yet */
	__u32 told_required_us;
	__u32 required_us; /* the peer may still send at this until a poll has ended */
	__u32 ifindex;
	__u8 state;	 /* enum bfd_session_state; BFD_ADMIN_DOWN stands in the session */
	__u8 diagnostic; /* enum bfd_diagnostic: why it went down last */
	__u8 remote_state;
	__u8 remote_diagnostic;
	__u8 remote_flags; /* enum bfd_flag */
	__u8 remote_multiplier;
	__u8 is_polling; /* our answers ask to be confirmed */
	__u8 governs;
};

#endif
