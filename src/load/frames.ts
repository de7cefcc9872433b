/**
 * WebSocket framing on the client's side (RFC 6455): masked frames out, whole messages in.
 */
import { createHash, randomBytes } from 'node:crypto'

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const
const FINAL = 0x80
const MASKED = 0x80
/** RFC 6455, section 1.3. */
const ACCEPT = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

export interface FrameSink {
  /** Lent until this returns. */
  message(bytes: Buffer): void
  ping(payload: Buffer): void
  /** The code of the close frame; 1005 without one. */
  close(code: number): void
}

export const newKey = (): string => randomBytes(16).toString('base64')

export const acceptOf = (key: string): string =>
  createHash('sha1')
    .update(key + ACCEPT)
    .digest('base64')

export const textFrame = (text: string): Buffer => maskedFrame(OPCODE.text, Buffer.from(text))
export const binaryFrame = (bytes: Uint8Array): Buffer => maskedFrame(OPCODE.binary, bytes)
export const pongFrame = (payload: Buffer): Buffer => maskedFrame(OPCODE.pong, payload)

/** Whole in itself. */
export function maskedFrame(opcode: number, payload: Uint8Array): Buffer {
  const { length } = payload
  const sizeBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const bytes = Buffer.alloc(2 + sizeBytes + 4 + length)
  bytes[0] = FINAL | opcode
  bytes[1] = MASKED | (sizeBytes === 0 ? length : sizeBytes === 2 ? 126 : 127)
  if (sizeBytes === 2) bytes.writeUInt16BE(length, 2)
  if (sizeBytes === 8) bytes.writeBigUInt64BE(BigInt(length), 2)
  // The mask keeps proxies from taking payloads for requests; a load test's are its own.
  const mask = randomBytes(4)
  mask.copy(bytes, 2 + sizeBytes)
  const from = 6 + sizeBytes
  for (let i = 0; i < length; i++) bytes[from + i] = (payload[i] as number) ^ (mask[i & 3] as number)
  return bytes
}

export class FrameParser {
  readonly #sink: FrameSink
  /** The beginning of a frame whose rest has not come. */
  #part: Buffer | null = null
  /** Of a message in several frames. */
  #message: Buffer[] = []

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  take(bytes: Buffer): void {
    const all = this.#part === null ? bytes : Buffer.concat([this.#part, bytes])
    let at = 0
    for (let end = this.#frame(all, at); end > 0; end = this.#frame(all, at)) at = end
    this.#part = at === all.length ? null : Buffer.from(all.subarray(at))
  }

  /** Returns where the frame ends, 0 when it is not whole. */
  #frame(bytes: Buffer, at: number): number {
    if (bytes.length < at + 2) return 0
    const [first, second] = [bytes[at] as number, bytes[at + 1] as number]
    const short = second & 0x7f
    const sizeBytes = short < 126 ? 0 : short === 126 ? 2 : 8
    const from = at + 2 + sizeBytes
    if (bytes.length < from) return 0
    const length =
      sizeBytes === 0 ? short : sizeBytes === 2 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
    if (bytes.length < from + length) return 0
    this.#take(first & 0x0f, (first & FINAL) !== 0, bytes.subarray(from, from + length))
    return from + length
  }

  #take(opcode: number, final: boolean, payload: Buffer): void {
    if (opcode === OPCODE.ping) this.#sink.ping(payload)
    else if (opcode === OPCODE.close) this.#sink.close(payload.length >= 2 ? payload.readUInt16BE(0) : 1005)
    else if (opcode === OPCODE.pong) return
    else if (final && this.#message.length === 0) this.#sink.message(payload)
    else {
      this.#message.push(Buffer.from(payload))
      if (final) this.#sink.message(Buffer.concat(this.#message.splice(0)))
    }
  }
}
