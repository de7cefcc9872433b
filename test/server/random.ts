/**
 * Random choices that a seed repeats, for the tests that cut connections, and for `npm run chaos`.
 */
import { Random as Numbers } from '../../src/load/random.js'

export class Random extends Numbers {
  /** A generator of its own for each actor of a run: how often the others choose changes nothing for this one. */
  static for(seed: number, actor: string): Random {
    // FNV-1a; its low bits are poor for names that differ in the last character only, so the hash is mixed once more.
    let hash = 0x811c9dc5 ^ seed
    for (let i = 0; i < actor.length; i++) hash = Math.imul(hash ^ actor.charCodeAt(i), 0x01000193)
    return new Random(new Random(hash).next() * 2 ** 32)
  }

  /** A whole number in [min, max]. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1))
  }

  /** True in so many cases of one. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[this.between(0, items.length - 1)] ?? items[0]
  }
}

/** The seed of a run: 1, or `SEED` from the environment, with which a failure is replayed. */
export const SEED = Number(process.env.SEED ?? 1)

const SHARP = [
  '\n',
  '\n\n',
  '\r\n',
  '\r',
  '\u2028',
  '\u2029',
  '\u0000',
  '\ufeff',
  '"',
  "'",
  '\\',
  '\t',
  'data: x\n\n',
  'id: 9\n',
  ': ',
  '😀',
  '👩‍👩‍👧‍👦',
  'e\u0301',
  '漢字',
  'word ',
] as const

/** Text with all that a protocol could break, of so many pieces. */
export const sharpText = (random: Random, pieces: number): string =>
  Array.from({ length: pieces }, () => random.pick(SHARP)).join('')
