/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Base types of the ABI between the kernel half and user space.
 *
 * Everything under bpf/abi is read twice: by the BPF programs, and (through the BTF of abi.c) by
 * the generator of the TypeScript codecs. Rules: fixed-size members, explicit padding named pad*,
 * big-endian members typed __be16/__be32, no bitfields, no pointers.
 */
#ifndef WEIR_ABI_TYPES_H
#define WEIR_ABI_TYPES_H

#include <linux/types.h>

/* One form for both families: IPv4 is written as ::ffff:a.b.c.d, network byte order. */
struct address {
	__u8 bytes[16];
} __attribute__((aligned(4)));

struct mac_address {
	__u8 bytes[6];
} __attribute__((aligned(2)));

#endif
