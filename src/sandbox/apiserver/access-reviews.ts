// Questions a client asks about itself: who am I, may I do this. Nothing is stored. Whoever holds a valid token may do everything, so
// the second answer is always yes.

import { decodeBody } from './content.ts'
import { clone, isRecord } from './json.ts'
import { type ApiRequest, type ApiResponse, jsonResponse } from './request.ts'

const reviewKinds: Record<string, string> = {
  '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews': 'SelfSubjectAccessReview',
  '/apis/authorization.k8s.io/v1/subjectaccessreviews': 'SubjectAccessReview',
  '/apis/authentication.k8s.io/v1/selfsubjectreviews': 'SelfSubjectReview',
}

/** undefined for everything that is not a review. */
export const review = async (request: ApiRequest): Promise<ApiResponse | undefined> => {
  const kind = reviewKinds[request.path]
  if (kind === undefined || request.method !== 'POST') return undefined
  const body = await decodeBody(request.body, request.headers['content-type'])
  const { name = '', uid = '', groups = [] } = request.user ?? {}
  const status =
    kind === 'SelfSubjectReview'
      ? { userInfo: { username: name, uid, groups } }
      : { allowed: true, reason: 'this server authorises every valid token' }
  const apiVersion = request.path.slice('/apis/'.length).split('/').slice(0, 2).join('/')
  return jsonResponse(201, { ...(isRecord(body) ? clone(body) : {}), kind, apiVersion, status })
}
