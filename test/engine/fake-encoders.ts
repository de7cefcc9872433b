/** Encoders that answer when the test lets them: a vector of a text is its length. */
import type { Encoders } from '../../src/engine/embedder.js'
import type { Embedding } from '../../src/model/encoder.js'

/** What a thread has got and not answered yet. */
export type Piece = { texts: string[]; answer: (embeddings?: Embedding[]) => void; lose: (reason: string) => void }

export class FakeEncoders implements Encoders {
  readonly count: number
  readonly ready = true
  /** In the order in which they were given out. */
  readonly pieces: Piece[] = []

  constructor(count: number) {
    this.count = count
  }

  async open(): Promise<void> {}

  run(texts: string[]): Promise<Embedding[]> {
    return new Promise((resolve, reject) => {
      const all = texts.map((text): Embedding => ({ type: 'embedded', vector: vectorOf(text), tokens: text.length }))
      const answer = (embeddings = all): void => resolve(embeddings)
      this.pieces.push({ texts, answer, lose: (reason) => reject(new Error(reason)) })
    })
  }

  async close(): Promise<void> {}
}

export const vectorOf = (text: string): Float32Array => Float32Array.of(text.length)
