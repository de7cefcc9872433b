/**
 * The logprobs of one task's tokens, in order, addressed by the count of tokens before them.
 *
 * Only a task that asked for them has one of these. They are kept as objects, token by token, because that is what an
 * event holds: a stretch of neighbours is a slice. That is dear (some 2.8 KB a token with 20 alternatives), so `bytes`
 * tells what they cost, and `jsonBytes` how many of them fit into one merged event.
 */
import type { TokenLogprob } from '../core/event.js'

/** Of memory, measured on Node 20: each token, and each likelihood of it, its own and those of the alternatives. */
const TOKEN_BYTES = 100
const LIKELIHOOD_BYTES = 136
/** `{"token":" the","bytes":[32,116,104,101],"logprob":-0.6931471805599453},` */
const LIKELIHOOD_JSON_BYTES = 72

export class Logprobs {
  readonly #items: TokenLogprob[] = []
  #likelihoods = 0
  #widest = 1

  /** Tokens. */
  get count(): number {
    return this.#items.length
  }

  /** Bytes of memory. */
  get bytes(): number {
    return this.#items.length * TOKEN_BYTES + this.#likelihoods * LIKELIHOOD_BYTES
  }

  /** Of one token, about, as JSON. */
  get jsonBytes(): number {
    return this.#widest * LIKELIHOOD_JSON_BYTES
  }

  append(items: readonly TokenLogprob[]): void {
    for (const item of items) {
      const likelihoods = 1 + item.top_logprobs.length
      this.#likelihoods += likelihoods
      this.#widest = Math.max(this.#widest, likelihoods)
      this.#items.push(item)
    }
  }

  /** All of them. */
  dump(): readonly TokenLogprob[] {
    return this.#items
  }

  slice(from: number, to: number): TokenLogprob[] {
    return this.#items.slice(from, to)
  }
}
