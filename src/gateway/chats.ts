/**
 * Which task answers a chat at present: how a page that was reloaded finds the answer that it had been reading.
 *
 * A chat is a name that a client chose (AI SDK). Its newest task is known until somebody has read its end, and for a
 * moment longer, since bytes that were sent may not have arrived. In memory: after a restart the tasks that were not
 * archived are known, which are those that still run.
 */
import type { TaskId } from '../core/id.js'
import type { TaskRecord } from './record.js'

/** The chat that was used first is forgotten beyond that. */
const MAX_CHATS = 100_000
/** For a client to notice that the end did not arrive, and to come back. */
const READ_MS = 60_000

/** `readAt` (unix ms): when its end was read first. */
type Newest = { id: TaskId; readAt: number | null }

export class Chats {
  readonly #newest = new Map<string, Newest>()

  /** A task that was made, if it answers a chat. */
  add({ task }: TaskRecord): void {
    const { origin } = task.spec
    if (origin?.type !== 'chat') return
    const name = nameOf(task.owner, origin.chat)
    this.#newest.delete(name)
    this.#newest.set(name, { id: task.id, readAt: null })
    const [oldest] = this.#newest.keys()
    if (this.#newest.size > MAX_CHATS && oldest !== undefined) this.#newest.delete(oldest)
  }

  /** Its end was sent to somebody. */
  read({ task }: TaskRecord, now: number): void {
    const { origin } = task.spec
    if (origin?.type !== 'chat') return
    const newest = this.#newest.get(nameOf(task.owner, origin.chat))
    if (newest?.id === task.id) newest.readAt ??= now
  }

  /** The task whose answer a client of the chat may have missed; null when there is none. */
  find(owner: string, chat: string, now: number): TaskId | null {
    const name = nameOf(owner, chat)
    const newest = this.#newest.get(name)
    if (!newest) return null
    if (newest.readAt === null || newest.readAt + READ_MS > now) return newest.id
    this.#newest.delete(name)
    return null
  }
}

const nameOf = (owner: string, chat: string): string => `${owner}\0${chat}`
