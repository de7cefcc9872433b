/**
 * What was said in one row: the distinct ids of prompt and answer, and how often the answer has each of its own.
 *
 * A push only appends. The tallies are made when a penalty first asks for them and then catch up with what was pushed
 * since, so a row without penalties pays nothing for them, and one with penalties pays O(1) a token.
 */

/** Distinct ids in the order of their first appearance, and how often each appeared. */
export type Tally = { ids: readonly number[]; counts: readonly number[] }

export class History {
  readonly #prompt: readonly number[]
  readonly #answer: number[]
  readonly #everything = new Counter()
  readonly #answered = new Counter()

  /** The prompt is kept by reference and must not change; of the recorded part of the answer a copy is taken. */
  constructor(prompt: readonly number[], recorded: readonly number[] = []) {
    this.#prompt = prompt
    this.#answer = [...recorded]
  }

  /** A token was added to the answer. */
  push(id: number): void {
    this.#answer.push(id)
  }

  /** Of prompt and answer. */
  everything(): Tally {
    this.#everything.catchUp(this.#prompt, 0)
    this.#everything.catchUp(this.#answer, this.#prompt.length)
    return this.#everything
  }

  /** Of the answer alone. */
  answer(): Tally {
    this.#answered.catchUp(this.#answer, 0)
    return this.#answered
  }
}

class Counter implements Tally {
  // Two lists, because walking them for every token is several times as fast as walking a Map.
  readonly ids: number[] = []
  readonly counts: number[] = []
  readonly #places = new Map<number, number>()
  #counted = 0

  /** Counts what it has not counted yet of a list that starts at `offset` in all that there is to count. */
  catchUp(list: readonly number[], offset: number): void {
    for (; this.#counted - offset < list.length; this.#counted++) this.#add(list[this.#counted - offset] as number)
  }

  #add(id: number): void {
    const place = this.#places.get(id)
    if (place === undefined) {
      this.#places.set(id, this.ids.length)
      this.ids.push(id)
      this.counts.push(1)
    } else {
      this.counts[place] = (this.counts[place] as number) + 1
    }
  }
}
