/**
 * A task is submitted until there is an answer: over HTTP always with the same key and body, so that it is one task
 * however often it was sent; over a socket without a key, where a lost answer leaves open whether there is a task.
 */
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type AttemptPlan, planAttempt } from './accidents.js'
import { type Answer, ask, codeOf, open } from './http.js'
import type { TaskObject } from './ledger.js'
import type { TaskPlan } from './plan.js'
import type { ReaderLedger } from './reader-ledger.js'
import type { SocketLine } from './readers/socket.js'
import type { Roster } from './roster.js'
import { judge, type Setting } from './setting.js'

export type Submitted = {
  id: string
  /** Of a streaming submit: the answer that goes on. */
  stream: IncomingMessage | null
}

/** What it is known by in lists: its number, and of a submit without key the try. */
const tagOf = (plan: TaskPlan, attempt: number): string =>
  plan.submit === 'socket' ? `${plan.number}.${attempt}` : String(plan.number)

const requestOf = (plan: TaskPlan, attempt = 0): Record<string, unknown> => ({
  ...plan.request,
  metadata: { chaos: tagOf(plan, attempt) },
})

/** Over HTTP. Null when the run is over. */
export async function submit(
  setting: Setting,
  plan: TaskPlan,
  roster: Roster,
  signal: AbortSignal,
): Promise<Submitted | null> {
  const key = new Key(setting, plan, signal)
  for (let n = 0; !signal.aborted; n++) {
    await setting.up()
    const attempt = planAttempt(setting.setup, plan.number, n)
    if (n > 0) setting.counts.retries++
    const submitted = plan.submit === 'stream' ? await key.stream() : await key.send(attempt)
    if (submitted && key.id !== null) {
      roster.accepted(key.id, plan.number, tagOf(plan, 0))
      return submitted
    }
    if (key.refused) return null
    await sleep(attempt.awayMs)
  }
  return null
}

/** The same once more, when it was accepted long ago. */
export async function resubmit(setting: Setting, plan: TaskPlan, id: string, signal: AbortSignal): Promise<void> {
  const key = new Key(setting, plan, signal, id)
  while (!signal.aborted && !key.refused) {
    await setting.up()
    setting.counts.retries++
    if (await key.send({ cutAfterMs: null, twice: false, awayMs: 0 })) return
    await sleep(100)
  }
}

/** Another body with the same key: no task, and no answer but a conflict. */
export async function conflict(setting: Setting, plan: TaskPlan, signal: AbortSignal): Promise<void> {
  const body = JSON.stringify({ ...requestOf(plan), metadata: { chaos: 'conflict' } })
  while (!signal.aborted) {
    await setting.up()
    const answer = await ask(setting.port, post(plan.key, body), signal)
    const code = answer && (answer.status < 400 ? `${answer.status}` : codeOf(answer.text))
    if (code === 'idempotency_conflict') return
    if (code && judge(code) !== null) {
      return setting.report({ kind: 'key', what: `another body with the key ${plan.key} was answered with ${code}` })
    }
    await sleep(100)
  }
}

/** Over a socket: try after try, each a request of its own. `accept` makes the reader of the task. */
export async function submitOver(
  setting: Setting,
  line: SocketLine,
  plan: TaskPlan,
  roster: Roster,
  signal: AbortSignal,
  accept: (task: TaskObject) => ReaderLedger,
): Promise<{ seat: Promise<void> } | null> {
  for (let n = 0; !signal.aborted; n++) {
    const outcome = await line.submit(requestOf(plan, n), (task) => {
      roster.accepted(task.id, plan.number, tagOf(plan, n))
      return accept(task)
    })
    switch (outcome.type) {
      case 'accepted':
        return outcome
      case 'unanswered':
        roster.unanswered(tagOf(plan, n))
        break
      case 'refused':
        if (judge(outcome.code) === null) break
        setting.report({
          kind: 'refused',
          what: `submit over ${line.name}: ${outcome.code}`,
          task: `task ${plan.number}`,
        })
        return null
      default:
        outcome satisfies never
    }
    await sleep(planAttempt(setting.setup, plan.number, n).awayMs)
  }
  return null
}

/** One idempotency key: all answers to it must name one and the same task. */
class Key {
  id: string | null
  /** With an answer that asking again does not change. */
  refused = false
  readonly #setting: Setting
  readonly #plan: TaskPlan
  readonly #body: string
  readonly #signal: AbortSignal
  /** A whole answer that accepted it was received: from then on it is a replay. */
  #answered: boolean

  constructor(setting: Setting, plan: TaskPlan, signal: AbortSignal, id: string | null = null) {
    this.id = id
    this.#setting = setting
    this.#plan = plan
    this.#body = JSON.stringify(requestOf(plan))
    this.#signal = signal
    this.#answered = id !== null
  }

  /** Null when there was no answer that accepts it. */
  async send({ cutAfterMs, twice }: AttemptPlan): Promise<Submitted | null> {
    const { port } = this.#setting
    const what = post(this.#plan.key, this.#body)
    const known = this.#answered
    const answers = await Promise.all([
      ask(port, what, this.#signal, cutAfterMs),
      twice ? ask(port, what, this.#signal) : null,
    ])
    const accepted = answers.filter((answer) => answer && this.#accepts(answer, known))
    if (accepted.length === 2 && accepted.every((answer) => answer?.status === 202)) {
      this.#violation('both of two requests at once were answered with 202')
    }
    return accepted.length > 0 && this.id !== null ? { id: this.id, stream: null } : null
  }

  async stream(): Promise<Submitted | null> {
    const what = post(this.#plan.key, this.#body)
    const headers = { ...what.headers, accept: 'text/event-stream' }
    const response = await open(this.#setting.port, { ...what, headers }, this.#signal)
    if (response === null) return null
    const { statusCode = 0, headers: answered } = response
    const { location } = answered
    if (statusCode === 200 && location !== undefined) {
      this.#name(location)
      return { id: this.id ?? '', stream: response }
    }
    const chunks = await response.toArray().catch(() => null)
    const text = Buffer.concat((chunks ?? []) as Buffer[]).toString()
    if (chunks) this.#accepts({ status: statusCode, location, replay: false, text }, false)
    return null
  }

  /** Whether the answer is the task's; a refusal that is for good is reported. */
  #accepts({ status, location, replay, text }: Answer, known: boolean): boolean {
    if (status !== 200 && status !== 202) {
      const code = codeOf(text)
      if (judge(code) === null) return false
      this.refused = true
      this.#violation(`answered with ${status} ${code}`)
      return false
    }
    this.#answered = true
    if (replay !== (status === 200)) this.#violation(`${status} with Idempotent-Replay: ${replay}`)
    if (known && status === 202) this.#violation('accepted as new, after it was answered before')
    if (location !== undefined) this.#name(location)
    const { id } = JSON.parse(text) as TaskObject
    if (location !== `/v1/tasks/${id}`) this.#violation(`Location ${location} of task ${id}`)
    return true
  }

  #name(location: string): void {
    const id = location.slice(location.lastIndexOf('/') + 1)
    if (this.id !== null && this.id !== id) this.#violation(`it named ${this.id} before, and now ${id}`)
    this.id ??= id
  }

  #violation(what: string): void {
    const { number, key } = this.#plan
    this.#setting.report({ kind: 'key', what: `key ${key}: ${what}`, task: `task ${number}` })
  }
}

const post = (
  key: string,
  body: string,
): { method: 'POST'; path: string; headers: Record<string, string>; body: string } => ({
  method: 'POST',
  path: '/v1/tasks',
  headers: { 'content-type': 'application/json', 'idempotency-key': key },
  body,
})
