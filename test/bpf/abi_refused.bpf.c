// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* A type that has no sound codec: the generator must say so and name the member. */
#include <linux/types.h>

struct unnamed_union {
	__u32 kind;
	union {
		__u32 number;
		__u8 bytes[4];
	};
};

struct unnamed_union unnamed_union;
