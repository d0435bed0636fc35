// What the running kernel has of the features that came late or may be built out, and what is done where one is missing. For
// status and metrics; who uses a feature asks for it where it is used. Whether an uplink takes XDP is told with the uplink.

import { supportsTcx } from '../sys/libbpf-ts/index.ts'

export interface KernelFeature {
  readonly name: string
  readonly isPresent: boolean
  /** The first kernel that has it, or the option it is built with. */
  readonly since: string
  /** What is done without it. */
  readonly instead: string
}

/** What was met in use. */
export interface FeaturesMet {
  /** Why translated sockets cannot be listed; undefined: they can. */
  readonly noSocketLists: string | undefined
  /** Why sockets cannot be ended, lists included; undefined: nothing has failed so far. */
  readonly noSocketEnding: string | undefined
  /** Why packet sockets of pods that policy does not know are not refused; undefined: they are, or need not be. */
  readonly noUnseen: string | undefined
}

const SOCKETS_STAY = 'sockets connected to a backend that is gone stay so until their owner closes them'

export function kernelFeatures({
  noSocketLists,
  noSocketEnding,
  noUnseen,
}: FeaturesMet): readonly KernelFeature[] {
  return [
    {
      name: 'tcx',
      isPresent: supportsTcx(),
      since: '6.6',
      instead: 'classifiers of clsact, marked by pins instead of held by links',
    },
    {
      name: 'socket iterators',
      isPresent: noSocketLists === undefined,
      since: '5.9, with BTF',
      instead: SOCKETS_STAY,
    },
    {
      name: 'socket diagnosis',
      isPresent: noSocketEnding === undefined || noSocketEnding === noSocketLists,
      since: 'CONFIG_INET_DIAG_DESTROY',
      instead: SOCKETS_STAY,
    },
    {
      name: 'programs on functions',
      isPresent: noUnseen === undefined,
      since: 'BTF, CONFIG_FUNCTION_TRACER, CONFIG_SECURITY_NETWORK; on arm64 6.4',
      instead:
        'a pod with CAP_NET_RAW, which container runtimes give, may send frames by a packet socket before its device is judged',
    },
  ]
}
