/**
 * The end of what a connection has read, put before what it reads next, so that whatever is cut between two reads is whole.
 *
 * All connections read into one space: TAIL_BYTES for this, then the new bytes. That costs two short copies a read.
 */

/** More than the head of an event takes: a seq, a time and a type; and more than a stamp. */
export const TAIL_BYTES = 64

export class Tail {
  readonly #bytes = Buffer.alloc(TAIL_BYTES)
  #length = 0

  get empty(): boolean {
    return this.#length === 0
  }

  /** Of what came until now nothing is looked at again. (A head of a frame that was cut still is, and still there.) */
  forget(): void {
    this.#length = 0
  }

  /**
   * Puts itself before the new bytes, space[TAIL_BYTES … to), and becomes the end of both.
   * @returns where what is to be looked at begins
   */
  join(space: Buffer, to: number): number {
    const from = TAIL_BYTES - this.#length
    this.#bytes.copy(space, 0)
    space.copy(this.#bytes, 0, to - TAIL_BYTES, to)
    this.#length = Math.min(TAIL_BYTES, to - from)
    return from
  }
}
