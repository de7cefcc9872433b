/**
 * How the two subprotocols of the gateway's WebSocket look to a load test.
 */
import { pack, unpackOwn } from '../../wire/msgpack.js'
import type { Answer, PlainEvent } from '../answer.js'
import { typeOf } from '../event-bytes.js'
import { binaryFrame, textFrame } from '../frames.js'

/** What is not an event and matters. */
export type Said = { type: 'accepted'; task: string } | { type: 'error'; code: string }

export interface Format {
  subprotocol: string
  /** A masked frame. */
  frame(message: Record<string, unknown>): Buffer
  /** Gives an event to its answer. */
  read(bytes: Buffer, answer: Answer): Said | null
}

type Message = { type: string; task: string | { id: string }; error?: { code: string } }

function said({ type, task, error }: Message): Said | null {
  if (type === 'accepted' && typeof task === 'object') return { type, task: task.id }
  if (type === 'error') return { type, code: error?.code ?? 'error' }
  return null
}

export const JSON_FORMAT: Format = {
  subprotocol: 'rejoin.v1.json',
  frame: (message) => textFrame(JSON.stringify(message)),
  read: (bytes, answer) => {
    // A token, as nearly all are, is not parsed.
    const type = typeOf(bytes)
    if (type === 'accepted' || type === 'error') return said(JSON.parse(bytes.toString()) as Message)
    if (type !== 'subscribed' && type !== 'canceling') answer.event(bytes)
    return null
  },
}

export const MSGPACK_FORMAT: Format = {
  subprotocol: 'rejoin.v1.msgpack',
  frame: (message) => binaryFrame(pack(message)),
  read: (bytes, answer) => {
    const value = unpackOwn(bytes) as Message | PlainEvent
    if (!('seq' in value)) return said(value)
    answer.plain(value)
    return null
  },
}
