// Collectors of RFC 7854 → gobgpd, which tells them everything it can: what peers sent, before and after policy, and its own table.

import type { BmpStationStatus, GobgpClient } from '../../bgp/client/gobgp-grpc-client.ts'
import type { BmpStation } from '../model/routing.ts'
import type { SpeakerProblem } from './problems.ts'

type Place = Pick<BmpStationStatus, 'address' | 'port'>

/** @returns collectors that were there before and are not connected */
export async function ensureBmp(
  client: GobgpClient,
  wanted: readonly BmpStation[],
): Promise<readonly SpeakerProblem[]> {
  const present = await client.listBmp()
  for (const station of present)
    if (!wanted.some((one) => isSame(one, station))) await client.deleteBmp(station)
  for (const station of wanted)
    if (!present.some((one) => isSame(one, station))) await client.addBmp({ ...station, policy: 'all' })
  return present.flatMap((station) => {
    const { address, port, upSinceMs } = station
    if (upSinceMs !== undefined || !wanted.some((one) => isSame(one, station))) return []
    const text = `the BMP collector ${address} port ${port} takes no connection. Mend: start it, or remove it from routing.bmp`
    return [{ code: 'collector-unreachable' as const, object: 'routing.bmp', text }]
  })
}

function isSame(left: Place, right: Place): boolean {
  return left.address === right.address && left.port === right.port
}
