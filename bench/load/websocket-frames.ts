/**
 * What a client that counts needs of RFC 6455 beside its own frames: where a server's frames begin.
 *
 * A walk from frame to frame reads two to ten bytes of each and no payload. Like the scan for events it wants the end of the last read
 * before the new bytes, for a head may be cut.
 */
import { TAIL_BYTES } from './tail.js'

/** @param first the first byte of the payload, -1 when it is empty */
export type OnFrame = (opcode: number, length: number, first: number) => void

export class FrameWalk {
  readonly #onFrame: OnFrame
  /** Where the next frame begins, counted from the end of the last read: below 0 when its head was cut. */
  #next = 0

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame
  }

  /** @param fresh where the new bytes begin; TAIL_BYTES before it are those that came last */
  walk(buffer: Buffer, fresh: number, to: number): void {
    let at = fresh + this.#next
    while (at < to) {
      const length = payloadLength(buffer, at, to)
      if (length < 0) break
      const payload = at + headLength(buffer, at)
      if (length > 0 && payload >= to) break
      this.#onFrame((buffer[at] as number) & 0x0f, length, length > 0 ? (buffer[payload] as number) : -1)
      at = payload + length
    }
    this.#next = at - to
    if (this.#next < -TAIL_BYTES) throw new Error('a frame whose head is longer than the tail')
  }
}

const headLength = (buffer: Buffer, at: number): number => {
  const short = (buffer[at + 1] as number) & 0x7f
  return short === 127 ? 10 : short === 126 ? 4 : 2
}

/** -1 when the head is cut. */
function payloadLength(buffer: Buffer, at: number, to: number): number {
  if (at + 2 > to || at + headLength(buffer, at) > to) return -1
  const short = (buffer[at + 1] as number) & 0x7f
  if (short === 127) return Number(buffer.readBigUInt64BE(at + 2))
  return short === 126 ? buffer.readUInt16BE(at + 2) : short
}
