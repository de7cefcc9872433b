/**
 * What a run found: every broken promise is counted, the first ones are kept to be printed.
 *
 * One cause can break thousands of promises (a gateway that forgets its tasks), so what is kept has a bound and the
 * counts have none.
 */
export const KINDS = {
  lost: 'an event or an accepted task is not there',
  repeated: 'an event or a task is there twice',
  ahead: 'an event was shown that the log does not have any more (position_ahead)',
  text: 'a text is not what it should be, or not what others were shown',
  differs: 'two readers were told different things of one event',
  end: 'a terminal event is not the one, or not the last, or nobody brought it about',
  backwards: 'a task went back: its last_seq, its text, or its end',
  key: 'an idempotency key did not name its task',
  cancel: 'a cancel or a deadline was forgotten',
  unended: 'a task did not end in time',
  refused: 'the gateway refused what it must take',
  form: 'an answer that is not of the protocol',
  process: 'the gateway process did not behave',
} as const

export type Kind = keyof typeof KINDS

export type Violation = {
  kind: Kind
  what: string
  task?: string
  reader?: string
}

export type Report = (violation: Violation) => void

const MAX_KEPT = 40

export class Violations {
  readonly first: Violation[] = []
  readonly #counts = new Map<Kind, number>()
  total = 0

  report(violation: Violation): void {
    this.total++
    this.#counts.set(violation.kind, this.count(violation.kind) + 1)
    if (this.first.length < MAX_KEPT) this.first.push(violation)
  }

  count(kind: Kind): number {
    return this.#counts.get(kind) ?? 0
  }
}

export const shownViolation = ({ kind, what, task, reader }: Violation): string =>
  `${kind}: ${[task, reader].filter((name) => name !== undefined).join(', ')}${task || reader ? ': ' : ''}${what}`
