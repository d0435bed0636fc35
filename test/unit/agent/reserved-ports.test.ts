// Which ports the node's own sockets must not get by chance, given the kernel's settings.

import t from 'tap'
import { reservePorts } from '../../../src/agent/reserved-ports.ts'

const SNAT = { first: 61_000, last: 65_535 }
const MASQUERADE = { first: 49_152, last: 50_000 }

t.test('reserved where the kernel would hand them out, beside what others reserved', async (t) => {
  const cases: { local: string; reserved: string; wanted: string | undefined }[] = [
    { local: '32768\t60999', reserved: '', wanted: undefined },
    { local: '32768\t60999', reserved: '8080', wanted: undefined },
    { local: '1024\t65535', reserved: '', wanted: '61000-65535' },
    { local: '32768\t61000', reserved: '', wanted: '61000-65535' },
    { local: '1024\t65535', reserved: '8080,9000-9100', wanted: '8080,9000-9100,61000-65535' },
    { local: '1024\t65535', reserved: '60999', wanted: '60999-65535' },
    { local: '1024\t65535', reserved: '60000-62000,65000', wanted: '60000-65535' },
    { local: '1024\t65535', reserved: '61000-65535', wanted: '61000-65535' },
    { local: '1024\t65535', reserved: '80,50000-65535', wanted: '80,50000-65535' },
  ]
  for (const { local, reserved, wanted } of cases)
    t.equal(reservePorts([SNAT], local, reserved), wanted, `local ${local}, reserved '${reserved}'`)
  t.equal(reservePorts([SNAT, MASQUERADE], '32768 60999', '80'), '80,49152-50000', 'those that it reaches')
})
