/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * SCTP (RFC 9260): its states by the first chunk, and its CRC32c mended without a pass over the
 * payload.
 *
 * A CRC is linear: the checksums of two packets of one length differ by the CRC (without its
 * constants) of their difference. Ports are the first four bytes and addresses are not covered, so
 * the difference is one word and zeros, and its CRC is the word, as a polynomial, times x^(8 *
 * length) modulo CRC32c's. That power is put together from those of the length's bits: 32 steps for
 * each bit that is set.
 *
 * A checksum of zero is one that the sender left to the hardware (over veth devices, all the way):
 * the kernel writes zero there and computes it where the packet leaves for a wire. It stays zero,
 * and XDP leaves such frames to tc (lib/unfinished.h), for it cannot ask for the computation.
 */
#ifndef WEIR_LIB_SCTP_H
#define WEIR_LIB_SCTP_H

#include "lib/packet.h"

union sctp_ports {
	struct {
		__be16 source;
		__be16 destination;
	};
	__u32 word;
};

/* The common header and the first chunk's. */
struct sctp_header {
	union sctp_ports ports;
	__be32 tag;
	__u32 check; /* in little-endian order */
	__u8 chunk;  /* enum sctp_chunk */
	__u8 chunk_flags;
	__be16 chunk_bytes;
};

/* Types that begin or end an association; RFC 9260 3.2. */
enum sctp_chunk {
	SCTP_INIT = 1,
	SCTP_INIT_ACK = 2,
	SCTP_ABORT = 6,
	SCTP_SHUTDOWN = 7,
	SCTP_SHUTDOWN_ACK = 8,
	SCTP_SHUTDOWN_COMPLETE = 14,
};

/* Without the chunk, which need not lie in front (lib/ctx_skb.h). */
#define SCTP_COMMON_BYTES 12

/* What a TCP segment that means the same would have. INIT and SHUTDOWN COMPLETE travel alone, and
 * what is sent in segments is data. */
static __always_inline __u8 sctp_flags(const struct sctp_header *sctp, const void *data_end)
{
	if ((void *)(sctp + 1) > data_end)
		return TCP_ACK;
	switch (sctp->chunk) {
	case SCTP_INIT:
		return TCP_SYN;
	case SCTP_INIT_ACK:
		return TCP_SYN | TCP_ACK;
	case SCTP_ABORT:
	case SCTP_SHUTDOWN_COMPLETE:
		return TCP_RST;
	case SCTP_SHUTDOWN:
	case SCTP_SHUTDOWN_ACK:
		return TCP_FIN | TCP_ACK;
	default:
		return TCP_ACK;
	}
}

#define CRC32C_POLYNOMIAL 0x82f63b78 /* bit 31 is x^0 */
#define CRC32C_ONE	  0x80000000
#define IP_LENGTH_BITS	  16

/* x^(8 * 2^k) modulo the polynomial: what 2^k further bytes multiply by. */
static const __u32 crc32c_powers[IP_LENGTH_BITS] = {
    0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
    0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
};

/* Without branches: the verifier would walk both ways of each. */
static __always_inline __u32 crc32c_multiply(__u32 one, __u32 other)
{
	__u32 product = 0;

	for (int i = 0; i < 32; i++) {
		product ^= other & -(one >> 31);
		one <<= 1;
		other = other >> 1 ^ (CRC32C_POLYNOMIAL & -(other & 1));
	}
	return product;
}

/* What to exclusive-or a checksum with when `ports` is what the ports' word changes by. */
GLOBAL_FUNCTION __u32 sctp_check_difference(__u32 ports, __u32 bytes)
{
	__u32 difference = ports;

	for (__u32 k = 0; k < IP_LENGTH_BITS; k++)
		if (bytes >> k & 1)
			difference = crc32c_multiply(difference, crc32c_powers[k]);
	return difference;
}

#endif
