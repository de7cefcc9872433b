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
  #place: Place
  // Index of the first mark that may lie after the position.
  #mark = 0

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

  /** The terminal event was handed out: nothing will follow. */
  get done(): boolean {
    return this.#log.ended && !this.behind
  }

  /** The next event, with neighbouring tokens merged up to about `maxBytes` of text; null when there is none yet. */
  next(maxBytes: number): Entry | null {
    if (!this.behind) return null
    this.#mark = this.#log.markAfter(this.#place.seq, this.#mark)
    const mark = this.#log.markAt(this.#mark)
    if (mark?.entry && mark.seq === this.#place.seq + 1) {
      this.#place = mark
      return mark.entry
    }
    // Tokens up to the next event of another type; a checkpoint is a token itself and ends the stretch, too.
    const last = mark === undefined ? this.#log.lastSeq : mark.entry ? mark.seq - 1 : mark.seq
    const { entry, place } = this.#log.merge(this.#place, last, maxBytes)
    this.#place = place
    return entry
  }

  /** False when it was closed before. */
  close(): boolean {
    return this.#log.detach(this)
  }
}
