/**
 * The worker threads of one model, seen from the main thread: generations in, flushes out.
 *
 * Each thread runs one long Piscina task and talks over its own MessagePort. A thread that dies takes its port
 * with it: what it had posted is read first, then its generations are reported lost, then another is started.
 * Who asks for a start must know that a slot is free; the engine never queues.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads'
import { Piscina } from 'piscina'
import type { Prompt } from '../core/task.js'
import type { Generation, TextSource } from '../model/model.js'
import { Homes } from './homes.js'
import type { FromWorker, Handle, ToWorker, WorkerFlush, WorkerStart } from './messages.js'

export type EngineOptions = {
  source: TextSource
  workers: number
  /** Token events on their way from one worker before it waits. */
  maxInFlight: number
}

export type EngineListener = {
  /** Resolves when all of it is recorded. */
  flush(flush: WorkerFlush): Promise<void>
  lost(handles: Handle[], reason: string): void
  /** Slots may have become free. */
  free(): void
  /** A thread has the model, and this is to be known of how it runs. */
  noted(note: string): void
  /** A thread could not load the model; `Engine.failure` says whether there still is hope. */
  unloadable(reason: string): void
}

/** `slots` is 0 until its model is loaded. */
type Thread = { port: MessagePort; slots: number; handles: Set<Handle> }

/** For a step, or a model that is loading, to come to its end: to end a thread inside ONNX Runtime aborts the process. */
const CLOSE_MS = 30_000
/** In a row, with no thread that has the model: after that, what waits for it is told so. */
const MAX_FAILED_LOADS = 5
/** A conversation stays in its thread while that runs at most so many tasks more than another: an even load counts more. */
const MAX_IMBALANCE = 1
const RESPAWN_MS = { first: 50, max: 5000 }

export class Engine {
  readonly #options: EngineOptions
  readonly #listener: EngineListener
  readonly #pool: Piscina<WorkerStart, void>
  readonly #threads = new Set<Thread>()
  readonly #threadOf = new Map<Handle, Thread>()
  readonly #running = new Set<Promise<void>>()
  readonly #homes = new Homes<Thread>()
  #nextHandle = 1
  #respawnMs = RESPAWN_MS.first
  #closing = false
  #failedLoads = 0
  #failure: string | null = null
  #wasReady = false
  #ready: { resolve: () => void; reject: (error: Error) => void } = { resolve: () => {}, reject: () => {} }

  constructor(options: EngineOptions, listener: EngineListener) {
    this.#options = options
    this.#listener = listener
    this.#pool = new Piscina({
      filename: new URL('./worker.js', import.meta.url).href,
      minThreads: options.workers,
      maxThreads: options.workers,
      // Our one task per thread never ends, so there is nothing for Piscina to spin on.
      atomics: 'disabled',
    })
    // An idle thread that dies has no task to fail; its replacement is Piscina's business.
    this.#pool.on('error', () => {})
  }

  /** Starts all threads; resolves when the first has its model, rejects when none can load it. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#ready = { resolve, reject }
      for (let i = 0; i < this.#options.workers; i++) this.#spawn()
    })
  }

  /** A worker has the model and takes work. */
  get ready(): boolean {
    return this.slots > 0
  }

  /** Why there is no thread that has the model, and none to be expected; threads are started all the same. */
  get failure(): string | null {
    return this.#failure
  }

  get slots(): number {
    let slots = 0
    for (const thread of this.#threads) slots += thread.slots
    return slots
  }

  get free(): number {
    return this.slots - this.#threadOf.size
  }

  /** The threads themselves, for those who watch or end them. */
  get workers(): Worker[] {
    return this.#pool.threads
  }

  /** Starts where the conversation was last, or else in the worker with most free slots. @throws when none is free */
  start(generation: Generation, stop: string[]): Handle {
    const best = this.#threadFor(generation.prompt)
    if (best === null) throw new Error(`no free slot for model ${this.#options.source.name}`)
    const handle = this.#nextHandle++
    best.handles.add(handle)
    this.#threadOf.set(handle, best)
    post(best, { type: 'start', handle, generation, stop })
    return handle
  }

  /** Reaches the batch loop between two steps; the end comes as a flush. */
  cancel(handle: Handle): void {
    const thread = this.#threadOf.get(handle)
    if (thread) post(thread, { type: 'cancel', handle })
  }

  /** As `cancel`; a slot that ended meanwhile says so instead of `paused`. */
  pause(handle: Handle): void {
    const thread = this.#threadOf.get(handle)
    if (thread) post(thread, { type: 'pause', handle })
  }

  /** Ends the threads between two steps, or by force after a while; what still runs is not reported any more. */
  async close(): Promise<void> {
    this.#closing = true
    for (const thread of this.#threads) post(thread, { type: 'close' })
    await Promise.race([Promise.all(this.#running), sleep(CLOSE_MS, undefined, { ref: false })])
    await this.#pool.destroy()
  }

  #threadFor(prompt: Prompt): Thread | null {
    let best: Thread | null = null
    for (const thread of this.#threads) if (freeOf(thread) > (best === null ? 0 : freeOf(best))) best = thread
    if (best === null) return null
    const home = this.#homes.get(prompt)
    if (home && freeOf(home) > 0 && freeOf(best) - freeOf(home) <= MAX_IMBALANCE) best = home
    this.#homes.set(prompt, best)
    return best
  }

  #spawn(): void {
    const { port1, port2 } = new MessageChannel()
    const thread: Thread = { port: port1, slots: 0, handles: new Set() }
    port1.on('message', (message: FromWorker) => this.#receive(thread, message))
    this.#threads.add(thread)
    const { source, maxInFlight } = this.#options
    const life = this.#pool.run({ source, port: port2, maxInFlight }, { transferList: [port2] })
    const running = life.then(
      () => this.#gone(thread, 'the worker stopped'),
      (error: Error) => this.#gone(thread, error.message),
    )
    this.#running.add(running)
    running.finally(() => this.#running.delete(running))
  }

  #receive(thread: Thread, message: FromWorker): void {
    switch (message.type) {
      case 'ready':
        thread.slots = message.slots
        this.#wasReady = true
        this.#failedLoads = 0
        this.#failure = null
        this.#respawnMs = RESPAWN_MS.first
        if (message.note !== null) this.#listener.noted(message.note)
        this.#ready.resolve()
        this.#listener.free()
        return
      case 'flush': {
        for (const { handle } of message.ends) {
          thread.handles.delete(handle)
          this.#threadOf.delete(handle)
        }
        this.#listener.flush(message).then(() => post(thread, { type: 'ack', events: message.events }))
        if (message.ends.length > 0) this.#listener.free()
        return
      }
      default:
        message satisfies never
    }
  }

  #gone(thread: Thread, reason: string): void {
    // What the thread said before it died counts: it may include ends.
    for (let next = receiveMessageOnPort(thread.port); next; next = receiveMessageOnPort(thread.port)) {
      this.#receive(thread, next.message as FromWorker)
    }
    thread.port.close()
    this.#threads.delete(thread)
    this.#homes.remove(thread)
    const handles = [...thread.handles]
    for (const handle of handles) this.#threadOf.delete(handle)
    if (this.#closing) return
    if (handles.length > 0) this.#listener.lost(handles, reason)
    // A model that no thread has ever loaded will not load the next time either.
    if (!this.#wasReady && this.#threads.size === 0) {
      this.#ready.reject(new Error(`model ${this.#options.source.name}: ${reason}`))
      return
    }
    if (thread.slots === 0) this.#loadFailed(reason)
    this.#respawn()
  }

  #loadFailed(reason: string): void {
    this.#failedLoads++
    if (this.#failedLoads >= MAX_FAILED_LOADS && this.slots === 0) this.#failure = reason
    this.#listener.unloadable(reason)
  }

  #respawn(): void {
    setTimeout(() => {
      if (!this.#closing) this.#spawn()
    }, this.#respawnMs).unref()
    this.#respawnMs = Math.min(this.#respawnMs * 2, RESPAWN_MS.max)
  }
}

const freeOf = (thread: Thread): number => thread.slots - thread.handles.size

const post = (thread: Thread, message: ToWorker): void => thread.port.postMessage(message)
