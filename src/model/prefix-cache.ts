/**
 * Keys and values of prompts and answers that were computed before, for the next prompt that begins the same way.
 *
 * Sequences are kept in blocks of `BLOCK_TOKENS` tokens. A block is found by the block before it and its own ids, so
 * sequences with a common beginning share it, and a match is exact: no hash stands for the ids. What is used last goes
 * last: a block is touched after all that follow it, so the least recently used block never has another behind it.
 * Copies go in and out; a block is never a part of a running row.
 */

/** A prefix is reused in multiples of this. Smaller blocks find more of it and cost more to look up. */
export const BLOCK_TOKENS = 16

type Block = { id: number; key: string; data: Float32Array }

export class PrefixCache {
  readonly #blockFloats: number
  readonly #maxBlocks: number
  /** In order of use, the oldest first. */
  readonly #blocks = new Map<string, Block>()
  #nextId = 1

  /**
   * @param tokenFloats floats that one position takes
   * @param maxBytes of blocks together; 0 = no cache
   */
  constructor(tokenFloats: number, maxBytes: number) {
    this.#blockFloats = tokenFloats * BLOCK_TOKENS
    this.#maxBlocks = Math.floor(maxBytes / (this.#blockFloats * Float32Array.BYTES_PER_ELEMENT))
  }

  get bytes(): number {
    return this.#blocks.size * this.#blockFloats * Float32Array.BYTES_PER_ELEMENT
  }

  /** The longest known beginning of `ids`, at most `maxTokens` of it: its blocks, in order. */
  match(ids: ArrayLike<number>, maxTokens: number): Float32Array[] {
    const found = this.#find(ids, maxTokens)
    this.#touch(found)
    return found.map(({ data }) => data)
  }

  /** How many tokens `match` would find. */
  matchedTokens(ids: ArrayLike<number>, maxTokens: number): number {
    return this.#find(ids, maxTokens).length * BLOCK_TOKENS
  }

  /**
   * Keeps the whole blocks of a sequence that are not kept yet.
   * @param length positions that are computed, of `ids`
   * @param read copies the BLOCK_TOKENS positions from `from` on into `block`
   */
  insert(ids: ArrayLike<number>, length: number, read: (from: number, block: Float32Array) => void): void {
    const end = Math.min(length, this.#maxBlocks * BLOCK_TOKENS)
    const chain = this.#find(ids, end)
    // As the latest, so that making room for the others takes none of this sequence.
    this.#touch(chain)
    for (let at = chain.length * BLOCK_TOKENS; at + BLOCK_TOKENS <= end; at += BLOCK_TOKENS) {
      const block = { id: this.#nextId++, key: keyOf(chain.at(-1), ids, at), data: this.#room() }
      read(at, block.data)
      this.#blocks.set(block.key, block)
      chain.push(block)
    }
    this.#touch(chain)
  }

  /** The blocks of the longest known beginning. */
  #find(ids: ArrayLike<number>, maxTokens: number): Block[] {
    const found: Block[] = []
    for (let at = 0; at + BLOCK_TOKENS <= maxTokens; at += BLOCK_TOKENS) {
      const block = this.#blocks.get(keyOf(found.at(-1), ids, at))
      if (!block) break
      found.push(block)
    }
    return found
  }

  /** The data of a new block: new memory up to the bound, then that of the block used least recently. */
  #room(): Float32Array {
    if (this.#blocks.size >= this.#maxBlocks) {
      for (const oldest of this.#blocks.values()) {
        this.#blocks.delete(oldest.key)
        return oldest.data
      }
    }
    return new Float32Array(this.#blockFloats)
  }

  #touch(chain: Block[]): void {
    for (const block of chain.toReversed()) {
      this.#blocks.delete(block.key)
      this.#blocks.set(block.key, block)
    }
  }
}

const keyOf = (before: Block | undefined, ids: ArrayLike<number>, at: number): string => {
  let key = `${before?.id ?? 0}`
  for (let i = at; i < at + BLOCK_TOKENS; i++) key += `,${ids[i]}`
  return key
}
