/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where policy is enforced: the making of sockets whose packets the hooks of weir_closed.bpf.c do
 * not see. The work is in lib/unseen.h. An object of its own, for the datapath can do without it.
 */
#include "maps.h"
#include "lib/unseen.h"

const volatile struct node_config node_config = {};

/* (int family, int type, int protocol, int kern); what the kernel makes for itself it judges
 * itself. */
SEC("fmod_ret/security_socket_create")
int weir_closed_create(__u64 *arguments)
{
	if ((int)arguments[3] || !is_refused((int)arguments[0]))
		return 0;
	count(REASON_POLICY_EGRESS, 0);
	return -EPERM;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
