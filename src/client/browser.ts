/**
 * What a browser's page has and other runtimes do not, so that the rest of the client need not know where it runs.
 */
import type { StorageLike } from './memory.js'

type Page = {
  location?: { origin: string }
  sessionStorage?: StorageLike
  document?: unknown
  addEventListener?: (type: string, listener: () => void) => void
  removeEventListener?: (type: string, listener: () => void) => void
}

const page = globalThis as Page

export const inPage = page.document !== undefined

/** Of the page; null where there is none. */
export const pageOrigin = (): string | null => page.location?.origin ?? null

/** Null where there is none, or where the browser forbids it. */
export function pageStorage(): StorageLike | null {
  try {
    return page.sessionStorage ?? null
  } catch {
    return null
  }
}

/** `online`, `pagehide`. Never called where there is no page. */
export const onPage = (type: string, listener: () => void): void => page.addEventListener?.(type, listener)

export const offPage = (type: string, listener: () => void): void => page.removeEventListener?.(type, listener)
