/**
 * One task from its submit to the moment when all of its readers have seen the end: then it is checked and forgotten.
 */
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TaskId } from '../../src/core/id.js'
import { Random } from '../../test/server/random.js'
import { type Answer, ask, codeOf } from './http.js'
import { hasEnded, TaskLedger, type TaskObject } from './ledger.js'
import { planTask, type ReaderPlan, type TaskPlan } from './plan.js'
import type { ReaderLedger } from './reader-ledger.js'
import { follow, type Visit } from './readers/follow.js'
import { visitPage } from './readers/poll.js'
import type { SocketLine } from './readers/socket.js'
import { readStream, visitSse } from './readers/sse.js'
import type { Roster } from './roster.js'
import { judge, type Setting } from './setting.js'
import { conflict, resubmit, submit, submitOver } from './submit.js'

/** Lines per format. A task has no two readers on one. */
export type Lines = { json: SocketLine[]; msgpack: SocketLine[] }

const LOOK_AGAIN_MS = 100

export class Life {
  readonly plan: TaskPlan
  ledger: TaskLedger | null = null
  readonly #setting: Setting
  readonly #roster: Roster
  readonly #lines: Lines
  readonly #over = new AbortController()
  readonly #onLines = new Set<SocketLine>()

  constructor(setting: Setting, roster: Roster, lines: Lines, number: number) {
    this.plan = planTask(setting.setup, number)
    this.#setting = setting
    this.#roster = roster
    this.#lines = lines
    // Each of its requests and waits listens, as many as there are at once.
    setMaxListeners(0, this.#over.signal)
  }

  /** The task's last state that is left to be looked at; null when it never came to be, or the time is up. */
  async live(): Promise<TaskObject | null> {
    const { signal } = this.#over
    const read = this.plan.submit === 'socket' ? await this.#beginOver() : await this.#begin()
    const { ledger } = this
    if (!read || !ledger) return null
    const { cancelAfterMs, resubmitAfterMs, conflictAfterMs, looks } = this.plan
    const later = async (afterMs: number | null, act: () => Promise<unknown>): Promise<void> => {
      if (afterMs === null) return
      await this.#sleep(afterMs)
      if (!signal.aborted) await act()
    }
    await Promise.all([
      read(),
      ...this.plan.readers.slice(1).map((plan) => this.#read(ledger, plan)),
      later(cancelAfterMs, () => this.#cancel(ledger)),
      later(resubmitAfterMs, () => resubmit(this.#setting, this.plan, ledger.task, signal)),
      later(conflictAfterMs, () => conflict(this.#setting, this.plan, signal)),
      ...looks.map(({ afterMs, waitS }) => later(afterMs, () => this.#look(ledger, waitS))),
    ])
    if (signal.aborted || ledger.gone) return null
    const object = await this.#look(ledger, 0)
    if (object) ledger.close(object)
    return object
  }

  /** Ends it where it is. */
  abandon(): void {
    this.#over.abort()
  }

  /** The same, as a violation: the time is up. */
  giveUp(): void {
    this.abandon()
    if (this.ledger?.gone) return
    const { seq, ended } = this.ledger?.floor ?? { seq: 0, ended: null }
    const what = this.ledger
      ? `some of its readers have not seen its end (${ended ?? 'nobody has'}); the last event seen is ${seq}`
      : 'its submit was not answered'
    this.#setting.report({ kind: 'unended', what, task: `task ${this.plan.number} (${this.ledger?.task ?? 'no id'})` })
  }

  /** Submits over HTTP; returns what its first reader does. */
  async #begin(): Promise<(() => Promise<void>) | null> {
    const { signal } = this.#over
    const submitted = await submit(this.#setting, this.plan, this.#roster, signal)
    if (!submitted) return null
    const { id, stream } = submitted
    const ledger = this.#accepted(id)
    const plan = this.plan.readers[0] as ReaderPlan
    if (!stream) return () => this.#read(ledger, plan)
    const first: Visit = (setting, reader, decided) => readStream(setting, stream, reader, decided)
    const reader = ledger.reader(shownName(plan))
    return () => follow(this.#setting, reader, { ...plan, protocol: 'sse' }, visitSse, signal, first)
  }

  /** The same over a socket, which has that reader at once. */
  async #beginOver(): Promise<(() => Promise<void>) | null> {
    const plan = this.plan.readers[0] as ReaderPlan
    const line = this.#lineFor(plan)
    const accept = (task: TaskObject): ReaderLedger => {
      const ledger = this.#accepted(task.id)
      ledger.look(task, ledger.floor)
      return ledger.reader(`${shownName(plan)} on ${line.name}`)
    }
    const accepted = await submitOver(this.#setting, line, this.plan, this.#roster, this.#over.signal, accept)
    return accepted && (() => accepted.seat)
  }

  #accepted(id: string): TaskLedger {
    this.#setting.counts.accepted++
    const { expected, number } = this.plan
    // Its form is checked by nobody here: an id that is none gets a 404.
    this.ledger = new TaskLedger(id as TaskId, `task ${number}`, expected, this.#setting.report)
    return this.ledger
  }

  async #read(ledger: TaskLedger, plan: ReaderPlan): Promise<void> {
    const { signal } = this.#over
    const { type, afterMs } = plan.start
    await this.#sleep(afterMs)
    if (signal.aborted || ledger.gone) return
    const random = Random.for(this.#setting.setup.seed, `${plan.name} position`)
    const after = type === 'second' ? (ledger.borders[random.between(0, ledger.borders.length - 1)] ?? 0) : 0
    // Nothing comes after the end, and a reader that was there would wait for nothing.
    if (after === ledger.end?.seq) return
    if (plan.protocol === 'sse' || plan.protocol === 'poll') {
      const { protocol } = plan
      const visit = protocol === 'sse' ? visitSse : visitPage
      await follow(this.#setting, ledger.reader(shownName(plan), after), { ...plan, protocol }, visit, signal)
    } else {
      const line = this.#lineFor(plan)
      await line.follow(ledger.reader(`${shownName(plan)} on ${line.name}`, after))
    }
  }

  #lineFor({ protocol, name }: ReaderPlan): SocketLine {
    const lines = this.#lines[protocol === 'msgpack' ? 'msgpack' : 'json']
    const at = Random.for(this.#setting.setup.seed, `${name} line`).between(0, lines.length - 1)
    const rotated = [...lines.slice(at), ...lines.slice(0, at)]
    const line = rotated.find((line) => !this.#onLines.has(line))
    if (!line) throw new Error(`task ${this.plan.number} has more readers than there are lines`)
    this.#onLines.add(line)
    return line
  }

  /** DELETE until it is answered. */
  async #cancel(ledger: TaskLedger): Promise<void> {
    ledger.canceling = true
    await this.#ask(ledger, 'DELETE', '', (answer, floor) => {
      const object = JSON.parse(answer.text) as TaskObject
      if (answer.status === 202) ledger.canceledAt = Date.now()
      else if (!hasEnded(object)) ledger.violation('form', `200 to DELETE, its status is ${object.status}`)
      ledger.look(object, floor, 'DELETE')
      return object
    })
  }

  #look(ledger: TaskLedger, waitS: number): Promise<TaskObject | null> {
    return this.#ask(ledger, 'GET', waitS > 0 ? `?wait=${waitS}` : '', (answer, floor) => {
      const object = JSON.parse(answer.text) as TaskObject
      ledger.look(object, floor)
      return object
    })
  }

  /** Until there is an answer; null when there is none to be had. */
  async #ask(
    ledger: TaskLedger,
    method: 'GET' | 'DELETE',
    query: string,
    take: (answer: Answer, floor: TaskLedger['floor']) => TaskObject,
  ): Promise<TaskObject | null> {
    const { signal } = this.#over
    while (!signal.aborted && !ledger.gone) {
      await this.#setting.up()
      const { floor } = ledger
      const answer = await ask(this.#setting.port, { method, path: `/v1/tasks/${ledger.task}${query}` }, signal)
      if (answer && answer.status < 300) return take(answer, floor)
      const code = answer && codeOf(answer.text)
      const kind = code === null ? null : judge(code)
      if (kind !== null) {
        ledger.refused(kind, `${method}: ${answer?.status} ${code}`, 'task object')
        return null
      }
      await this.#sleep(LOOK_AGAIN_MS)
    }
    return null
  }

  /** Or until it is abandoned. */
  async #sleep(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#over.signal }).catch(() => {})
  }
}

const shownName = ({ name, protocol, temper, start }: ReaderPlan): string =>
  `${name} (${protocol}, ${temper}, ${start.type})`
