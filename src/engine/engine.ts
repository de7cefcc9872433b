/**
 * The worker threads of one model, seen from the main thread: generations in, flushes out.
 *
 * Each thread runs one long Piscina task and talks over its own MessagePort. A thread that dies takes its port
 * with it: what it had posted is read first, then its generations are reported lost, then another is started.
 * Who asks for a start must know that a slot is free; the engine never queues.
 *
 * A thread that has tasks and stays silent hangs, in a native call perhaps. Nothing can end it: where its code is native,
 * an end within a step aborts the process. So it is given up: its port is closed, its generations are lost, and another
 * thread starts beside it. If it ever wakes up, it finds that it was closed, and ends as any other.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads'
import type { Piscina } from 'piscina'
import type { Prompt } from '../core/task.js'
import type { Generation, TextSource } from '../model/model.js'
import { Homes } from './homes.js'
import type { FromWorker, Handle, ToWorker, WorkerFlush, WorkerStart } from './messages.js'
import { newPool } from './threads.js'

export type EngineOptions = {
  source: TextSource
  workers: number
  /** Token events on their way from one worker before it waits. */
  maxInFlight: number
  /** For so long a thread with tasks may be silent; more than a step of the model takes. */
  stallMs: number
}

export type EngineListener = {
  /** Resolves when all of it is recorded. */
  flush(flush: WorkerFlush): Promise<void>
  lost(handles: Handle[], reason: string): void
  /** Slots may have become free. */
  free(): void
  /** A thread has the model, and this is to be known of how it runs. */
  noted(note: string): void
  /** A thread could not load the model, or no more may be started; `Engine.failure` says whether there still is hope. */
  unloadable(reason: string): void
}

type Thread = {
  port: MessagePort
  /** 0 until its model is loaded. */
  slots: number
  handles: Set<Handle>
  /**
   * How often it was looked at, with tasks, since it said something. Not a time: where the whole process had stopped,
   * or the main thread, all that was said meanwhile is heard before the next look.
   */
  silentLooks: number
  /** What it is told at the end of this turn. */
  outbox: ToWorker[]
  /** Events that are recorded, which it has not been told. */
  unacked: number
  /** Resolves when all that follows from its end is done. */
  life: Promise<void>
}

/** For a step, or a model that is loading, to come to its end. */
const CLOSE_MS = 30_000
/** Threads that hang keep their memory: beside so many no others are started for those that were given up. */
const MAX_HUNG = 4
/** A thread is looked at every second, and at least four times before it is given up. */
const LOOK = { ms: 1000, times: 4 }
/** A thread that was silent in more looks than these is given nothing more to do until it says something. */
const QUIET_LOOKS = 2
/** In a row, with no thread that has the model: after that, what waits for it is told so. */
const MAX_FAILED_LOADS = 5
/** A conversation stays in its thread while that runs at most so many tasks more than another: an even load counts more. */
const MAX_IMBALANCE = 1
/** In so many parts a thread is told of what it may have in flight. */
const ACKS = 4
const RESPAWN_MS = { first: 50, max: 5000 }

export class Engine {
  readonly #options: EngineOptions
  readonly #listener: EngineListener
  readonly #pool: Piscina<WorkerStart, void>
  readonly #threads = new Set<Thread>()
  readonly #threadOf = new Map<Handle, Thread>()
  /** Given up, and not at their end. */
  readonly #hung = new Set<Thread>()
  readonly #maxSilentLooks: number
  readonly #looking: NodeJS.Timeout
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
    this.#pool = newPool('./worker.js', {
      minThreads: options.workers,
      // One that hangs has its place in the pool for as long.
      maxThreads: options.workers + MAX_HUNG,
      // Our one task per thread never ends, so there is nothing for Piscina to spin on.
      atomics: 'disabled',
    })
    const lookMs = Math.min(LOOK.ms, options.stallMs / LOOK.times)
    this.#maxSilentLooks = Math.ceil(options.stallMs / lookMs)
    this.#looking = setInterval(() => this.#look(), lookMs).unref()
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

  /** Slots that a start can have now. */
  get free(): number {
    let free = 0
    for (const thread of this.#threads) free += freeOf(thread)
    return free
  }

  /**
   * Threads that were given up and have not ended. Those that are left when the engine has been closed are within
   * native code: `process.exit` would wait for them, and abort when they come out of it.
   */
  get hung(): number {
    return this.#hung.size
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

  /** Ends the threads between two steps; what still runs is not reported any more. See `hung` for those that are left. */
  async close(): Promise<void> {
    this.#closing = true
    clearInterval(this.#looking)
    for (const thread of this.#threads) post(thread, { type: 'close' })
    const lives = [...this.#threads].map(({ life }) => life)
    await Promise.race([Promise.all(lives), sleep(CLOSE_MS, undefined, { ref: false })])
    for (const thread of this.#threads) this.#hung.add(thread)
    // The scripted model is JavaScript, which ends wherever it is.
    if (this.#hung.size === 0 || this.#options.source.type === 'scripted') await this.#pool.destroy()
  }

  #threadFor(prompt: Prompt): Thread | null {
    let best: Thread | null = null
    for (const thread of this.#threads) if (freeOf(thread) > (best === null ? 0 : freeOf(best))) best = thread
    if (best === null || this.#threads.size === 1) return best
    const home = this.#homes.get(prompt)
    if (home && freeOf(home) > 0 && freeOf(best) - freeOf(home) <= MAX_IMBALANCE) best = home
    this.#homes.set(prompt, best)
    return best
  }

  #spawn(): void {
    const { port1, port2 } = new MessageChannel()
    const { source, maxInFlight } = this.#options
    const thread: Thread = {
      port: port1,
      slots: 0,
      handles: new Set(),
      silentLooks: 0,
      outbox: [],
      unacked: 0,
      life: Promise.resolve(),
    }
    port1.on('message', (message: FromWorker) => this.#receive(thread, message))
    this.#threads.add(thread)
    thread.life = this.#pool.run({ source, port: port2, maxInFlight }, { transferList: [port2] }).then(
      () => this.#gone(thread, 'the worker stopped'),
      (error: Error) => this.#gone(thread, error.message),
    )
  }

  #receive(thread: Thread, message: FromWorker): void {
    const wasQuiet = isQuiet(thread)
    thread.silentLooks = 0
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
        this.#listener.flush(message).then(() => this.#acknowledge(thread, message.events))
        if (message.ends.length > 0 || wasQuiet) this.#listener.free()
        return
      }
      case 'alive':
        if (wasQuiet) this.#listener.free()
        return
      default:
        message satisfies never
    }
  }

  /** Every message wakes the thread, which costs as much as a few writes: so many at a time. */
  #acknowledge(thread: Thread, events: number): void {
    thread.unacked += events
    if (thread.unacked < this.#options.maxInFlight / ACKS) return
    post(thread, { type: 'ack', events: thread.unacked })
    thread.unacked = 0
  }

  #look(): void {
    for (const thread of this.#threads) {
      if (thread.handles.size === 0 || ++thread.silentLooks <= this.#maxSilentLooks) continue
      this.#hear(thread)
      if (thread.silentLooks > 0) this.#giveUp(thread)
    }
  }

  #giveUp(thread: Thread): void {
    const { workers, stallMs } = this.#options
    const reason = `the worker gave no sign of life for ${stallMs} ms`
    post(thread, { type: 'close' })
    this.#hung.add(thread)
    this.#listener.lost(this.#remove(thread), reason)
    if (this.#hung.size <= MAX_HUNG) {
      this.#respawn()
    } else if (this.#hung.size >= MAX_HUNG + workers) {
      this.#failure = `${this.#hung.size} workers hang, and no more are started beside them`
      this.#listener.unloadable(this.#failure)
    }
  }

  /** What is in its port. */
  #hear(thread: Thread): void {
    for (let next = receiveMessageOnPort(thread.port); next; next = receiveMessageOnPort(thread.port)) {
      this.#receive(thread, next.message as FromWorker)
    }
  }

  /** Returns what is lost with it. */
  #remove(thread: Thread): Handle[] {
    send(thread)
    thread.port.close()
    this.#threads.delete(thread)
    this.#homes.remove(thread)
    for (const handle of thread.handles) this.#threadOf.delete(handle)
    return [...thread.handles]
  }

  #gone(thread: Thread, reason: string): void {
    if (this.#hung.delete(thread)) {
      // It woke up, and makes room for one that could not be started.
      if (this.#hung.size >= MAX_HUNG) this.#respawn()
      return
    }
    // What the thread said before it died counts: it may include ends.
    this.#hear(thread)
    const handles = this.#remove(thread)
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

const isQuiet = ({ silentLooks }: Thread): boolean => silentLooks > QUIET_LOOKS

const freeOf = (thread: Thread): number => (isQuiet(thread) ? 0 : thread.slots - thread.handles.size)

/** What a thread is told in one turn of the event loop goes together: a message wakes it, which costs as much as a socket
 * write. */
function post(thread: Thread, message: ToWorker): void {
  if (thread.outbox.push(message) === 1) process.nextTick(() => send(thread))
}

function send({ port, outbox }: Thread): void {
  if (outbox.length > 0) port.postMessage(outbox.splice(0))
}
