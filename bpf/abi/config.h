/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Configuration baked into the programs at load (.rodata), versions of the pinned maps' layouts,
 * and the rows of the one-row maps.
 */
#ifndef WEIR_ABI_CONFIG_H
#define WEIR_ABI_CONFIG_H

#include "types.h"

/* One number per map, raised when its key, value or meaning changes: it is part of the pin's name.
 */
enum map_version {
	MAP_VERSION_FRONTENDS = 2,
	MAP_VERSION_FRONTEND_ADDRESSES = 1,
	MAP_VERSION_SLOTS = 1,
	MAP_VERSION_BACKENDS = 1,
	MAP_VERSION_BACKEND_IDS = 1,
	MAP_VERSION_NEXTHOPS = 2,
	MAP_VERSION_NODES = 1,
	MAP_VERSION_ENDPOINTS = 1,
	MAP_VERSION_FLOWS = 3,
	MAP_VERSION_SECRETS = 1,
	MAP_VERSION_EVENTS = 1,
	MAP_VERSION_METRICS = 1,
	MAP_VERSION_SOCK_REVERSE = 2,
	MAP_VERSION_FRONTEND_FILTER = 3,
	MAP_VERSION_FLOW_DETAILS = 1,
	MAP_VERSION_AFFINITY = 1,
	MAP_VERSION_SOURCE_RANGES = 1,
	MAP_VERSION_SERVICE_CIDRS = 1,
	MAP_VERSION_FRAGMENTS = 1,
	MAP_VERSION_NETNS_ENDPOINTS = 1,
	MAP_VERSION_ANSWERS = 1,
	MAP_VERSION_SCRATCH = 2,
	MAP_VERSION_SOCK_PEERS = 1,
	MAP_VERSION_BFD_SESSIONS = 1,
	MAP_VERSION_BFD_STATES = 1,
	MAP_VERSION_BFD_TIMERS = 1,
	MAP_VERSION_IDENTITIES = 2,
	MAP_VERSION_IDENTITY_PREFIXES = 2,
	MAP_VERSION_POLICY_SUBJECTS = 2,
	MAP_VERSION_POLICY_SETS = 2,
	MAP_VERSION_POLICY_PEERS = 2,
	MAP_VERSION_POLICY_CELLS = 1,
	MAP_VERSION_POLICY_CLASSES = 2,
	MAP_VERSION_POLICY_PORTS = 2,
	MAP_VERSION_POLICY_GENERATIONS = 2,
	MAP_VERSION_POLICY_HOST = 2,
	MAP_VERSION_KNOWN_NETNS = 1,
	MAP_VERSION_CLOSED_CGROUPS = 1,
	MAP_VERSION_NOTED_NETNS = 1,
};

/* The words of one key of the tuple hashes (lib/hash.h), by what they are added to. */
enum hash_word {
	HASH_WORD_PORTS = 0, /* and the protocol */
	HASH_WORD_IPV4 = 2,  /* both addresses */
	HASH_WORD_SOURCE = 4,
	HASH_WORD_DESTINATION = 8,
	HASH_WORD_COUNT = 12,
};

struct hash_key {
	__u32 words[HASH_WORD_COUNT];
};

/* The one load-time constant `node_config`, present in every object. */
struct node_config {
	struct address tunnel_ipv4; /* outer source of what we tunnel; :: when the node has none */
	struct address tunnel_ipv6;
	__u64 host_netns_cookie; /* loopback node ports are for sockets of this namespace alone */
	__u64 flow_secret[2]; /* key of the flow table's hash; kept in `secrets` so that a restart
				 reads the same */
	struct hash_key flow_keys[2]; /* the same stretched to the words that are added */
	__u32 node_id;
	__u32 tick_shift;     /* a flow's tick is 2^this jiffies; 0: WEIR_FLOW_TICK_JIFFIES_SHIFT */
	__u32 flow_set_mask;  /* sets in `flows` (a power of two) less one; 0: WEIR_FLOW_SETS - 1 */
	__u32 redirects_only; /* never XDP_TX, for an uplink is a veth: see lib/ctx_xdp.h */
	/* Source ports of masqueraded flows, host order, both included; 0: SNAT is off. */
	__u16 snat_port_first;
	__u16 snat_port_last;
	/* What SYN-ACKs of tunnelled flows may announce at most; 0: left alone. */
	__u16 mss_ipv4;
	__u16 mss_ipv6;
	/* Source ports, and identifiers of pings, of what nodes' kernels masquerade, host order,
	   both included; 0: ours masquerade nothing. */
	__u16 masquerade_port_first;
	__u16 masquerade_port_last;
	__u8 tunnel_kind; /* enum tunnel_kind, of what is sent; both are received */
	__u8 per_packet;  /* pods' packets to frontends are balanced at their device too, not at the
			     socket alone; SCTP always is */
	__u8 enforces_policy; /* 0: nothing of it costs anything */
	__u8 pad0;
	__u32 kernel_socket_bit; /* of the kernel's struct sock, which says that it made the socket
				    itself; 0: unknown. See lib/sock_memory.h */
	__u32 pad1;
};

/* A second load-time constant of what meets packets: `uses_frontend_filter` (0: look up each). */

enum tunnel_kind {
	TUNNEL_GENEVE = 0, /* carries the choice of the entry node */
	TUNNEL_IPIP = 1, /* protocol 4 or 41 without any option: the backend's node chooses again */
};

/* answers[0], per CPU: how many refusals and ICMP errors were made in this tick. */
struct answer_count {
	__u32 tick;
	__u32 answers;
};

/* secrets[0]: drawn once per boot, outlives the agent. */
struct secret {
	__u64 flow[2];
};

#endif
