/**
 * Keeps so many tasks alive, one after another in each place, until it is told to stop.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Life, type Lines } from './life.js'
import { SocketLine } from './readers/socket.js'
import { Roster } from './roster.js'
import type { Setting } from './setting.js'

/** Bounds a run together with its time; far under what a gateway keeps idempotency keys for. */
const MAX_TASKS = 50_000
/** Against a loop without a pause where every task fails at once. */
const PAUSE_MS = 10

export class Load {
  readonly roster = new Roster()
  /** Settles when all tasks are over. */
  readonly done: Promise<void>
  readonly #setting: Setting
  readonly #lines: Lines
  /** What each of the embedded model's requests gives where nothing disturbs it. */
  readonly #undisturbed: readonly string[]
  readonly #lives = new Set<Life>()
  #number = 0
  #stopped = false

  constructor(setting: Setting, tasks: number, undisturbed: readonly string[]) {
    this.#setting = setting
    this.#undisturbed = undisturbed
    // More than a task has readers: no two of them may share one.
    const each = setting.setup.readers + 1
    const lines = (format: 'json' | 'msgpack'): SocketLine[] =>
      Array.from({ length: each }, (_, i) => new SocketLine(setting, format, `${format} line ${i}`))
    this.#lines = { json: lines('json'), msgpack: lines('msgpack') }
    for (const line of this.#all) void line.run()
    this.done = Promise.all(Array.from({ length: tasks }, () => this.#place())).then(() => {})
  }

  get alive(): number {
    return this.#lives.size
  }

  /** No new tasks from now on. */
  stop(): void {
    this.#stopped = true
  }

  /** Of those that are alive: each is a violation. */
  giveUp(): void {
    for (const life of this.#lives) life.giveUp()
  }

  /** Ends all at once. */
  close(): void {
    this.stop()
    for (const life of this.#lives) life.abandon()
    for (const line of this.#all) line.close()
  }

  get #all(): SocketLine[] {
    return [...this.#lines.json, ...this.#lines.msgpack]
  }

  async #place(): Promise<void> {
    while (!this.#stopped && this.#number < MAX_TASKS) {
      const life = new Life(this.#setting, this.roster, this.#lines, this.#number++)
      this.#lives.add(life)
      await this.#live(life).catch((error: Error) => {
        const what = `an answer that cannot be read: ${error.message}`
        this.#setting.report({ kind: 'form', what, task: `task ${life.plan.number} (${life.ledger?.task ?? 'no id'})` })
      })
      this.#lives.delete(life)
      await sleep(PAUSE_MS)
    }
  }

  async #live(life: Life): Promise<void> {
    const object = await life.live()
    if (!object) return
    this.roster.ended(object)
    const { counts } = this.#setting
    switch (object.status) {
      case 'completed':
        counts.completed++
        if (life.plan.prompt === null) return
        if (object.output.text === this.#undisturbed[life.plan.prompt]) counts.equal++
        else counts.unequal++
        return
      case 'canceled':
        counts.canceled++
        return
      case 'failed':
        counts.failed++
    }
  }
}
