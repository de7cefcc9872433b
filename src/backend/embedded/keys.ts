/**
 * Idempotency keys: the task that each (owner, key) made, for 24 hours.
 *
 * A key may not be forgotten early: a client that retries after that would run its request twice. So the table is
 * bounded by refusing new keys, never by dropping old ones.
 */
import type { TaskId } from '../../core/id.js'
import type { Task } from '../../core/task.js'
import type { StoredKey } from './archive.js'

const KEEP_MS = 86_400_000

type Known = { id: TaskId; bodyHash: string; expiresAt: number }

export class Keys {
  readonly #max: number
  // In order of arrival, so the oldest is always first.
  readonly #known = new Map<string, Known>()

  constructor(max: number) {
    this.#max = max
  }

  get full(): boolean {
    this.#expire(Date.now())
    return this.#known.size >= this.#max
  }

  find(owner: string, key: string): { id: TaskId; bodyHash: string } | undefined {
    this.#expire(Date.now())
    return this.#known.get(slot(owner, key))
  }

  add({ owner, key, bodyHash, id, expiresAt }: StoredKey): void {
    this.#known.set(slot(owner, key), { id, bodyHash, expiresAt })
  }

  /** Of a task that was not accepted after all. */
  remove({ owner, key }: StoredKey): void {
    this.#known.delete(slot(owner, key))
  }

  #expire(now: number): void {
    for (const [slot, known] of this.#known) {
      if (known.expiresAt > now) return
      this.#known.delete(slot)
    }
  }
}

/** The key of a task; null when it came with none. */
export function keyOf({ idempotency, owner, id, ordinal, createdAt }: Task): StoredKey | null {
  if (idempotency === null) return null
  return { ...idempotency, owner, id, ordinal, expiresAt: createdAt + KEEP_MS }
}

// Neither part can hold a NUL, so two pairs never make the same slot.
const slot = (owner: string, key: string): string => `${owner}\0${key}`
