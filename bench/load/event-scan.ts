/**
 * How far into a task's log a connection has come, from its bytes and without reading them.
 *
 * Every event, over SSE, WebSocket and Socket.IO, as JSON and as msgpack, says its seq and then its type. So the last seq of
 * a read tells all: events delivered are the difference to the one before, also where a gateway merged many into one.
 * `"seq":` occurs nowhere else, for in a text its quotes would be escaped. An event counts when its head has come; the
 * rest of it follows, at most one event a connection later.
 *
 * What is cut between two reads is in the tail of the first, which whoever scans gives again before the new bytes. To find the
 * same event again does no harm.
 */
import { TAIL_BYTES } from './tail.js'

const QUOTED = Buffer.from('"seq":')
/** msgpack: a string of 3 characters. */
const PACKED = Buffer.from([0xa3, ...Buffer.from('seq')])

const [T, Y, P, E, C, F] = [...Buffer.from('typecf')] as [number, number, number, number, number, number]
const [ZERO, NINE, QUOTE, COLON] = [...Buffer.from('09":')] as [number, number, number, number]

export class EventScan {
  /** Of the last event that was found. */
  seq = 0
  /** Whether that was the task's last one. */
  terminal = false
  readonly #packed: boolean
  readonly #marker: Buffer

  constructor(format: 'json' | 'msgpack') {
    this.#packed = format === 'msgpack'
    this.#marker = this.#packed ? PACKED : QUOTED
  }

  /** Looks at `buffer[from … to)`; returns whether an event was found, the last one whose head is whole. */
  find(buffer: Buffer, from: number, to: number): boolean {
    let at = to
    // The last one may be cut; the one before it is whole.
    for (let tries = 0; tries < 2; tries++) {
      at = buffer.lastIndexOf(this.#marker, at - this.#marker.length)
      if (at < from) return false
      if (this.#readHead(buffer, at + this.#marker.length, to)) return true
    }
    return false
  }

  #readHead(buffer: Buffer, at: number, to: number): boolean {
    const limit = Math.min(to, at + TAIL_BYTES)
    let type = at + 1
    while (type + 8 <= limit) {
      if (buffer[type] === T && buffer[type + 1] === Y && buffer[type + 2] === P && buffer[type + 3] === E) break
      type++
    }
    if (type + 8 > limit) return false
    // JSON goes on `":"token`, msgpack with a byte for the length.
    const quoted = buffer[type + 4] === QUOTE && buffer[type + 5] === COLON
    const letter = buffer[quoted ? type + 7 : type + 5]
    this.terminal = letter === C || letter === F
    this.seq = this.#packed ? packedInteger(buffer, at) : decimal(buffer, at)
    return true
  }
}

function decimal(buffer: Buffer, from: number): number {
  let value = 0
  for (let at = from; ; at++) {
    const digit = buffer[at] as number
    if (digit < ZERO || digit > NINE) return value
    value = value * 10 + digit - ZERO
  }
}

/** A positive integer up to 32 bits, as msgpack has it. */
function packedInteger(buffer: Buffer, at: number): number {
  const head = buffer[at] as number
  if (head < 0x80) return head
  switch (head) {
    case 0xcc:
      return buffer.readUInt8(at + 1)
    case 0xcd:
      return buffer.readUInt16BE(at + 1)
    case 0xce:
      return buffer.readUInt32BE(at + 1)
    default:
      throw new Error(`a seq that is no positive integer: 0x${head.toString(16)}`)
  }
}
