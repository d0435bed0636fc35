// Offload features of an interface, by the ethtool ioctl: one value per command, understood by every kernel.
// Everything is synchronous and acts in the calling thread's namespace, so it may run inside
// `withNetworkNamespace`.

import koffi from 'koffi'
import { AF_INET } from '../libc/addresses.ts'
import { succeed } from '../libc/errors.ts'
import { libc } from '../libc/library.ts'
import { closeDescriptor, openSocket, SOCK_DGRAM } from '../libc/sockets.ts'
import { checkInterfaceName } from './checks.ts'

const ioctl = libc.func('int ioctl(int fd, unsigned long request, void *argument)') as (
  fd: number,
  request: number,
  argument: Buffer,
) => number

const SIOCETHTOOL = 0x8946

/** struct ifreq: the name, then a pointer to the ethtool command. */
const interfaceRequestBytes = 40
const interfaceRequestDataOffset = 16

export interface InterfaceFeatures {
  /**
   * Merges received segments. On a veth it also means that this end receives by NAPI, as XDP_TX and redirects
   * into it need.
   */
  readonly genericReceiveOffload: boolean
  readonly genericSegmentationOffload: boolean
  readonly tcpSegmentationOffload: boolean
  /** Leaves checksums to the device; on a veth they are then never computed. */
  readonly transmitChecksumOffload: boolean
}

/**
 * ETHTOOL_G* and ETHTOOL_S* commands. Checksums come first: turning them off turns segmentation off, on
 * allows it.
 */
const commands: ReadonlyArray<{
  readonly feature: keyof InterfaceFeatures
  readonly get: number
  readonly set: number
}> = [
  { feature: 'transmitChecksumOffload', get: 0x16, set: 0x17 },
  { feature: 'tcpSegmentationOffload', get: 0x1e, set: 0x1f },
  { feature: 'genericSegmentationOffload', get: 0x23, set: 0x24 },
  { feature: 'genericReceiveOffload', get: 0x2b, set: 0x2c },
]

export function readFeatures(interfaceName: string): InterfaceFeatures {
  return withControlSocket((fd) => {
    const features = {
      genericReceiveOffload: false,
      genericSegmentationOffload: false,
      tcpSegmentationOffload: false,
      transmitChecksumOffload: false,
    }
    for (const { feature, get } of commands) {
      features[feature] = callEthtool(fd, interfaceName, get, 0, `read ${feature} of ${interfaceName}`) !== 0
    }
    return features
  })
}

/** Changes the features named, and leaves the others. Fails with EOPNOTSUPP where the device cannot. */
export function writeFeatures(interfaceName: string, features: Partial<InterfaceFeatures>): void {
  withControlSocket((fd) => {
    for (const { feature, set } of commands) {
      const value = features[feature]
      if (value === undefined) continue
      callEthtool(
        fd,
        interfaceName,
        set,
        Number(value),
        `turn ${value ? 'on' : 'off'} ${feature} of ${interfaceName}`,
      )
    }
  })
}

/** One struct ethtool_value through one struct ifreq. */
function callEthtool(
  fd: number,
  interfaceName: string,
  command: number,
  value: number,
  action: string,
): number {
  const ethtoolValue = Buffer.alloc(8)
  ethtoolValue.writeUInt32LE(command, 0)
  ethtoolValue.writeUInt32LE(value, 4)
  const request = Buffer.alloc(interfaceRequestBytes)
  request.write(checkInterfaceName(interfaceName))
  request.writeBigUInt64LE(koffi.address(ethtoolValue), interfaceRequestDataOffset)
  succeed(ioctl(fd, SIOCETHTOOL, request), action)
  return ethtoolValue.readUInt32LE(4)
}

function withControlSocket<T>(action: (fd: number) => T): T {
  const fd = openSocket(AF_INET, SOCK_DGRAM)
  try {
    return action(fd)
  } finally {
    closeDescriptor(fd)
  }
}
