/**
 * What clients say, in each protocol: made once, as bytes.
 */

import { randomBytes } from 'node:crypto'
import { pack } from 'msgpackr'
import { maskedFrame, OPCODE, textFrame } from '../../src/load/frames.js'
import type { Job, Protocol, Script } from './job.js'

/** How long a task whose client has left goes on. */
const LEAVE_MS = 50

/** @returns what a fresh connection says before anything else, null where it needs nothing */
export function upgradeRequest(protocol: Protocol): Buffer | null {
  switch (protocol) {
    case 'sse':
    case 'post':
      return null
    case 'ws':
      return upgrade('/v1/ws', 'Sec-WebSocket-Protocol: rejoin.v1.json\r\n')
    case 'ws-msgpack':
      return upgrade('/v1/ws', 'Sec-WebSocket-Protocol: rejoin.v1.msgpack\r\n')
    case 'socketio':
      return upgrade('/socket.io/?EIO=4&transport=websocket', '')
    default:
      return protocol satisfies never
  }
}

const upgrade = (path: string, more: string): Buffer =>
  Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n${more}\r\n`,
  )

/** Submits a task, or follows the one of the job. */
export function taskRequest({ protocol, follow, onLeave }: Job, script: Script): Buffer {
  const leave = onLeave === 'goOn' ? {} : { on_disconnect: { cancel_after_ms: LEAVE_MS } }
  const body = { prompt: JSON.stringify(script), ...leave }
  const frame =
    follow === undefined ? { type: 'submit', ref: 1, ...body } : { type: 'subscribe', task: follow, after: 0 }
  switch (protocol) {
    case 'sse':
      return follow === undefined ? post(body, 'Accept: text/event-stream\r\n') : get(`/v1/tasks/${follow}/events`)
    case 'post':
      return post({ prompt: body.prompt }, '')
    case 'ws':
      return textFrame(JSON.stringify(frame))
    case 'ws-msgpack':
      return maskedFrame(OPCODE.binary, pack(frame))
    case 'socketio':
      return textFrame(`42${JSON.stringify(['submit', frame])}`)
    default:
      return protocol satisfies never
  }
}

function post(value: object, more: string): Buffer {
  const body = JSON.stringify(value)
  return Buffer.from(
    `POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${more}Content-Length: ${body.length}\r\n\r\n${body}`,
  )
}

const get = (path: string): Buffer =>
  Buffer.from(`GET ${path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n`)
