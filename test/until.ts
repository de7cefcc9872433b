/** Waiting for something to become true, turn by turn of the event loop; a defect is a clear error, not a hang. */
import { setImmediate as turn } from 'node:timers/promises'

const PATIENCE_MS = 20_000

type Awaitable<T> = T | Promise<T>

export async function until<T>(what: string, look: () => Awaitable<T | false | null | undefined>): Promise<T> {
  const giveUpAt = performance.now() + PATIENCE_MS
  for (;;) {
    const seen = await look()
    if (seen !== false && seen !== null && seen !== undefined) return seen
    if (performance.now() > giveUpAt) throw new Error(`waited ${PATIENCE_MS} ms in vain: ${what}`)
    await turn()
  }
}
