/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Pods by their cgroups. What asks differs by program (a packet's socket, or the process that
 * calls), so it comes as a macro's argument: ANCESTOR(level) is the id of the cgroup at that level,
 * 0 where there is none.
 */
#ifndef WEIR_LIB_POD_CGROUP_H
#define WEIR_LIB_POD_CGROUP_H

#include "maps.h"

/* Below the root of all, where the kubelet's root of pods may be. */
#define CGROUP_LEVELS_MAX 16

/* The level of the root of pods that this is below; 0: none. */
#define pods_root_level(ANCESTOR)                                                                  \
	({                                                                                         \
		int found = 0;                                                                     \
		for (int level = 1; level <= CGROUP_LEVELS_MAX; level++) {                         \
			__u64 id = ANCESTOR(level);                                                \
			if (!id)                                                                   \
				break;                                                             \
			if (bpf_map_lookup_elem(&closed_cgroups, &id)) {                           \
				found = level;                                                     \
				break;                                                             \
			}                                                                          \
		}                                                                                  \
		found;                                                                             \
	})

static __always_inline void note_netns(__u64 netns, __u64 below_root, __u64 below_that)
{
	struct noted_netns noted = {.below_root = below_root, .below_that = below_that};

	bpf_map_update_elem(&noted_netns, &netns, &noted, BPF_NOEXIST);
}

#endif
