/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Compiled for its BTF and never loaded: one global per shared type, because a type that a program
 * only uses through a local pointer does not appear in BTF.
 */
#include "bfd.h"
#include "config.h"
#include "event.h"
#include "flow.h"
#include "nexthop.h"
#include "policy.h"
#include "service.h"
#include "socket.h"
#include "tunnel.h"

struct frontend_key abi_frontend_key;
struct frontend abi_frontend;
struct frontend_address abi_frontend_address;
struct slot_pair abi_slot_pair;
struct backend abi_backend;
struct backend_key abi_backend_key;
struct nexthop abi_nexthop;
struct node abi_node;
struct endpoint abi_endpoint;
struct flow_set abi_flow_set;
struct flow_detail_set abi_flow_detail_set;
struct fragment_key abi_fragment_key;
struct fragment_ports abi_fragment_ports;
struct affinity_key abi_affinity_key;
struct affinity abi_affinity;
struct source_range_key abi_source_range_key;
struct cidr_key abi_cidr_key;
struct netns_endpoint abi_netns_endpoint;
struct answer_count abi_answer_count;
struct dsr_option abi_dsr_option;
struct metric abi_metric;
struct packet_event abi_packet_event;
struct node_config abi_node_config;
struct secret abi_secret;
struct sock_reverse abi_sock_reverse;
struct sock_entry abi_sock_entry;
struct translated_socket abi_translated_socket;
struct bfd_key abi_bfd_key;
struct bfd_session abi_bfd_session;
struct bfd_state abi_bfd_state;
struct identity abi_identity;
struct policy_subject abi_policy_subject;
struct policy_set abi_policy_set;
struct policy_peer_key abi_policy_peer_key;
struct policy_port abi_policy_port;
struct policy_class abi_policy_class;
struct noted_netns abi_noted_netns;

enum frontend_flags abi_frontend_flags;
enum backend_state abi_backend_state;
enum backend_flags abi_backend_flags;
enum nexthop_row abi_nexthop_row;
enum nexthop_kind abi_nexthop_kind;
enum nexthop_flags abi_nexthop_flags;
enum flow_state abi_flow_state;
enum flow_kind abi_flow_kind;
enum flow_flags abi_flow_flags;
enum verdict_reason abi_verdict_reason;
enum event_kind abi_event_kind;
enum tunnel_kind abi_tunnel_kind;
enum map_version abi_map_version;
enum bfd_session_state abi_bfd_session_state;
enum bfd_diagnostic abi_bfd_diagnostic;
enum bfd_flag abi_bfd_flag;
enum bfd_refusal abi_bfd_refusal;
enum bfd_governs abi_bfd_governs;
enum policy_direction abi_policy_direction;
enum policy_scope abi_policy_scope;
enum policy_set_flags abi_policy_set_flags;
enum policy_protocol abi_policy_protocol;
enum policy_verdict_flags abi_policy_verdict_flags;
enum policy_rule abi_policy_rule;
enum known_netns_kind abi_known_netns_kind;

/* Preprocessor constants leave no BTF; the ones user space needs are repeated as an enum. */
enum abi_constant {
	NEXTHOP_MEMBERS = WEIR_NEXTHOP_MEMBERS,
	FLOW_WAYS = WEIR_FLOW_WAYS,
	FLOW_SETS = WEIR_FLOW_SETS,
	FLOW_TICK_SHIFT = WEIR_FLOW_TICK_SHIFT,
	FLOW_TICK_BITS = WEIR_FLOW_TICK_BITS,
	FLOW_STATE_SHIFT = WEIR_FLOW_STATE_SHIFT,
	FLOW_STATE_BITS = WEIR_FLOW_STATE_BITS,
	FLOW_VERSION_SHIFT = WEIR_FLOW_VERSION_SHIFT,
	FLOW_TICK_JIFFIES_SHIFT = WEIR_FLOW_TICK_JIFFIES_SHIFT,
	FLOW_SNAT_REST = WEIR_FLOW_SNAT_REST,
	FLOW_SNAT_REUSE = WEIR_FLOW_SNAT_REUSE,
	FLOW_SILENT_UDP = WEIR_FLOW_SILENT_UDP,
	FLOW_IDLE_HALF_OPEN = WEIR_FLOW_IDLE_HALF_OPEN,
	FLOW_IDLE_UNANSWERED_TCP = WEIR_FLOW_IDLE_UNANSWERED_TCP,
	FLOW_IDLE_CLOSING = WEIR_FLOW_IDLE_CLOSING,
	FLOW_IDLE_HALF_CLOSED = WEIR_FLOW_IDLE_HALF_CLOSED,
	FLOW_IDLE_ONE_SIDED_TCP = WEIR_FLOW_IDLE_ONE_SIDED_TCP,
	FLOW_IDLE_ESTABLISHED_TCP = WEIR_FLOW_IDLE_ESTABLISHED_TCP,
	FLOW_IDLE_ESTABLISHED_UDP = WEIR_FLOW_IDLE_ESTABLISHED_UDP,
	FILTER_BITS = WEIR_FILTER_BITS,
	FILTER_WORD_ORDER = WEIR_FILTER_WORD_ORDER,
	FILTER_NETWORK_ORDER = WEIR_FILTER_NETWORK_ORDER,
	FILTER_ALL_BITS = WEIR_FILTER_ALL_BITS,
	FILTER_NETWORK_IPV4 = WEIR_FILTER_NETWORK_IPV4,
	FILTER_NETWORK_IPV6 = WEIR_FILTER_NETWORK_IPV6,
	SOCK_PEERS = WEIR_SOCK_PEERS,
	GENEVE_CLASS = WEIR_GENEVE_CLASS,
	GENEVE_TYPE = WEIR_GENEVE_TYPE,
	GENEVE_PORT = WEIR_GENEVE_PORT,
	BFD_PORT = WEIR_BFD_PORT,
	BFD_SOURCE_PORT = WEIR_BFD_SOURCE_PORT,
	BFD_SESSIONS = WEIR_BFD_SESSIONS,
	BFD_SLOW_US = WEIR_BFD_SLOW_US,
	BFD_CONTROL_BYTES = WEIR_BFD_CONTROL_BYTES,
	BFD_LOSSES = WEIR_BFD_LOSSES,
	POLICY_STARTS = WEIR_POLICY_STARTS,
	POLICY_GENERATIONS = WEIR_POLICY_GENERATIONS,
};
enum abi_constant abi_constant;
