/**
 * The batch loop of one worker thread: tasks join between two steps and leave the moment they end.
 *
 * A model step blocks the thread, so the port is emptied by hand between steps; a cancel therefore acts before
 * the next step. What a step said goes out as one flush: at once when it holds somebody's first token or an end,
 * or when the last one was sent a moment ago; else what comes until then gathers, since every flush wakes the main
 * thread and is a turn of its loop. At most `maxInFlight` token events are on their way there: a fast model waits rather
 * than fill its memory.
 *
 * While there are tasks the main thread hears something between steps, four times a second if it can be: whoever stays
 * silent for long hangs.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { RejoinError } from '../core/errors.js'
import type { FinishReason } from '../core/event.js'
import type { Model, SlotOutput } from '../model/model.js'
import type { End, FromWorker, Handle, ToWorker, WorkerFlush } from './messages.js'
import { type Piece, StopScanner } from './stop.js'

/** From one flush to the next, unless that cannot wait or has so many events. */
const GATHER_MS = 2
const GATHER_EVENTS = 256
// Prefills between two steps: enough to fill free slots fast, not so many that running streams stutter.
const ADMIT_MS = 5
/** A fraction of the shortest silence that a thread may be given up for. */
const ALIVE_MS = 250
/** In a row, each of which failed all tasks that there were: after that, another thread loads the model anew. */
const MAX_FAILED_STEPS = 5

type Start = Extract<ToWorker, { type: 'start' }>

type Row = {
  handle: Handle
  slot: number
  generated: number
  cachedTokens: number
  /** Of tokens that are not in a cell yet, as JSON; null when nobody asked for them. */
  logprobs: string[] | null
  maxTokens: number
  stop: StopScanner | null
  /** Tokens whose text is still in pieces of a character. */
  pending: number[]
  silent: boolean
}

export class BatchLoop {
  readonly #model: Model
  readonly #port: MessagePort
  readonly #maxInFlight: number
  readonly #rows = new Map<number, Row>()
  readonly #inbox: ToWorker[] = []
  readonly #waiting: Start[] = []
  #inFlight = 0
  #closed = false
  #wake: () => void = () => {}
  #flush: WorkerFlush = emptyFlush()
  #urgent = false
  #failedSteps = 0
  #sentAt = 0
  #postedAt = 0

  constructor(model: Model, port: MessagePort, maxInFlight: number) {
    this.#model = model
    this.#port = port
    this.#maxInFlight = maxInFlight
  }

  /**
   * Runs until a `close` message, or until its port is closed.
   * @throws Error when the model does nothing but fail, or cannot even release a slot: the thread is of no use any more
   */
  async run(): Promise<void> {
    this.#port.on('message', (messages: ToWorker[]) => {
      this.#inbox.push(...messages)
      this.#wake()
    })
    this.#port.on('close', () => {
      this.#closed = true
      this.#wake()
    })
    this.#post({ type: 'ready', slots: this.#model.slots, note: this.#model.note ?? null })
    // Not to be asked for messages once it is closed: Node (20) crashes.
    while (!this.#closed) {
      this.#receive()
      if (this.#closed) return
      await this.#admit()
      if (this.#urgent) this.#send()
      const mayRun = this.#inFlight + this.#flush.events < this.#maxInFlight
      const idleMs = mayRun ? this.#model.idleMs() : Number.POSITIVE_INFINITY
      if (idleMs <= 0) await this.#step()
      const gatherMs = this.#gatherMs()
      if (this.#urgent || gatherMs <= 0) this.#send()
      this.#giveSign()
      // A token that falls due while others gather is said with them.
      if (idleMs > 0 && this.#waiting.length === 0) {
        await this.#wait(this.#flush.events > 0 ? gatherMs : Math.max(idleMs, gatherMs))
      }
    }
  }

  #receive(): void {
    for (let next = receiveMessageOnPort(this.#port); next; next = receiveMessageOnPort(this.#port)) {
      this.#inbox.push(...(next.message as ToWorker[]))
    }
    for (const message of this.#inbox.splice(0)) {
      switch (message.type) {
        case 'start':
          this.#waiting.push(message)
          break
        case 'cancel':
          this.#leave(message.handle, 'canceled')
          break
        case 'pause':
          this.#leave(message.handle, 'paused')
          break
        case 'ack':
          this.#inFlight -= message.events
          break
        case 'close':
          this.#closed = true
          break
        default:
          message satisfies never
      }
    }
  }

  /**
   * A cancel or a pause: the row gives up its slot before the next step. What is held back (the beginning of a stop
   * string, perhaps, or of a character) was not said; a paused task makes those tokens again.
   */
  #leave(handle: Handle, type: 'canceled' | 'paused'): void {
    const row = [...this.#rows.values()].find((row) => row.handle === handle)
    if (row) {
      this.#end(row, { handle, type })
      return
    }
    // Not admitted yet; or ended already, when the message crossed the end on its way and means nothing.
    const at = this.#waiting.findIndex((start) => start.handle === handle)
    if (at < 0) return
    this.#waiting.splice(at, 1)
    this.#push({ handle, type })
  }

  async #admit(): Promise<void> {
    const until = performance.now() + ADMIT_MS
    while (this.#waiting.length > 0 && this.#rows.size < this.#model.slots) {
      await this.#prefill(this.#waiting.shift() as Start)
      if (performance.now() >= until) return
    }
  }

  async #prefill({ handle, generation, stop }: Start): Promise<void> {
    try {
      const { slot, promptTokens, maxTokens } = await this.#model.admit(generation)
      this.#flush.admitted.push({ handle, promptTokens, maxTokens })
      const row: Row = {
        handle,
        slot,
        generated: generation.recorded.length,
        cachedTokens: 0,
        logprobs: generation.topLogprobs === null ? null : [],
        maxTokens,
        stop: stop.length > 0 ? new StopScanner(stop) : null,
        pending: [],
        silent: true,
      }
      this.#rows.set(slot, row)
      // The lost attempt may have recorded the last token that was allowed, and died before it said the end.
      if (maxTokens > 0 && row.generated >= maxTokens) this.#complete(row, 'length')
    } catch (error) {
      const code = error instanceof RejoinError ? error.code : 'model_failed'
      this.#push({ handle, type: 'failed', code, message: (error as Error).message })
    }
  }

  /**
   * A model fails single rows by itself, so a step that throws is a defect, and nothing tells which row it is of: all
   * have failed, and whoever holds them tries them again. The thread goes on, for an empty model is what it began with,
   * while to load it again could make everybody wait for a minute, each time that one request brings such a step
   * about. A model that only fails may be broken as a whole, though; then nothing is lost with the thread.
   */
  async #step(): Promise<void> {
    const failures = await this.#model.step().then(
      (outputs) => this.#take(outputs),
      (error: Error) => this.#failAll(error),
    )
    if (failures === 0 || this.#rows.size > 0) {
      this.#failedSteps = 0
      return
    }
    if (++this.#failedSteps < MAX_FAILED_STEPS) return
    // What they said and how they ended is on its way before the thread's end.
    this.#send()
    throw new Error(`the model failed all of its tasks ${MAX_FAILED_STEPS} times in a row`)
  }

  /** Returns how many rows have failed. */
  #failAll({ message }: Error): number {
    const rows = [...this.#rows.values()]
    for (const row of rows) this.#end(row, { handle: row.handle, type: 'failed', code: 'model_failed', message })
    return rows.length
  }

  /** Returns how many rows have failed. */
  #take(outputs: SlotOutput[]): number {
    let failures = 0
    for (const output of outputs) {
      if (output.end === 'failed') failures++
      const row = this.#rows.get(output.slot)
      // A model may say several tokens of a slot in one step; those after the end are not wanted.
      if (row) this.#say(row, output)
    }
    return failures
  }

  #say(row: Row, output: SlotOutput): void {
    row.cachedTokens = output.cachedTokens ?? row.cachedTokens
    if (output.id >= 0) {
      row.logprobs?.push(JSON.stringify(output.logprobs ?? null))
      row.pending.push(output.id)
      row.generated++
      if (output.text !== '' && this.#emit(row, { text: output.text, ids: row.pending.splice(0) })) {
        this.#complete(row, 'stop_sequence')
        return
      }
    }
    const { code, message } = output.error ?? { code: 'model_failed', message: 'the model could not go on' }
    if (output.end === 'failed') this.#end(row, { handle: row.handle, type: 'failed', code, message })
    else if (output.end !== null) this.#complete(row, output.end)
    else if (row.generated >= row.maxTokens) this.#complete(row, 'length')
  }

  /** Returns true when a stop string was met. */
  #emit(row: Row, piece: Piece): boolean {
    if (row.stop === null) {
      this.#cell(row, piece)
      return false
    }
    const { pieces, stopped } = row.stop.push(piece)
    for (const piece of pieces) this.#cell(row, piece)
    return stopped
  }

  #cell(row: Row, { text, ids }: Piece): void {
    this.#flush.cells.push(row.handle, text, ids.length, ...ids)
    this.#flush.events++
    if (row.logprobs) this.#flush.logprobs.push([row.handle, row.logprobs.splice(0, ids.length)])
    if (row.silent) this.#urgent = true
    row.silent = false
  }

  #complete(row: Row, finishReason: FinishReason): void {
    if (finishReason !== 'stop_sequence') for (const piece of row.stop?.flush() ?? []) this.#cell(row, piece)
    // A character that never became whole is not shown, but its tokens were generated and count.
    if (row.pending.length > 0) this.#cell(row, { text: '', ids: row.pending })
    const { handle, cachedTokens } = row
    this.#end(row, { handle, type: 'completed', finishReason, cachedTokens })
  }

  #end(row: Row, end: End): void {
    this.#rows.delete(row.slot)
    this.#model.release(row.slot)
    this.#push(end)
  }

  #push(end: End): void {
    this.#flush.ends.push(end)
    this.#urgent = true
  }

  /** Until what was said may be sent; 0 or less: now. */
  #gatherMs(): number {
    if (this.#flush.events >= GATHER_EVENTS) return 0
    return this.#sentAt + GATHER_MS - performance.now()
  }

  #send(): void {
    this.#urgent = false
    const flush = this.#flush
    if (flush.events + flush.ends.length + flush.admitted.length === 0) return
    this.#inFlight += flush.events
    this.#flush = emptyFlush()
    this.#post(flush)
    this.#sentAt = this.#postedAt
  }

  #giveSign(): void {
    if (this.#rows.size + this.#waiting.length === 0) return
    if (performance.now() - this.#postedAt >= ALIVE_MS) this.#post({ type: 'alive' })
  }

  /** Until a message comes, or `idleMs` have passed, or a sign of life is due. */
  #wait(idleMs: number): Promise<void> {
    if (this.#inbox.length > 0) return Promise.resolve()
    const ms = this.#rows.size > 0 ? Math.min(idleMs, ALIVE_MS) : idleMs
    return new Promise((resolve) => {
      const timer = Number.isFinite(ms) ? setTimeout(resolve, Math.ceil(ms)) : undefined
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #post(message: FromWorker): void {
    this.#postedAt = performance.now()
    this.#port.postMessage(message)
  }
}

const emptyFlush = (): WorkerFlush => ({ type: 'flush', admitted: [], cells: [], logprobs: [], events: 0, ends: [] })
