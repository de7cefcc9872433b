/**
 * Bytes as a connection of the load clients reads them: cut anywhere, each piece after the tail of the one before.
 */
import fc from 'fast-check'
import { TAIL_BYTES, Tail } from '../../bench/load/tail.js'

/** Places at which bytes are cut; small steps, so that heads of events are cut too. */
export const cuts = fc.array(fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 4000 })), {
  minLength: 1,
  maxLength: 30,
})

/** The steps are taken again and again until all bytes are read. */
export function readInPieces(
  bytes: Buffer,
  steps: number[],
  onRead: (space: Buffer, from: number, to: number) => void,
): void {
  const space = Buffer.alloc(TAIL_BYTES + bytes.length)
  const tail = new Tail()
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const end = Math.min(bytes.length, at + (steps[i % steps.length] as number))
    // What an earlier, longer read left there must not be looked at.
    bytes.copy(space, TAIL_BYTES, at, end)
    const to = TAIL_BYTES + end - at
    onRead(space, tail.join(space, to), to)
    at = end
  }
}
