/**
 * What every protocol reads from a request before it asks the gateway: seeds, ids, the idempotency key.
 */
import { createHash, randomInt } from 'node:crypto'
import { RejoinError } from '../core/errors.js'
import { isTaskId, type TaskId } from '../core/id.js'
import type { Received } from '../gateway/gateway.js'
import type { Absent } from '../wire/fields.js'
import type { Exchange } from './request.js'

const MAX_KEY_CHARACTERS = 255

export const newSeed = (): number => randomInt(2 ** 47)

/** For requests by OpenAI's protocol, whose client cannot come back to a stream: nobody may want its answer any more.
 * @param graceMs until then somebody may read it all the same */
export const absentFor = (graceMs: number): Absent => ({
  newSeed,
  onDisconnect: { type: 'cancel', afterMs: graceMs },
})

/** @throws RejoinError `task_not_found`: an id of another form names no task */
export function checkedId(text: string): TaskId {
  if (!isTaskId(text)) throw new RejoinError('task_not_found', `no task ${JSON.stringify(text.slice(0, 100))}`)
  return text
}

/** @param surface what else a request means beside its body, where one body can be sent to several
 * @throws RejoinError `invalid_request` when the idempotency key is too long */
export function received(exchange: Exchange, body: Uint8Array, surface = ''): Received {
  const key = exchange.header('idempotency-key')
  if (key === '') return { bytes: body.byteLength, idempotency: null }
  if (key.length > MAX_KEY_CHARACTERS) {
    const message = `\`Idempotency-Key\` has ${key.length} characters, over ${MAX_KEY_CHARACTERS}`
    throw new RejoinError('invalid_request', message, { param: 'Idempotency-Key' })
  }
  const bodyHash = createHash('sha256').update(surface).update(body).digest('base64')
  return { bytes: body.byteLength, idempotency: { key, bodyHash } }
}
