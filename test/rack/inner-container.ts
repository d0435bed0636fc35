// A container in a pod's container, as Docker in Docker makes it: a process of the pod's cgroup in a network namespace of its own, a veth
// from there to the pod's, and the pod's address on what it sends.

import { type Host, runIn } from '../../src/sandbox/host.ts'

/** Silence is what lasts this long. A SYN that is dropped is tried again in a second. */
const SILENCE_S = '0.7'
const ANSWER_S = '4'

const START = `set -e
sysctl -qw net.ipv4.ip_forward=1
nft add table ip inner
nft 'add chain ip inner post { type nat hook postrouting priority 100; }'
nft add rule ip inner post ip saddr 172.30.0.0/24 masquerade
unshare --net sleep 1000 >/dev/null 2>&1 </dev/null &
pid=$!
while [ "$(readlink /proc/$pid/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link add inner type veth peer name eth0 netns $pid
ip addr add 172.30.0.1/24 dev inner
ip link set inner up
nsenter --net=/proc/$pid/ns/net sh -ec '
ip addr add 172.30.0.2/24 dev eth0
ip link set eth0 up
ip route add default via 172.30.0.1'
echo $pid`

export class InnerContainer {
  readonly #pod: Host
  readonly #pid: string

  private constructor(pod: Host, pid: string) {
    this.#pod = pod
    this.#pid = pid
  }

  static async in(pod: Host): Promise<InnerContainer> {
    const { stdout, stderr } = await runIn(pod, ['/bin/sh', '-c', START])
    if (!/^\d+$/.test(stdout.trim())) throw new Error(`a container in ${pod.name}: ${stderr}`)
    return new InnerContainer(pod, stdout.trim())
  }

  /** What answers; empty when nothing does. IPv4 alone. */
  async curl(address: string, port: number, isWanted: boolean): Promise<string> {
    const url = `http://${address}:${port}/hostname`
    const argv = ['curl', '-s', '-m', isWanted ? ANSWER_S : SILENCE_S, url]
    return (await runIn(this.#pod, ['nsenter', `--net=/proc/${this.#pid}/ns/net`, ...argv])).stdout
  }
}
