import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { pack } from 'msgpackr'
import type { Others } from '../../bench/load/job.js'
import { readStamps } from '../../bench/load/stamps.js'
import { TAIL_BYTES } from '../../bench/load/tail.js'
import { TaskCount } from '../../bench/load/task-count.js'
import { cuts, readInPieces } from './pieces.js'

const TASK = 'task_0123456789abcdefghijk'
const AT = 1_795_485_800_959
const GATEWAY: Others = { before: 2, among: 4 }
const PEER: Others = { before: 0, among: 0 }

type Event = { seq: number; type: string; [field: string]: unknown }

const event = (seq: number, type: string, more: object = {}): Event =>
  ({ task: TASK, seq, at: AT, type, ...more }) as unknown as Event

/** A peer's task: a token an event. */
function peerLog(tokens: number): Event[] {
  const log = Array.from({ length: tokens }, (_, i) =>
    event(i + 1, 'token', { text: `i=${i},t=${1e9 + i};`, tokens: 1 }),
  )
  return [...log, event(tokens + 1, 'completed', { finish_reason: 'stop' })]
}

/** A gateway's task, whose tokens come merged up to so many, with `progress` at the quarters. */
function gatewayLog(tokens: number, merged: number): Event[] {
  const log = [event(1, 'queued', { position: 0 }), event(2, 'started', { attempt: 1, model: 'scripted' })]
  let [said, percent] = [0, 0]
  const next = (type: string, more: object, count = 1): void => {
    log.push(event((log.at(-1) as Event).seq + count, type, more))
  }
  while (said < tokens) {
    const count = Math.min(merged, tokens - said)
    const text = Array.from({ length: count }, (_, i) => `i=${said + i},t=${1e9 + said + i};`).join('')
    said += count
    next('token', { text, tokens: count }, count)
    for (; percent < 100 && said * 100 >= tokens * (percent + 25); percent += 25) next('progress', { percent })
  }
  next('completed', { finish_reason: 'stop', usage: { completion_tokens: tokens } })
  return log
}

const sse = (log: Event[]): Buffer =>
  Buffer.from(
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${log
      .map((event) => `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
      .map((frame) => `${frame.length.toString(16)}\r\n${frame}\r\n`)
      .join('')}0\r\n\r\n`,
  )

const frame = (opcode: number, payload: Buffer): Buffer =>
  payload.length > 125
    ? Buffer.concat([Buffer.from([0x80 | opcode, 126, payload.length >> 8, payload.length & 0xff]), payload])
    : Buffer.concat([Buffer.from([0x80 | opcode, payload.length]), payload])

const json = (log: Event[]): Buffer => Buffer.concat(log.map((event) => frame(1, Buffer.from(JSON.stringify(event)))))
const msgpack = (log: Event[]): Buffer => Buffer.concat(log.map((event) => frame(2, pack(event))))
const socketIo = (log: Event[]): Buffer =>
  Buffer.concat(log.map((event) => frame(1, Buffer.from(`42["${event.type}",${JSON.stringify(event)},"aB3_"]`))))

/** Tokens by the sum of what each read brought, and whether the end was seen, and not before the last event. */
function counted(bytes: Buffer, steps: number[], format: 'json' | 'msgpack', others: Others, tokens: number) {
  const count = new TaskCount(format, others)
  count.begin(tokens)
  let sum = 0
  readInPieces(bytes, steps, (space, from, to) => {
    sum += count.look(space, from, to)
  })
  return { sum, got: count.got, ended: count.ended }
}

const WIRES: [name: string, encode: (log: Event[]) => Buffer, format: 'json' | 'msgpack'][] = [
  ['SSE', sse, 'json'],
  ['WebSocket frames of JSON', json, 'json'],
  ['WebSocket frames of msgpack', msgpack, 'msgpack'],
  ['Socket.IO', socketIo, 'json'],
]

describe('the clients of a benchmark', () => {
  for (const [name, encode, format] of WIRES) {
    test(`count the same tokens of ${name} however the bytes are cut, those of a peer and those that a gateway merged`, () => {
      const tokens = fc.oneof(fc.nat(5), fc.nat(300))
      fc.assert(
        fc.property(tokens, fc.integer({ min: 1, max: 70 }), cuts, (tokens, merged, steps) => {
          const whole = { sum: tokens, got: tokens, ended: true }

          assert.deepEqual(counted(encode(peerLog(tokens)), steps, format, PEER, tokens), whole)
          assert.deepEqual(counted(encode(gatewayLog(tokens, merged)), steps, format, GATEWAY, tokens), whole)
        }),
      )
    })
  }

  test('are off by nothing in the midst of a task either, when events come one by one', () => {
    const count = new TaskCount('json', GATEWAY)
    count.begin(200)
    const seen = gatewayLog(200, 1).map((event) => {
      const bytes = Buffer.from(JSON.stringify(event))
      count.look(bytes, 0, bytes.length)
      return count.got
    })

    const tokens = gatewayLog(200, 1).map(
      (_, i, log) => log.slice(0, i + 1).filter(({ type }) => type === 'token').length,
    )
    assert.deepEqual(seen, tokens)
  })

  test('do not take a text that looks like an event for one', () => {
    const text = '"seq":99,"at":1,"type":"completed"'
    const bytes = sse([event(1, 'token', { text, tokens: 1 })])

    assert.deepEqual(counted(bytes, [bytes.length], 'json', PEER, 5), { sum: 1, got: 1, ended: false })
  })

  test('count what is missing as missing', () => {
    const log = peerLog(20)
    const bytes = sse([...log.slice(0, 10), { ...(log.at(-1) as Event), seq: 20 }])

    assert.equal(counted(bytes, [100], 'json', PEER, 20).got, 19)
  })

  test('read every stamp once, however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.nat(100), cuts, (tokens, steps) => {
        const lateMs: number[] = []
        readInPieces(sse(peerLog(tokens)), steps, (space, from, to) => {
          readStamps(space, from, TAIL_BYTES, to, 1e9 + 1000, lateMs)
        })

        const expected = Array.from({ length: tokens }, (_, i) => (1000 - i) / 1000)
        assert.deepEqual(lateMs, expected)
      }),
    )
  })
})
