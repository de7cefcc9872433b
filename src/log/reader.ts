/**
 * A reader is a position in one task's log, and nothing else: no buffer, no timer.
 *
 * Replay, live and slow are the same loop: ask `next` until it says null or the sink is full. What was missed
 * comes merged. The position holds its own text offset, so a reader that stays attached is never `gone`,
 * however far the ring moves on.
 */
import type { Entry } from '../core/entry.js'
import type { Seq } from '../core/event.js'
import type { TaskId } from '../core/id.js'
import type { Place, TaskLog } from './task-log.js'

export class Reader {
  readonly #log: TaskLog
  readonly wake: () => void
  readonly #place: Place
  // Index of the first mark that may lie after the position.
  #mark = 0
  /** Among the readers of its log, which keeps it. */
  index = 0

  constructor(log: TaskLog, place: Place, wake: () => void) {
    this.#log = log
    this.#place = place
    this.wake = wake
  }

  get task(): TaskId {
    return this.#log.task
  }

  /** The seq seen last. */
  get position(): Seq {
    return this.#place.seq
  }

  get behind(): boolean {
    return this.#place.seq < this.#log.lastSeq
  }

  /** It has been handed no token. */
  get fresh(): boolean {
    return this.#place.tokenEnd === 0
  }

  /** The terminal event was handed out: nothing will follow. */
  get done(): boolean {
    return this.#log.ended && !this.behind
  }

  /** The next event, with neighbouring tokens merged up to about `maxBytes` of text; null when there is none yet. */
  next(maxBytes: number): Entry | null {
    const place = this.#place
    const { lastSeq } = this.#log
    if (place.seq >= lastSeq) return null
    this.#mark = this.#log.markAfter(place.seq, this.#mark)
    const mark = this.#log.markAt(this.#mark)
    if (mark?.entry && mark.seq === place.seq + 1) {
      place.seq = mark.seq
      place.textEnd = mark.textEnd
      place.tokenEnd = mark.tokenEnd
      return mark.entry
    }
    // Tokens up to the next event of another type; a checkpoint is a token itself and ends the stretch, too.
    const border = mark === undefined ? lastSeq : mark.entry ? mark.seq - 1 : mark.seq
    return this.#log.merge(place, Math.min(border, lastSeq), maxBytes)
  }

  /** False when it was closed before. */
  close(): boolean {
    return this.#log.detach(this)
  }
}
