// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Types for the test of the codec generator: one global of each, as in any unit that is compiled
 * for its BTF. */
#include <linux/types.h>
#include <stdbool.h>

#define doc(text) __attribute__((btf_decl_tag(text)))

enum sample_kind {
	SAMPLE_NONE = 0,
	SAMPLE_FIRST = 1,
	SAMPLE_ALIAS = 1,
	SAMPLE_LAST = 7,
};

struct sample_address {
	__u8 bytes[16];
} __attribute__((aligned(4)));

struct sample_point {
	__be32 high;
	__be16 low;
	__u16 pad0;
};

typedef struct {
	__u8 code;
	__u64 total;
} sample_holes_t;

struct sample {
	__u64 stamp doc("nanoseconds since boot");
	__s64 balance;
	struct sample_address address;
	struct sample_point points[2];
	__u16 grid[2][3];
	__be64 wide;
	__u32 many[9];
	char label[12];
	__u8 mac[6];
	bool on;
	__s8 delta;
	enum sample_kind kind;
	union {
		__be32 ipv4;
		__u8 ipv6[16];
	} either;
	struct {
		__u16 left;
		__s16 right;
	};
	struct {
		__u32 only;
	} inner;
	__u32 low_bits : 3;
	__u32 high_bits : 10;
	__u32 last;
} doc("everything the generator knows");

struct sample sample;
sample_holes_t sample_holes;
enum sample_kind sample_kind;
