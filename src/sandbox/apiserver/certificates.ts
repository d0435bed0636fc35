// TLS material and bearer tokens: a certificate authority of the server's own, a certificate signed by it, random tokens. Made by
// the openssl program in a private directory; what a previous run made is used again unless the names differ.

import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Long enough that no rack outlives it: nobody rotates the certificates of a laboratory. */
const lifeDays = '3650'

const defaultNames = [
  '127.0.0.1',
  '::1',
  'localhost',
  'kubernetes',
  'kubernetes.default',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
]

export interface Certificates {
  readonly caFile: string
  readonly ca: string
  readonly key: string
  readonly cert: string
}

export class CertificateError extends Error {
  readonly code = 'openssl-failed'
}

const openssl = async (...args: string[]): Promise<void> => {
  try {
    await run('openssl', args)
  } catch (cause) {
    const output = (cause as { stderr?: string }).stderr ?? ''
    throw new CertificateError(`openssl ${args[0]} failed: ${output.trim()}; install the openssl package`, {
      cause,
    })
  }
}

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

const makeAuthority = async (directory: string): Promise<void> => {
  const key = join(directory, 'ca.key')
  const subject = ['-subj', '/CN=weir-sandbox-ca', '-days', lifeDays]
  const extensions = [
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  ]
  await openssl(
    'req',
    '-x509',
    ...curve,
    '-keyout',
    key,
    '-out',
    join(directory, 'ca.crt'),
    ...subject,
    ...extensions,
  )
}

const makeServerCertificate = async (directory: string, alternativeNames: string): Promise<void> => {
  const [key, request, extensions] = ['server.key', 'server.csr', 'server.ext'].map((name) =>
    join(directory, name),
  )
  if (!key || !request || !extensions) return
  await openssl('req', '-new', ...curve, '-keyout', key, '-out', request, '-subj', '/CN=kube-apiserver')
  const lines = [
    'basicConstraints=CA:FALSE',
    'keyUsage=digitalSignature',
    'extendedKeyUsage=serverAuth',
    `subjectAltName=${alternativeNames}`,
  ]
  await writeFile(extensions, `${lines.join('\n')}\n`)
  const authority = ['-CA', join(directory, 'ca.crt'), '-CAkey', join(directory, 'ca.key'), '-CAcreateserial']
  const output = ['-out', join(directory, 'server.crt'), '-days', lifeDays, '-extfile', extensions]
  await openssl('x509', '-req', '-in', request, ...authority, ...output)
  // Written last: it marks the set as complete for the names it holds.
  await writeFile(join(directory, 'names'), alternativeNames)
}

const readIfThere = async (file: string): Promise<string | undefined> => {
  try {
    return await readFile(file, 'utf8')
  } catch {
    return undefined
  }
}

/** The certificates in `directory`, made now if they are missing or lack a name. */
export const ensureCertificates = async (
  directory: string,
  extraNames: readonly string[] = [],
): Promise<Certificates> => {
  const names = [...new Set([...defaultNames, ...extraNames])]
  const alternativeNames = names.map((name) => `${isIP(name) ? 'IP' : 'DNS'}:${name}`).join(',')
  await mkdir(directory, { recursive: true, mode: 0o700 })
  if ((await readIfThere(join(directory, 'names'))) !== alternativeNames) {
    await rm(join(directory, 'names'), { force: true })
    if ((await readIfThere(join(directory, 'ca.crt'))) === undefined) await makeAuthority(directory)
    await makeServerCertificate(directory, alternativeNames)
  }
  const caFile = join(directory, 'ca.crt')
  const [ca, key, cert] = await Promise.all(
    [caFile, join(directory, 'server.key'), join(directory, 'server.crt')].map((file) =>
      readFile(file, 'utf8'),
    ),
  )
  return { caFile, ca: ca ?? '', key: key ?? '', cert: cert ?? '' }
}

const tokenBytes = 24

/** The token in `file`, made now if there is none. Readable by its owner only. */
export const ensureToken = async (file: string): Promise<string> => {
  const present = (await readIfThere(file))?.trim()
  if (present) return present
  const token = randomBytes(tokenBytes).toString('base64url')
  const temporary = `${file}.${process.pid}`
  await writeFile(temporary, `${token}\n`, { mode: 0o600 })
  await rename(temporary, file)
  return token
}
