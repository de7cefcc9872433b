/**
 * One answer, as its caller has it: events to iterate over, or the text at once; the task behind it; a way to end it.
 *
 * It is asked for and followed from the start, whether anybody iterates or not. Leaving the iteration, or aborting the
 * signal, leaves the task running; only `cancel` ends it.
 */
import { isTerminal, type TaskEvent } from '../core/event.js'
import type { TaskObject } from '../wire/json.js'
import { RejoinError } from './errors.js'
import { EventQueue } from './queue.js'

/** What a run asks of its client. */
export interface Asking {
  /** The accepted task. @throws RejoinError, or the signal's reason */
  task(signal: AbortSignal): Promise<TaskObject>
  /** Delivers the events after `after` until the end; the error that ends it for good. */
  follow(
    task: string,
    after: number,
    onEvent: (event: TaskEvent) => void,
    signal: AbortSignal,
  ): Promise<RejoinError | null>
  cancel(task: string): Promise<void>
  /** The position has changed. */
  moved(task: string, position: number): void
  /** There is nothing more to come, or to come back to. */
  over(): void
}

export class Run implements AsyncIterable<TaskEvent> {
  readonly #asking: Asking
  readonly #detach = new AbortController()
  readonly #signal: AbortSignal
  readonly #queue = new EventQueue()
  #id: string | null
  #position: number
  #task: Promise<TaskObject> | null = null

  /** @param id of a task that is there; null: it is asked for
   * @param after the seq to go on from */
  constructor(asking: Asking, id: string | null, after: number, signal: AbortSignal) {
    this.#asking = asking
    this.#id = id
    this.#position = after
    this.#signal = AbortSignal.any([signal, this.#detach.signal])
    void this.#follow()
  }

  /** The task as the gateway accepted it; of one that was attached to, as it is now. @throws RejoinError when it is refused */
  get task(): Promise<TaskObject> {
    this.#task ??= this.#asking.task(this.#signal)
    return this.#task
  }

  /** Of the task; null until it is accepted. */
  get id(): string | null {
    return this.#id
  }

  /** The seq of the event that was read last: `attach` goes on from here. */
  get position(): number {
    return this.#position
  }

  /** For one reader. Ends after the terminal event, also when that is `failed` or `canceled`.
   * @throws RejoinError when the task is refused or its log is gone; the signal's reason when it aborts */
  [Symbol.asyncIterator](): AsyncIterator<TaskEvent> {
    return {
      next: () => this.#next(),
      return: async () => {
        this.#detach.abort()
        return { value: undefined, done: true }
      },
    }
  }

  /** The text as it comes, piece by piece. Reads the events.
   * @throws RejoinError as iterating does, and when the task fails or is canceled */
  async *textStream(): AsyncGenerator<string, void> {
    for await (const event of this) {
      if (event.type === 'token') yield event.text
      else if (event.type === 'failed') throw new RejoinError(event.error.code, event.error.message)
      else if (event.type === 'canceled') throw new RejoinError('canceled', `the task was canceled by ${event.by}`)
    }
  }

  /** The whole text, when it has ended. Reads the events. @throws RejoinError as `textStream` does */
  async text(): Promise<string> {
    let text = ''
    for await (const piece of this.textStream()) text += piece
    return text
  }

  /** Ends the task, for everybody; its last event is then `canceled`, unless it ended before.
   * @throws RejoinError when the task was refused */
  async cancel(): Promise<void> {
    await this.#asking.cancel(this.#id ?? (await this.task).id)
  }

  async #follow(): Promise<void> {
    try {
      this.#id ??= (await this.task).id
      const id = this.#id
      const error = await this.#asking.follow(id, this.#position, (event) => this.#queue.push(event), this.#signal)
      if (error) throw error
      this.#signal.throwIfAborted()
      this.#queue.end('done')
    } catch (error) {
      if (error instanceof RejoinError) this.#asking.over()
      this.#queue.end(this.#detach.signal.aborted ? 'done' : { error })
    }
  }

  /** What waits in the queue has not been read: whoever leaves comes back to it. */
  async #next(): Promise<IteratorResult<TaskEvent>> {
    const next = await this.#queue.next()
    if (next.done) return next
    const { task, seq } = next.value
    this.#position = seq
    if (isTerminal(next.value)) this.#asking.over()
    else this.#asking.moved(task, seq)
    return next
  }
}
