/**
 * How one stream of events looks in one protocol. It may count what it says, so each stream has its own.
 */
import type { Entry } from '../core/entry.js'

export interface Framing {
  /** Before the first event; it is not empty, so that the headers go out with it. */
  readonly opening: string
  /** The bytes of an event; '' where the protocol has nothing for it. */
  frame(entry: Entry): string
}
