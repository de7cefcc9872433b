/**
 * Writing to a disk that may take nothing for a while: it is tried again until it does.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** Told of every failure, and with null when something was written after one. */
export type OnTrouble = (error: Error | null) => void

const RETRY_MS = { first: 50, max: 1000 }

/** What `write` gives in the end; null when it was given up.
 * @param failed told of each failure; false gives up
 * @param hurry ends the waits between two tries */
export async function insist<T>(
  write: () => Promise<T>,
  failed: (error: Error) => boolean,
  hurry?: AbortSignal,
): Promise<T | null> {
  for (let retryMs = RETRY_MS.first; ; retryMs = Math.min(retryMs * 2, RETRY_MS.max)) {
    try {
      return await write()
    } catch (error) {
      if (!failed(error as Error)) return null
      await sleep(retryMs, undefined, { ...(hurry ? { signal: hurry } : {}) }).catch(() => {})
    }
  }
}
