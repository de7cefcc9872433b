/**
 * What survives a reload of the page: which task a name stands for, and how far it was read.
 *
 * Before a task is accepted its request is kept, with the key under which it was sent, so that a page that is reloaded
 * in that moment sends it again and gets the same task. Positions are written a few times a second at most.
 */
import type { TaskRequest } from '../wire/request.js'
import { offPage, onPage } from './browser.js'

/** What `localStorage` and `sessionStorage` have. */
export type StorageLike = {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

export type Remembered =
  | { type: 'asking'; request: TaskRequest; idempotencyKey: string }
  | { type: 'following'; task: string; after: number }

const PREFIX = 'rejoin:'
const EVERY_MS = 250

export class Memory {
  readonly #storage: StorageLike | null
  /** Positions that are not written yet. */
  readonly #changed = new Map<string, Remembered>()
  readonly #onPageHide = (): void => this.flush()
  #timer: ReturnType<typeof setTimeout> | null = null

  constructor(storage: StorageLike | null) {
    this.#storage = storage
    // The last moment in which a page that goes away can write.
    onPage('pagehide', this.#onPageHide)
  }

  /** Null when there is nothing, or nothing that can be read. */
  get(name: string): Remembered | null {
    const text = this.#storage?.getItem(PREFIX + name) ?? null
    if (text === null) return null
    try {
      return JSON.parse(text) as Remembered
    } catch {
      return null
    }
  }

  set(name: string, remembered: Remembered): void {
    this.#changed.delete(name)
    this.#write(name, remembered)
  }

  /** Within a moment. */
  setSoon(name: string, remembered: Remembered): void {
    this.#changed.set(name, remembered)
    this.#timer ??= setTimeout(() => this.flush(), EVERY_MS)
  }

  forget(name: string): void {
    this.#changed.delete(name)
    this.#storage?.removeItem(PREFIX + name)
  }

  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    for (const [name, remembered] of this.#changed) this.#write(name, remembered)
    this.#changed.clear()
  }

  close(): void {
    this.flush()
    offPage('pagehide', this.#onPageHide)
  }

  #write(name: string, remembered: Remembered): void {
    try {
      this.#storage?.setItem(PREFIX + name, JSON.stringify(remembered))
    } catch {
      // A full or forbidden storage costs the memory, not the answer.
    }
  }
}
