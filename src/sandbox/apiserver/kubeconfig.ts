// The file that points kubectl at this server.

export interface KubeconfigInput {
  /** Name of cluster, user and context. */
  readonly name: string
  readonly server: string
  readonly caPem: string
  readonly token: string
  readonly namespace?: string
}

export const renderKubeconfig = ({ name, server, caPem, token, namespace }: KubeconfigInput): string =>
  [
    'apiVersion: v1',
    'kind: Config',
    'clusters:',
    `- name: ${name}`,
    '  cluster:',
    `    server: ${server}`,
    `    certificate-authority-data: ${Buffer.from(caPem).toString('base64')}`,
    'users:',
    `- name: ${name}`,
    '  user:',
    `    token: ${token}`,
    'contexts:',
    `- name: ${name}`,
    '  context:',
    `    cluster: ${name}`,
    `    user: ${name}`,
    ...(namespace === undefined ? [] : [`    namespace: ${namespace}`]),
    `current-context: ${name}`,
    '',
  ].join('\n')
