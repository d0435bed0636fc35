/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Put in front of the product's sources (clang -include) to make programs that count their own
 * accesses to maps. Nothing else of them changes. Each place of the source counts one kind, which
 * the map's declared type decides at compile time.
 *
 * In a variable and not in a map of its own: programs whose stacks are full have no room for a key.
 */
#ifndef WEIR_BENCH_COUNT_H
#define WEIR_BENCH_COUNT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum counted_access {
	COUNTED_ARRAY,	  /* a look-up that the kernel turns into a few instructions */
	COUNTED_CALL,	  /* a look-up by a call: hash, LRU hash, trie */
	COUNTED_WRITE,	  /* update or delete */
	COUNTED_FRONTEND, /* of the look-ups those of `frontends`: the flow was judged, not known */
	COUNTED_KINDS,
};

__u64 counted_accesses[COUNTED_KINDS] = {};

#define COUNTED_TYPE(map) (sizeof(*(map)->type) / sizeof(int))
#define COUNTED_IS_ARRAY(map)                                                                      \
	(COUNTED_TYPE(map) == BPF_MAP_TYPE_ARRAY || COUNTED_TYPE(map) == BPF_MAP_TYPE_PERCPU_ARRAY)
#define COUNT_ACCESS(kind) (counted_accesses[kind] += 1)

#define bpf_map_lookup_elem(map, key)                                                              \
	({                                                                                         \
		COUNT_ACCESS(COUNTED_IS_ARRAY(map) ? COUNTED_ARRAY : COUNTED_CALL);                \
		if (__builtin_strcmp(#map, "&frontends") == 0)                                     \
			COUNT_ACCESS(COUNTED_FRONTEND);                                            \
		(bpf_map_lookup_elem)(map, key);                                                   \
	})
#define bpf_map_update_elem(map, key, value, flags)                                                \
	({                                                                                         \
		COUNT_ACCESS(COUNTED_WRITE);                                                       \
		(bpf_map_update_elem)(map, key, value, flags);                                     \
	})
#define bpf_map_delete_elem(map, key)                                                              \
	({                                                                                         \
		COUNT_ACCESS(COUNTED_WRITE);                                                       \
		(bpf_map_delete_elem)(map, key);                                                   \
	})

#endif
