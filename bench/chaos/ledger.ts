/**
 * What the readers of one task were shown, and whether all of it can be true at once.
 *
 * Every reader is a position that may only go on by one event after the other; what it is shown is compared with what
 * is known to be the whole text, and with what others were shown: an event's place in the text, each event that is no
 * token (all of its fields), which one is the last. So the ledger keeps borders and a dozen events, and no reader's
 * text. It knows no sockets; whoever reads tells it, and it reports the first moment at which something is wrong.
 */
import { isTerminal, type MarkEvent, type Seq, type TaskEvent, type TokenEvent } from '../../src/core/event.js'
import type { TaskId } from '../../src/core/id.js'
import { ReaderLedger } from './reader-ledger.js'
import type { Kind, Report } from './violations.js'

/** How the task should end when nobody ends it before. */
export type Expected = {
  /** Null when nobody can know it before the first reader. */
  text: string | null
  finish: 'stop' | 'length' | null
  /** The code of the `failed` event in which it must end. */
  fails: string | null
  deadlineMs: number | null
}

/** The part of a task object that is looked at. */
export type TaskObject = {
  id: string
  status: string
  created_at: number
  last_seq: number
  output: { text: string }
  finish_reason: string | null
  usage: { completion_tokens: number } | null
  error: { code: string } | null
  metadata: Record<string, string>
}

/** What somebody had seen when a request was sent, of events or in a task object: its answer must not be older. */
export type Floor = { seq: Seq; characters: number; ended: string | null }

/** After an event: characters (UTF-16 units) and tokens up to there. */
export type Place = { text: number; tokens: number }

/** From an acknowledged cancel, or a deadline, to the last moment at which an answer may still complete by itself. */
const CANCEL_GRACE_MS = 2000
const SHOWN_CHARACTERS = 40

export class TaskLedger {
  readonly task: TaskId
  readonly expected: Expected
  /** The first DELETE was sent; when it was acknowledged as canceling, unix ms. */
  canceling = false
  canceledAt: number | null = null
  /** The terminal event, once somebody has seen it. */
  end: MarkEvent | null = null
  readonly #name: string
  readonly #report: Report
  readonly #kinds: ('token' | 'mark')[] = []
  readonly #marks = new Map<Seq, string>()
  readonly #places = new Map<Seq, Place>([[0, { text: 0, tokens: 0 }]])
  #text: string
  #lastSeen: Seq = 0
  #charactersSeen = 0
  #endedSeen: string | null = null
  #createdAt: number | null = null
  #gone = false

  constructor(task: TaskId, name: string, expected: Expected, report: Report) {
    this.task = task
    this.expected = expected
    this.#name = name
    this.#report = report
    this.#text = expected.text ?? ''
  }

  /** A reader that has seen everything up to `after`, a position from `borders`. */
  reader(name: string, after: Seq = 0): ReaderLedger {
    return new ReaderLedger(this, name, after)
  }

  get floor(): Floor {
    return { seq: this.#lastSeen, characters: this.#charactersSeen, ended: this.#endedSeen }
  }

  /** Positions that somebody was shown, in no order. */
  get borders(): Seq[] {
    return [...this.#places.keys()]
  }

  /** The gateway says that it does not have it. */
  get gone(): boolean {
    return this.#gone
  }

  /** Null when no reader has stopped there. */
  placeAt(seq: Seq): Place | null {
    return this.#places.get(seq) ?? null
  }

  violation(kind: Kind, what: string, reader?: string): void {
    this.#report({ kind, what, task: `${this.#name} (${this.task})`, ...(reader === undefined ? {} : { reader }) })
  }

  /** An answer that ends what somebody had with the task: said once when it is the task that is not there. */
  refused(kind: Kind, what: string, who: string): void {
    if (kind === 'lost' && this.#gone) return
    if (kind === 'lost') this.#gone = true
    this.violation(kind, what, who)
  }

  /** A reader that is at `at` was shown this event; returns the place after it. For `ReaderLedger` only. */
  show(event: TaskEvent, from: Seq, at: Place, reader: string): Place {
    this.#lastSeen = Math.max(this.#lastSeen, event.seq)
    if (this.end && event.seq > this.end.seq) {
      this.violation('end', `event ${event.seq} (${event.type}) after the terminal event ${this.end.seq}`, reader)
    }
    if (event.type !== 'token') {
      this.#showMark(event, reader)
      return this.#arrive(event.seq, at, reader)
    }
    this.#showKinds(event, from, reader)
    this.#showText(event, from, at.text, reader)
    return this.#arrive(event.seq, { text: at.text + event.text.length, tokens: at.tokens + event.tokens }, reader)
  }

  /** An answer that has the task, to a request sent when `floor` was seen. */
  look(object: TaskObject, floor: Floor, reader = 'task object'): void {
    const { status, last_seq: last, output } = object
    if (object.id !== this.task) this.violation('form', `asked for the task, got ${object.id}`, reader)
    this.#createdAt ??= object.created_at
    if (object.created_at !== this.#createdAt) this.violation('differs', 'its created_at has changed', reader)
    if (last < floor.seq) this.violation('backwards', `last_seq ${last}, ${floor.seq} was shown before`, reader)
    if (floor.ended !== null && floor.ended !== status) {
      this.violation('backwards', `status ${status}, it had ended with ${floor.ended} before`, reader)
    }
    if (output.text.length < floor.characters) {
      const what = `output.text has ${output.text.length} characters, ${floor.characters} were shown before`
      this.violation('backwards', what, reader)
    }
    this.#lastSeen = Math.max(this.#lastSeen, last)
    this.#charactersSeen = Math.max(this.#charactersSeen, output.text.length)
    if (hasEnded(object)) this.#endedSeen ??= status
    const common = this.expected.text === null ? Math.min(this.#text.length, output.text.length) : output.text.length
    const at = firstDifference(output.text.slice(0, common), this.#text, 0)
    if (at !== null) this.violation('text', `output.text: ${difference(output.text, this.#text, at, at)}`, reader)
  }

  /** The task is over for all of its readers; `object` was asked for after that. */
  close(object: TaskObject): void {
    const { end, expected } = this
    if (!end) {
      this.violation('unended', `nobody saw its end; status ${object.status}`)
      return
    }
    const { text, tokens } = this.#places.get(end.seq) ?? { text: 0, tokens: 0 }
    if (object.last_seq !== end.seq) this.violation('end', `last_seq ${object.last_seq}, the log ended at ${end.seq}`)
    if (object.output.text.length !== text) {
      this.violation('text', `output.text has ${object.output.text.length} characters, readers were shown ${text}`)
    }
    switch (end.type) {
      case 'completed':
        if (expected.fails) this.violation('end', `completed, expected failed with ${expected.fails}`)
        if (expected.text !== null && text !== expected.text.length) {
          this.violation('text', `completed after ${text} of ${expected.text.length} characters`)
        }
        if (expected.finish && end.finish_reason !== expected.finish) {
          this.violation('end', `finish_reason ${end.finish_reason}, expected ${expected.finish}`)
        }
        if (object.finish_reason !== end.finish_reason) this.violation('differs', 'finish_reason of the task object')
        if (end.usage.completion_tokens !== tokens) {
          this.violation('differs', `usage has ${end.usage.completion_tokens} tokens, events had ${tokens}`)
        }
        this.#checkRemembered(end.at)
        return
      case 'failed':
        if (end.error.code !== expected.fails) this.violation('end', `failed: ${end.error.code}: ${end.error.message}`)
        if (object.error?.code !== end.error.code) this.violation('differs', 'error of the task object')
        return
      case 'canceled':
        this.#checkCanceledBy(end.by, end.at)
        return
      default:
        throw new Error(`${end.type} is not terminal`)
    }
  }

  #showMark(event: MarkEvent, reader: string): void {
    const { seq } = event
    const shown = canonical(event)
    const known = this.#marks.get(seq)
    if (this.#kinds[seq] === 'token') {
      this.violation('differs', `event ${seq} is ${event.type}, to another reader it was a token`, reader)
    } else if (known !== undefined && known !== shown) {
      this.violation('differs', `event ${seq} is ${shown}, to another reader it was ${known}`, reader)
    }
    this.#kinds[seq] = 'mark'
    this.#marks.set(seq, shown)
    if (!isTerminal(event) || this.end?.seq === seq) return
    if (this.end) this.violation('end', `${event.type} at ${seq}, ${this.end.type} at ${this.end.seq} before`, reader)
    else if (this.#lastSeen > seq) {
      this.violation('end', `${event.type} at ${seq}, somebody was shown event ${this.#lastSeen}`, reader)
    }
    this.end ??= event
    this.#endedSeen ??= event.type
  }

  #showKinds({ seq }: TokenEvent, from: Seq, reader: string): void {
    for (let covered = from; covered <= seq; covered++) {
      if (this.#kinds[covered] === 'mark') {
        const known = this.#marks.get(covered)
        this.violation('differs', `event ${covered} is a token, to another reader it was ${known}`, reader)
      } else {
        this.#kinds[covered] = 'token'
      }
    }
  }

  #showText({ text, seq }: TokenEvent, from: Seq, at: number, reader: string): void {
    // A reader that has lost its place is known for that already.
    if (Number.isNaN(at)) return
    const known = this.expected.text === null ? text.slice(0, Math.max(0, this.#text.length - at)) : text
    const offset = firstDifference(known, this.#text, at)
    if (offset !== null) {
      this.violation('text', `event ${from}-${seq}: ${difference(text, this.#text, offset, at + offset)}`, reader)
    } else if (this.expected.text === null) {
      this.#text += text.slice(known.length)
    }
  }

  /** The place after an event is the same for everybody who was shown a border there. */
  #arrive(seq: Seq, place: Place, reader: string): Place {
    const known = this.#places.get(seq)
    if (Number.isNaN(place.text)) return known ?? place
    this.#charactersSeen = Math.max(this.#charactersSeen, place.text)
    if (!known) this.#places.set(seq, place)
    else if (known.text !== place.text || known.tokens !== place.tokens) {
      const [here, there] = [place, known].map(({ text, tokens }) => `character ${text}, token ${tokens}`)
      this.violation('differs', `event ${seq} ends at ${here}, to another reader at ${there}`, reader)
    }
    return place
  }

  /** The answer completed by itself: was it to be ended before? */
  #checkRemembered(at: number): void {
    const { deadlineMs } = this.expected
    if (this.canceledAt !== null && at > this.canceledAt + CANCEL_GRACE_MS) {
      this.violation('cancel', `completed ${at - this.canceledAt} ms after its cancel was acknowledged`)
    }
    if (deadlineMs === null || this.#createdAt === null) return
    const late = at - this.#createdAt - deadlineMs
    if (late > CANCEL_GRACE_MS) this.violation('cancel', `completed ${late} ms after its deadline`)
  }

  #checkCanceledBy(by: string, at: number): void {
    const { deadlineMs } = this.expected
    if (by === 'client' && this.canceling) return
    if (by === 'deadline' && deadlineMs !== null) {
      const early = this.#createdAt === null ? 0 : this.#createdAt + deadlineMs - at
      // A timer may fire a millisecond before its time.
      if (early > 1) this.violation('end', `canceled ${early} ms before its deadline`)
      return
    }
    this.violation('end', `canceled by ${by}, which nobody asked for`)
  }
}

export const hasEnded = ({ status }: TaskObject): boolean => status !== 'queued' && status !== 'running'

/** The same text for the same fields and values, in whatever order a format has them. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner
    return Object.fromEntries(Object.entries(inner).sort(([one], [other]) => (one < other ? -1 : 1)))
  })
}

/** Where `text` is not what `whole` has at `offset`; null when it is all there. */
function firstDifference(text: string, whole: string, offset: number): number | null {
  if (whole.startsWith(text, offset)) return null
  let at = 0
  while (text[at] === whole[offset + at]) at++
  return at
}

const difference = (text: string, whole: string, at: number, wholeAt: number): string =>
  `${shown(text, at)} where character ${wholeAt} should be ${shown(whole, wholeAt)}`

const shown = (text: string, from: number): string => JSON.stringify(text.slice(from, from + SHOWN_CHARACTERS))
