// What the embedded API server of a rack serves: the built-in kinds, their schemas, and the engine that works on them. The server
// itself knows none of them; they meet here.

import { builtinKinds } from './apiserver/kinds/index.ts'
import { sharedDefinitions } from './apiserver/schema/definitions.ts'
import { strategicMergePatch } from './apiserver/schema/strategic.ts'
import {
  applyDefaults,
  findUnknownFields,
  pruneUnknown,
  validateObject,
} from './apiserver/schema/validate.ts'
import type { ApiServerOptions } from './apiserver/server.ts'

export const builtInApi: Pick<ApiServerOptions, 'kinds' | 'definitions' | 'tools'> = {
  kinds: builtinKinds,
  definitions: sharedDefinitions,
  tools: { applyDefaults, findUnknownFields, pruneUnknown, strategicMergePatch, validateObject },
}
