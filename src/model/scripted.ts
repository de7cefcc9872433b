/**
 * The model that says what a test or a bench told it, at the pace it was told to: see `script.ts` for the prompt.
 *
 * It exists so that everything around a model can be tested and measured alone: no weights, no native code, and a
 * step costs what its tokens cost. Slots that have a rate wait in a heap by due time, so a step touches only those
 * that are due, never all of them. Token ids are token numbers, so an answer goes on from its recorded length.
 *
 * A crash is the real thing, `process.exit(1)` in the worker thread. What befalls a row comes a few milliseconds after
 * its token, and one step later than it could: the loop gathers tokens for a moment and looks after each step whether
 * to post them, so by then it has. What was posted before the exit always arrives (node delivers what is in a port's
 * queue); a token that was not would be made again, and the thread would die at it again.
 */
import { monotonicUs } from '../core/clock.js'
import { DueHeap } from './due-heap.js'
import type { Admission, Generation, Model, SlotOutput } from './model.js'
import { type At, parseScript, promptText, type Script, ScriptWords } from './script.js'

const FATE_DELAY_US = 5_000
// A loop that was held up catches up, but one slot does not keep the others waiting meanwhile.
const MAX_BURST = 64

/** What befalls a row after a token; the last one that it had before: at once. */
type Fate = { type: 'crash' | 'fail' | 'hang'; after: number }

type Row = {
  slot: number
  script: Script
  words: ScriptWords
  /** The number of the next token. */
  next: number
  /** One after the last token; `next === limit` at the start means that there is nothing left to say. */
  limit: number
  /** Token `base` falls due at `startUs`, every later one 1/rate seconds after the one before. */
  base: number
  startUs: number
  /** Of this attempt, the next one first. */
  fates: Fate[]
  /** The next one fell due once: it comes with the next step. */
  dying: boolean
}

export type ScriptedOptions = {
  slots: number
  /** Ends the thread; a test that runs in the main thread gives another. */
  exit?: () => void
}

export class ScriptedModel implements Model {
  readonly slots: number
  readonly #exit: () => void
  readonly #free: number[]
  readonly #rows: (Row | undefined)[]
  /** Slots whose next token, or fate, has a time. Slots without a rate are in #eager; ended ones in neither. */
  readonly #due: DueHeap
  readonly #eager = new Set<Row>()
  /** Slots whose time in #due is that of their fate. */
  readonly #doomed = new Set<number>()

  constructor({ slots, exit = () => process.exit(1) }: ScriptedOptions) {
    this.slots = slots
    this.#exit = exit
    this.#free = Array.from({ length: slots }, (_, i) => slots - 1 - i)
    this.#rows = new Array(slots).fill(undefined)
    this.#due = new DueHeap(slots)
  }

  /** `promptTokens` are the words (runs of non-space) of the prompt; there is no cache and no limit of a context, and
   * sampling and logprobs mean nothing here. */
  async admit({ prompt, maxTokens, recorded }: Generation): Promise<Admission> {
    const script = parseScript(prompt)
    const slot = this.#free.pop()
    if (slot === undefined) throw new Error(`all ${this.slots} slots are taken`)
    const limit = Math.min(script.tokens, maxTokens ?? script.tokens)
    const base = recorded.length
    const fates = fatesOf(script, base, limit)
    const words = new ScriptWords(script, base)
    const row: Row = { slot, script, words, next: base, limit, base, startUs: monotonicUs(), fates, dying: false }
    this.#rows[slot] = row
    this.#goOn(row)
    return { slot, promptTokens: countWords(promptText(prompt)), maxTokens: limit }
  }

  async step(): Promise<SlotOutput[]> {
    const outputs: SlotOutput[] = []
    const now = monotonicUs()
    const late: number[] = []
    while (this.#due.firstDue <= now) {
      const row = this.#rows[this.#due.first] as Row
      if (row.dying) {
        this.#befall(row, outputs)
        continue
      }
      if (this.#doomed.has(row.slot)) {
        row.dying = true
        late.push(row.slot)
        this.#due.set(row.slot, Number.POSITIVE_INFINITY)
        continue
      }
      const due = this.#sayDue(row, now, outputs)
      if (due === null) continue
      // Still due after its burst: out of this step, or the loop would never see the others.
      if (due <= now) late.push(row.slot)
      this.#due.set(row.slot, due <= now ? Number.POSITIVE_INFINITY : due)
    }
    for (const slot of late) this.#due.set(slot, now)
    for (const row of this.#eager) this.#say(row, row.script.stamp ? monotonicUs() : 0, outputs)
    return outputs
  }

  idleMs(): number {
    if (this.#eager.size > 0) return 0
    return Math.max(0, (this.#due.firstDue - monotonicUs()) / 1000)
  }

  release(slot: number): void {
    const row = this.#rows[slot]
    if (!row) return
    this.#retire(row)
    this.#rows[slot] = undefined
    this.#free.push(slot)
  }

  async close(): Promise<void> {}

  /** Says the tokens of a row that are due; returns when the next one is, or null when the row says no more for now. */
  #sayDue(row: Row, now: number, outputs: SlotOutput[]): number | null {
    const { startUs, base, script } = row
    for (let burst = 0; burst < MAX_BURST; burst++) {
      const due = startUs + ((row.next - base) * 1e6) / script.rate
      if (due > now) return due
      if (!this.#say(row, due, outputs)) return null
    }
    return startUs + ((row.next - base) * 1e6) / script.rate
  }

  /** Says one token, or the end of a row that has none left; returns whether the row goes on. */
  #say(row: Row, dueUs: number, outputs: SlotOutput[]): boolean {
    const token = row.next
    const end = row.limit < row.script.tokens ? 'length' : 'stop'
    if (token >= row.limit) {
      outputs.push({ slot: row.slot, id: -1, text: '', end })
      this.#retire(row)
      return false
    }
    row.next++
    const last = row.next === row.limit
    outputs.push({ slot: row.slot, id: token, text: row.words.take(dueUs), end: last ? end : null })
    if (last) this.#retire(row)
    else if (row.fates[0]?.after === token) this.#doom(row, monotonicUs() + FATE_DELAY_US)
    else return true
    return false
  }

  /** It waits for its next token, or for what befalls it before that. */
  #goOn(row: Row): void {
    if (row.fates[0]?.after === row.next - 1) this.#doom(row, row.startUs)
    else if (row.script.rate > 0) this.#due.set(row.slot, row.startUs)
    else this.#eager.add(row)
  }

  #befall(row: Row, outputs: SlotOutput[]): void {
    const fate = row.fates.shift() as Fate
    row.dying = false
    this.#retire(row)
    switch (fate.type) {
      case 'crash':
        this.#exit()
        return
      case 'fail':
        outputs.push(failed(row))
        return
      case 'hang':
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, row.script.hangMs)
        this.#goOn(row)
        return
      default:
        fate.type satisfies never
    }
  }

  #doom(row: Row, atUs: number): void {
    this.#eager.delete(row)
    this.#doomed.add(row.slot)
    this.#due.set(row.slot, atUs)
  }

  /** Nothing more will come from this row; its slot stays taken until it is released. */
  #retire(row: Row): void {
    this.#eager.delete(row)
    this.#doomed.delete(row.slot)
    this.#due.delete(row.slot)
  }
}

/** Of an attempt that begins with `base` tokens and ends with `limit`. */
const fatesOf = (script: Script, base: number, limit: number): Fate[] => {
  const each = (type: Fate['type'], at: At): Fate[] => {
    if (at === 'always') return [{ type, after: base - 1 }]
    return at.filter((token) => token >= base && token < limit - 1).map((after) => ({ type, after }))
  }
  const fates = [...each('hang', script.hangAt), ...each('fail', script.failAt), ...each('crash', script.crashAt)]
  return fates.sort((a, b) => a.after - b.after)
}

const failed = ({ slot, next }: Row): SlotOutput => {
  const error = { code: 'model_failed', message: `the script fails at token ${next}` }
  return { slot, id: -1, text: '', end: 'failed', error }
}

const countWords = (text: string): number => text.match(/\S+/g)?.length ?? 0
