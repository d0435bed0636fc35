/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the programs know about the packet at hand. Parsed once; offsets instead of pointers, for
 * the helpers that move the packet's start invalidate every pointer into it.
 */
#ifndef WEIR_LIB_PACKET_H
#define WEIR_LIB_PACKET_H

#include "lib/address.h"

/* 1: a program at pods' devices, which translates only what they send. */
#ifndef WEIR_POD_DEVICE
#define WEIR_POD_DEVICE 0
#endif

struct tuple {
	struct address source;
	struct address destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 protocol;
};

struct packet {
	struct tuple tuple;
	__u32 l3_offset; /* of the IP header: 14 and 4 more for each VLAN tag */
	__u32 l4_offset;
	__u32 ip_bytes;	    /* length by the IP header, without link layer and padding */
	__u32 ifindex;	    /* where it came in */
	__u32 second_id;    /* what the tunnel's option names besides the backend; 0: nothing */
	__be32 fragment_id; /* IPv4's in the first two bytes */
	__u8 tcp_flags; /* enum tcp_flag; 0 for UDP; of SCTP's first chunk what means the same */
	__u8 ttl;
	__u8 traffic_class;  /* IPv4 TOS, IPv6 traffic class */
	__u8 is_tunnelled;   /* enum tunnelled */
	__u8 fragment : 4;   /* enum fragment */
	__u8 is_of_node : 1; /* to a FRONTEND_OF_NODE */
	__u8 is_answer : 1;  /* of a flow that its destination began */
	__u8 is_unknown : 1; /* of a pod whose end of the flow had no entry */
	__u8 leaves : 1;     /* of a FLOW_LEAVES, which was looked at in this tick */
	__u8 parsed;	     /* enum parsed, where it was not the parser's caller who asked */
	__u8 is_foreseen;    /* scratch->choice is for it, and its entries were asked for */
	__u8 is_judged;	     /* policy allows what it became */
};

/* Not 0: another node sent it here. */
enum tunnelled {
	TUNNELLED_CHOSEN = 1,	/* with its choice */
	TUNNELLED_LAST = 2,	/* passed on already: it goes no further */
	TUNNELLED_UNCHOSEN = 3, /* without an option that could hold a choice */
};

enum fragment {
	FRAGMENT_NONE = 0,
	FRAGMENT_FIRST = 1, /* has the ports, and a checksum over more than is in it */
	FRAGMENT_LATER = 2, /* addresses alone: what lies behind them is payload */
};

/* Length of what follows the IP header, by that header. */
static __always_inline __u32 packet_l4_bytes(const struct packet *packet)
{
	return packet->ip_bytes - (packet->l4_offset - packet->l3_offset);
}

/* Byte 13 of a TCP header. */
enum tcp_flag {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
};

/* The first packet of a connection: no earlier decision binds it. */
static __always_inline bool is_first_packet(const struct packet *packet)
{
	return (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

static __always_inline bool is_last_packet(const struct packet *packet)
{
	return packet->tcp_flags & (TCP_FIN | TCP_RST);
}

/*
 * Offsets are read back from the stack as unknown scalars, and the verifier grants packet access
 * only behind bounded ones. Ethernet with two tags is 22 bytes, the longest IP header 60.
 */
#define L3_OFFSET_MASK 31
#define L4_OFFSET_MASK 127

/*
 * The compiler may drop a mask or a bounds check that another one implies; the verifier sees no
 * implications. This hides a value's origin from the compiler.
 */
#define OPAQUE(variable) asm volatile("" : "+r"(variable))

static __always_inline void *packet_at(void *data, __u32 offset, const __u32 mask)
{
	void *start;

	OPAQUE(offset);
	start = data + (offset & mask);
	OPAQUE(start);
	return start;
}

static __always_inline void *packet_l3(void *data, const struct packet *packet)
{
	return packet_at(data, packet->l3_offset, L3_OFFSET_MASK);
}

static __always_inline void *packet_l4(void *data, const struct packet *packet)
{
	return packet_at(data, packet->l4_offset, L4_OFFSET_MASK);
}

#endif
