/**
 * A model that says what its prompt lists, one token per row and step, when the test allows the step.
 *
 * The prompt is a JSON list of `[id, text]`, `[id, text, end]` or `[id, text, end, more of its output]`; after the last
 * one a row says nothing more.
 */
import { RejoinError } from '../../src/core/errors.js'
import type { Admission, Generation, Model, SlotOutput } from '../../src/model/model.js'

export type Word = [id: number, text: string, end?: SlotOutput['end'], more?: Partial<SlotOutput>]

type Row = { words: Word[]; next: number }

export class FakeModel implements Model {
  readonly slots: number
  /** What was called, in order. */
  readonly calls: string[] = []
  readonly generations: Generation[] = []
  /** Tokens per row and step. */
  burst = 1
  readonly #rows = new Map<number, Row>()
  #allowed = 0
  #allow: () => void = () => {}

  constructor(slots: number) {
    this.slots = slots
  }

  /** Lets so many more steps happen. */
  allow(steps: number): void {
    this.#allowed += steps
    this.#allow()
  }

  async admit(generation: Generation): Promise<Admission> {
    this.calls.push('admit')
    this.generations.push(generation)
    const { prompt, recorded, maxTokens } = generation
    if (prompt.type !== 'text') throw new RejoinError('invalid_prompt', 'no chat here')
    const words = JSON.parse(prompt.text) as Word[]
    let slot = 0
    while (this.#rows.has(slot)) slot++
    if (slot >= this.slots) throw new Error('no slot is free')
    this.#rows.set(slot, { words, next: recorded.length })
    return { slot, promptTokens: 7, maxTokens: maxTokens ?? 1000 }
  }

  async step(): Promise<SlotOutput[]> {
    while (this.#allowed === 0) {
      await new Promise<void>((resolve) => {
        this.#allow = resolve
      })
    }
    this.#allowed--
    this.calls.push('step')
    const outputs: SlotOutput[] = []
    for (const [slot, row] of this.#rows) {
      for (const word of row.words.slice(row.next, row.next + this.burst)) {
        const [id, text, end = null, more = {}] = word
        if (text === 'throw') throw new Error('the step failed')
        outputs.push({ slot, id, text, end, ...more })
        row.next++
      }
    }
    return outputs
  }

  idleMs(): number {
    return [...this.#rows.values()].some(({ words, next }) => next < words.length) ? 0 : Number.POSITIVE_INFINITY
  }

  release(slot: number): void {
    this.calls.push('release')
    this.#rows.delete(slot)
  }

  async close(): Promise<void> {}
}
