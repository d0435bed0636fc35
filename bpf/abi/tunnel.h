/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The Geneve option (RFC 8926) that carries an entry node's choice to the backend's node. The inner
 * packet is the client's own, still addressed to the frontend.
 */
#ifndef WEIR_ABI_TUNNEL_H
#define WEIR_ABI_TUNNEL_H

#include "types.h"

#define WEIR_GENEVE_PORT 6081
/* Option classes from 0xff00 on are for private use; the type's top bit marks it critical: a
 * receiver that does not know it drops. */
#define WEIR_GENEVE_CLASS 0xff57
#define WEIR_GENEVE_TYPE  0x81
/* The base header repeats that there is a critical option (RFC 8926 3.4). */
#define WEIR_GENEVE_CRITICAL 0x40

struct dsr_option {
	__be16 option_class;
	__u8 type;
	__u8 length; /* of what follows, in 4-byte words */
	struct address backend;
	__be16 backend_port;
	__be16 second_port;
	struct address
	    second; /* the choice of the table before the last change; :: when the same */
};

#endif
