/**
 * The verbs: submit, find, list, attach, cancel, close. Everything that a protocol can ask for goes through here.
 *
 * It knows callers by name and tasks by id, and neither sockets nor encodings. Outcomes that a caller must be told
 * of are thrown as `RejoinError`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Backend, Known, QueueView, Recovered } from '../backend/backend.js'
import { type Delivery, deliveryOf } from '../core/delivery.js'
import { RejoinError } from '../core/errors.js'
import type { CanceledBy, EventBody, Seq, TaskEvent } from '../core/event.js'
import { newTaskId, type TaskId } from '../core/id.js'
import type { Logger } from '../core/logger.js'
import type { Idempotency, Prompt, SamplingDefaults, Task, TaskSpec, TaskStatus } from '../core/task.js'
import { Embedder, type Embeddings } from '../engine/embedder.js'
import { EncoderThreads } from '../engine/encoder-threads.js'
import { isLong, PromptEncoder } from '../engine/prompt-encoder.js'
import type { Reader } from '../log/reader.js'
import { TaskLog } from '../log/task-log.js'
import type { ModelSource } from '../model/model.js'
import type { TaskExtras } from '../wire/json.js'
import { Catalog, type CatalogOptions, type Listing } from './catalog.js'
import { Chats } from './chats.js'
import { Deadlines } from './deadlines.js'
import { Dispatcher } from './dispatcher.js'
import { Pump } from './pump.js'
import { TaskRecord } from './record.js'
import { Recorder, Saying } from './recorder.js'
import { draining, full, refuseLongWait } from './refusals.js'
import type { Registry } from './registry.js'
import { Unread } from './unread.js'
import { WebhookClient, type WebhookOptions } from './webhook-client.js'
import { admitWebhook, Webhooks } from './webhooks.js'

export type GatewayOptions = CatalogOptions & {
  /** The first one that makes text is the default for tasks, the first encoder for embeddings. */
  models: { source: ModelSource; workers: number }[]
  /** Of each encoder: requests that may wait, and bytes of their texts. */
  maxQueue: number
  maxQueueBytes: number
  maxAttempts: number
  maxInFlight: number
  stallMs: number
  maxRingEvents: number
  maxReaders: number
  /** How long a late round of writes waits for more to be said, see `Pump`. */
  maxMergeMs: number
  /** How long a task with `on_disconnect: "cancel"` waits for its next reader. */
  disconnectGraceMs: number
  /** Null: tasks with a webhook are refused. */
  webhooks: (WebhookOptions & { maxPending: number }) | null
}

/** A request as it came in, for what depends on its bytes. */
export type Received = { bytes: number; idempotency: Idempotency | null }

/** By the process before this one: tasks that had not ended or been archived, and webhooks that were not delivered. */
export type Left = { recovered: Recovered[]; deliveries: Delivery[]; nextOrdinal: number }

export type Submitted = { record: TaskRecord; replay: boolean }

const SWEEP_MS = 10_000
/** For what a shutdown canceled to say so; it takes as long as a step does. */
const LAST_WORDS_MS = 2000

export class Gateway {
  /** Connections mark themselves here when a reader of theirs falls behind. */
  readonly pump: Pump
  readonly chats = new Chats()
  readonly #options: GatewayOptions
  readonly #backend: Backend & QueueView
  readonly #catalog: Catalog
  readonly #recorder: Recorder
  readonly #dispatchers = new Map<string, Dispatcher>()
  readonly #embedders = new Map<string, Embedder>()
  readonly #deadlines = new Deadlines((id) => this.#missed(id))
  readonly #unread: Unread
  readonly #webhooks: Webhooks | null = null
  readonly #encoder = new PromptEncoder()
  /** Requests whose prompts are being encoded: each has a place in the queue. */
  readonly #encoding = { size: 0, bytes: 0 }
  readonly #logger: Logger
  readonly #sweeper: NodeJS.Timeout
  /** Found by the last sweep. */
  #ownerless = new Set<TaskRecord>()
  #nextOrdinal = 1
  #readers = 0
  #opened = false
  #draining = false
  #drained: () => void = () => {}

  constructor(options: GatewayOptions, backend: Backend & QueueView, logger: Logger) {
    this.#options = options
    this.#backend = backend
    this.#logger = logger
    this.pump = new Pump(options.maxMergeMs)
    this.#catalog = new Catalog(options, backend)
    this.#recorder = new Recorder(backend, (record, end) => this.#ended(record, end))
    const { webhooks } = options
    if (webhooks !== null) {
      const client = new WebhookClient(webhooks)
      this.#webhooks = new Webhooks(client, backend.deliveries, webhooks.maxPending, logger)
    }
    this.#unread = new Unread(options.disconnectGraceMs, (record) => void this.cancel(record, 'client'))
    for (const { source, workers } of options.models) {
      const { maxAttempts, maxInFlight, stallMs } = options
      if (source.type === 'encoder') {
        const embedder = new Embedder({ ...options, model: source.name }, new EncoderThreads(source, workers), logger)
        this.#embedders.set(source.name, embedder)
        continue
      }
      const recordOf = (task: Task): TaskRecord => this.#recordOf(task)
      const dispatcher = new Dispatcher(
        { source, workers, maxInFlight, stallMs, maxAttempts },
        backend,
        this.#recorder,
        recordOf,
        logger,
      )
      this.#dispatchers.set(source.name, dispatcher)
    }
    backend.onCancel((id, by) => this.#cancelRunning(id, by))
    backend.onCheckpoint((id) => this.#checkpoint(id))
    this.#sweeper = setInterval(() => this.sweep(Date.now()), SWEEP_MS).unref()
  }

  get #registry(): Registry {
    return this.#catalog.registry
  }

  /** Takes up what had not ended when the process before this one did; to be called once, before anything else. */
  recover({ recovered, deliveries, nextOrdinal }: Left): void {
    this.#nextOrdinal = nextOrdinal
    for (const delivery of deliveries) this.#webhooks?.add(delivery)
    const interrupted = new Map(this.dispatchers.map((each) => [each, [] as { record: TaskRecord; ids: number[] }[]]))
    for (const { task, log, ids, canceledBy } of recovered) {
      const record = new TaskRecord(task, log)
      record.canceledBy = canceledBy
      this.#registry.add(record)
      this.chats.add(record)
      // It is found here until the archive has it.
      if (log.end !== null) {
        this.#ended(record, log.end)
        continue
      }
      this.#deadlines.set(task)
      this.#unread.restored(record)
      const dispatcher = this.#dispatchers.get(task.model)
      if (!dispatcher) void this.#endUnserved(record)
      // The rest waits in the backend's queue.
      else if (record.state.attempt > 0 || canceledBy !== null) interrupted.get(dispatcher)?.push({ record, ids })
    }
    for (const [dispatcher, records] of interrupted) dispatcher.goOn(records)
  }

  /** Loads the models; tasks are accepted before that and wait. @throws when one does not load */
  async open(): Promise<void> {
    await Promise.all([...this.dispatchers, ...this.embedders].map((part) => part.open()))
    this.#opened = true
  }

  /** Every model is loaded, and the gateway is not on its way out. */
  get ready(): boolean {
    const parts = [...this.dispatchers.map(({ engine }) => engine), ...this.embedders.map(({ encoders }) => encoders)]
    return this.#opened && !this.#draining && parts.every(({ ready }) => ready)
  }

  get draining(): boolean {
    return this.#draining
  }

  /** The data directory takes nothing at present, so that no task can be accepted. */
  get storageFull(): boolean {
    return this.#backend.full(0, 0)?.bound === 'storage'
  }

  get models(): string[] {
    return this.#options.models.map(({ source }) => source.name)
  }

  /** What a task that names no model gets; null when none makes text. */
  get defaultModel(): string | null {
    return this.dispatchers[0]?.model ?? null
  }

  /** Of a model that is served, and has any. */
  samplingDefaults(model: string): SamplingDefaults {
    const source = this.#dispatchers.get(model)?.source
    return source?.type === 'onnx' ? source.sampling : { temperature: 1, topP: 1 }
  }

  get dispatchers(): Dispatcher[] {
    return [...this.#dispatchers.values()]
  }

  get embedders(): Embedder[] {
    return [...this.#embedders.values()]
  }

  /** Accepts a task, or finds the one that the same idempotency key made before.
   * @throws RejoinError `draining`, `model_not_found`, `invalid_request` (a model that makes no text), `prompt_too_long`,
   * `invalid_prompt`, `queue_full`, `too_many_keys`, `idempotency_conflict`, and `log_gone` when retention has dropped the
   * task that the key made */
  async submit(owner: string, spec: TaskSpec, { bytes, idempotency }: Received): Promise<Submitted> {
    // First of all: a retry of what was accepted costs nothing and is answered even when nothing new would be.
    const known = idempotency === null ? null : await this.#backend.known(owner, idempotency)
    if (known) return this.#known(owner, known)
    const dispatcher = this.#admit(spec, bytes)
    const promptIds = await this.#encodeLong(dispatcher, spec.prompt, bytes)
    // Meanwhile a drain may have begun, or a line have formed.
    if (promptIds !== null) this.#admit(spec, bytes)
    const { model } = dispatcher
    const ahead = this.#backend.ahead(model, spec.priority)
    const task: Task = {
      id: newTaskId(),
      ordinal: this.#nextOrdinal++,
      owner,
      model,
      spec,
      createdAt: Date.now(),
      bytes: bytes + (promptIds?.byteLength ?? 0),
      promptIds,
      idempotency,
    }
    const record = new TaskRecord(task, new TaskLog(task.id, this.#options.maxRingEvents))
    // Registered before it is enqueued: a free slot takes it before this call goes on.
    this.#registry.add(record)
    const queued = record.add({ type: 'queued', position: ahead }, task.createdAt)
    record.show(queued.seq)
    const enqueued = await this.#catalog.whileUncertain(record, () => this.#backend.enqueue(task, queued))
    if (enqueued.type === 'queued') {
      this.#deadlines.set(task)
      this.#unread.accepted(record)
      this.chats.add(record)
      return { record, replay: false }
    }
    this.#registry.remove(record)
    if (enqueued.type === 'full') throw full(enqueued, dispatcher)
    return this.#known(owner, enqueued)
  }

  /** As `submit`, for a caller that attaches a reader right after: its place is kept, or else the task does not run.
   * @throws RejoinError as `submit` does, and `too_many_readers` */
  async submitFollowed(owner: string, spec: TaskSpec, received: Received): Promise<Submitted> {
    this.#checkReaders()
    this.#readers++
    try {
      const submitted = await this.submit(owner, spec, received)
      // A reader from here on, also when it has gone meanwhile and attaches nothing.
      this.#unread.readersChanged(submitted.record)
      return submitted
    } finally {
      this.#readers--
    }
  }

  /** @throws RejoinError `task_not_found`, also for another owner's task; `log_gone` after retention */
  find(owner: string, id: TaskId): Promise<TaskRecord> {
    return this.#catalog.find(owner, id)
  }

  /** Tasks before that ordinal, newest first. A page may be short of its limit, even empty. */
  list(owner: string, before: number, limit: number, status: TaskStatus | null): Promise<Listing> {
    return this.#catalog.list(owner, before, limit, status)
  }

  /** Tasks that wait, of all models. */
  get queueDepth(): number {
    return this.#backend.depth
  }

  /** Events that were recorded since the start, without the first one of each task. */
  get recordedEvents(): number {
    return this.#recorder.events
  }

  /** Webhooks that have not been delivered yet. */
  get pendingWebhooks(): number {
    return this.#webhooks?.pending ?? 0
  }

  /** Readers that are attached, or have a place kept for them. */
  get readers(): number {
    return this.#readers
  }

  /** A reader at a position of a task's log. Close it with `detach`.
   * @throws RejoinError `log_gone`, `position_ahead`, `too_many_readers` */
  attach(record: TaskRecord, after: Seq, wake: () => void): Reader {
    this.#checkReaders()
    const { id } = record.task
    const attached = record.log.attach(after, wake)
    switch (attached.type) {
      case 'reader':
        this.#readers++
        this.#readersChanged(record)
        return attached.reader
      case 'ahead':
        throw new RejoinError(
          'position_ahead',
          `position ${after} is beyond the log of ${id}, which ends at ${attached.last}`,
        )
      case 'gone':
        throw new RejoinError(
          'log_gone',
          `the events right after ${after} of ${id} are gone; the oldest kept is ${attached.first}`,
        )
      default:
        return attached satisfies never
    }
  }

  /** False when it was detached before. */
  detach(reader: Reader): boolean {
    if (!reader.close()) return false
    this.#readers--
    const record = this.#registry.get(reader.task)
    if (record) this.#readersChanged(record)
    return true
  }

  /** True when the task was not ended yet: its log will end with `canceled`, unless it ends otherwise first. */
  async cancel(record: TaskRecord, by: CanceledBy): Promise<boolean> {
    if (record.state.ended) return false
    record.canceledBy ??= by
    const canceling = await this.#backend.cancel(record.task.id, by)
    if (canceling === 'taken') await this.#say(record, { type: 'canceled', by })
    return true
  }

  /** Drops a task that has ended: from now on it is as if retention had. @throws RejoinError `storage_full` */
  remove(record: TaskRecord): Promise<void> {
    return this.#catalog.remove(record)
  }

  /** What a task object tells beside its state. */
  extras(record: TaskRecord): TaskExtras {
    const { task, log } = record
    // Taken and not started: it waits for a reader, or starts in a moment, and nothing is ahead of it.
    const queuePosition = record.state.status === 'queued' ? (this.#backend.position(task.id) ?? 0) : null
    const dispatcher = this.#dispatchers.get(task.model)
    const { slots = 0, free = 0 } = dispatcher?.engine ?? {}
    return {
      text: log.text(),
      queuePosition,
      estimatedWaitMs:
        queuePosition === null ? null : (dispatcher?.admission.waitMs(queuePosition, slots, free) ?? null),
      expiresAt: this.#catalog.expiresAt(record),
    }
  }

  /** A vector of length 1 for each text, and its tokens, in the order of the texts. Nothing of it is kept.
   * @param model undefined: the first that makes embeddings
   * @param signal ends the wait; texts that have not started never will
   * @throws RejoinError `draining`, `model_not_found`, `invalid_request` (a model that makes no embeddings), `queue_full`,
   * `invalid_prompt` and `prompt_too_long` of a text, `worker_lost`, `model_failed` */
  async embed(
    model: string | undefined,
    texts: readonly string[],
    signal: AbortSignal,
  ): Promise<Embeddings & { model: string }> {
    if (this.#draining) throw draining()
    const embedder = this.#pick(this.#embedders, model, 'embeddings')
    return { model: embedder.model, ...(await embedder.embed(texts, signal)) }
  }

  /**
   * Drops what is over the bounds of retention, cancels what has been paused, with nobody to read it, for as long, and
   * ends what nobody works on any more: found twice in a row, so within two sweeps (20 s).
   */
  sweep(now: number): void {
    this.#endOwnerless()
    void this.#backend.sweep(now)
    for (const dispatcher of this.dispatchers) {
      for (const record of dispatcher.abandoned(now - this.#options.retentionMs)) void this.cancel(record, 'deadline')
    }
  }

  /**
   * No new tasks from now on; what runs gets `drainMs` to end. What waits, or is late, goes on in the next process, or,
   * where nothing outlives this one, is canceled by `shutdown`.
   */
  async drain(drainMs: number): Promise<void> {
    this.#draining = true
    this.#unread.close()
    for (const dispatcher of this.dispatchers) dispatcher.drain()
    const embedded = this.embedders.map((embedder) => embedder.drain(drainMs))
    if (this.#backend.durable) await this.#handOver(drainMs)
    else await this.#endAll(drainMs)
    await Promise.all(embedded)
    // The last words are visible, and connections are closed next.
    this.pump.flush()
  }

  async close(): Promise<void> {
    this.#draining = true
    clearInterval(this.#sweeper)
    this.pump.close()
    this.#unread.close()
    this.#webhooks?.close()
    this.#deadlines.close()
    await Promise.all([...this.dispatchers, ...this.embedders, this.#encoder].map((part) => part.close()))
    await this.#backend.close()
  }

  /** @throws RejoinError when there is no such model, or when it makes something else */
  #pick<T>(makers: ReadonlyMap<string, T>, model: string | undefined, what: 'text' | 'embeddings'): T {
    const [first] = makers.values()
    const maker = model === undefined ? first : makers.get(model)
    if (maker) return maker
    const served = `served: ${this.models.join(', ')}`
    if (model === undefined) throw new RejoinError('model_not_found', `no model makes ${what}; ${served}`)
    const name = JSON.stringify(model)
    if (!this.models.includes(model)) {
      throw new RejoinError('model_not_found', `no model ${name}; ${served}`, { param: 'model' })
    }
    const made = what === 'text' ? 'embeddings, not text' : 'text, not embeddings'
    throw new RejoinError('invalid_request', `model ${name} makes ${made}`, { param: 'model' })
  }

  /** Whom a new task goes to, as far as can be told before it is queued.
   * @throws RejoinError `draining`, `model_not_found`, `invalid_request`, `queue_full` */
  #admit(spec: TaskSpec, bytes: number): Dispatcher {
    if (this.#draining) throw draining()
    const dispatcher = this.#pick(this.#dispatchers, spec.model, 'text')
    if (spec.webhook !== null) admitWebhook(this.#webhooks, spec.webhook.url)
    refuseLongWait(dispatcher, spec, this.#backend.ahead(dispatcher.model, spec.priority))
    // Who would add to the paused tasks counts them as waiting ones, so that nobody parks without bound; others come in.
    if (spec.onDisconnect.type === 'pause')
      this.#checkRoom(dispatcher, bytes, ...this.dispatchers.map(({ paused }) => paused))
    return dispatcher
  }

  /** The ids of a prompt that might not fit or takes long to encode; null for any other, which its worker encodes.
   * @throws RejoinError `prompt_too_long`, `invalid_prompt`, `queue_full`, `draining` */
  async #encodeLong(dispatcher: Dispatcher, prompt: Prompt, bytes: number): Promise<Int32Array | null> {
    const { source } = dispatcher
    if (source.type !== 'onnx' || !isLong(prompt, source.contextTokens)) return null
    const encoding = this.#encoding
    this.#checkRoom(dispatcher, bytes, encoding)
    encoding.size++
    encoding.bytes += bytes
    try {
      return await this.#encoder.encode(source, prompt)
    } finally {
      encoding.size--
      encoding.bytes -= bytes
    }
  }

  /** @throws RejoinError `queue_full` when the queue has no room for one more beside what waits elsewhere */
  #checkRoom(dispatcher: Dispatcher, bytes: number, ...elsewhere: { size: number; bytes: number }[]): void {
    const tasks = elsewhere.reduce((sum, { size }) => sum + size, 1)
    const held = elsewhere.reduce((sum, { bytes }) => sum + bytes, bytes)
    const refused = this.#backend.full(tasks, held)
    if (refused) throw full(refused, dispatcher)
  }

  #readersChanged(record: TaskRecord): void {
    const { task, state } = record
    this.#unread.readersChanged(record)
    if (task.spec.onDisconnect.type !== 'pause' || state.ended) return
    this.#dispatchers.get(task.model)?.readersChanged(task.id)
  }

  #checkReaders(): void {
    if (this.#readers < this.#options.maxReaders) return
    throw new RejoinError('too_many_readers', `${this.#readers} readers follow, the bound`, { retryAfterS: 1 })
  }

  /** The task that an idempotency key made before. */
  async #known(owner: string, known: Known): Promise<Submitted> {
    if (known.type === 'replay') return { record: await this.find(owner, known.id), replay: true }
    throw new RejoinError('idempotency_conflict', 'this Idempotency-Key was used with another body')
  }

  #missed(id: TaskId): void {
    const record = this.#registry.get(id)
    if (record) void this.cancel(record, 'deadline')
  }

  #cancelRunning(id: TaskId, by: CanceledBy): void {
    const record = this.#registry.get(id)
    if (!record) return
    record.canceledBy ??= by
    this.#dispatchers.get(record.task.model)?.cancel(id)
  }

  #recordOf(task: Task): TaskRecord {
    const record = this.#registry.get(task.id)
    if (!record) throw new Error(`${task.id} was taken from the queue but is not registered`)
    return record
  }

  #ended(record: TaskRecord, end: TaskEvent): void {
    const { id } = record.task
    this.#deadlines.clear(id)
    this.#unread.ended(record)
    record.task.promptIds = null
    this.#catalog.ended(record)
    if (this.#registry.unfinished === 0) this.#drained()
    const delivery = deliveryOf(record.task, end)
    if (delivery !== null) this.#webhooks?.add(delivery)
  }

  /** What a running task has said, visible or not; null for one that is not running here. */
  #checkpoint(id: TaskId): Recovered | null {
    const record = this.#registry.get(id)
    if (!record || record.state.ended) return null
    const { task, log, canceledBy } = record
    const ids = this.#dispatchers.get(task.model)?.idsOf(id) ?? []
    return { task, log, ids: [...ids], canceledBy }
  }

  #say(record: TaskRecord, body: EventBody): Promise<void> {
    return this.#recorder.record([new Saying(record, record.state.attempt).say(body, Date.now())])
  }

  /** A task of the process before, whose model this one does not have. */
  async #endUnserved(record: TaskRecord): Promise<void> {
    const { id, model } = record.task
    const message = `model ${JSON.stringify(model)} is not served any more since the gateway was restarted`
    // Out of its queue, if it is in one.
    await this.#backend.cancel(id, 'admin')
    await this.#say(record, { type: 'failed', error: { code: 'model_not_found', message } })
  }

  /** There is no way for a task to get there but a defect; its reader must not wait for ever all the same. */
  #endOwnerless(): void {
    const found = this.#draining ? [] : this.#registry.unfinishedTasks().filter((record) => !this.#hasOwner(record))
    const message = 'nobody worked on the task any more'
    for (const record of found) {
      if (!this.#ownerless.has(record)) continue
      this.#logger.error({ task: record.task.id, status: record.state.status }, message)
      void this.#say(record, { type: 'failed', error: { code: 'worker_lost', message } })
    }
    this.#ownerless = new Set(found)
  }

  /** It waits in a queue, is in a dispatcher's hands, or is about to be one of these or to say its last words. */
  #hasOwner({ task, log }: TaskRecord): boolean {
    if (this.#catalog.isUncertain(task.id) || log.addedSeq > log.lastSeq) return true
    return this.#backend.position(task.id) !== null || this.#dispatchers.get(task.model)?.has(task.id) === true
  }

  async #handOver(drainMs: number): Promise<void> {
    await within(drainMs, Promise.all(this.dispatchers.map((dispatcher) => dispatcher.idle())))
    await within(LAST_WORDS_MS, Promise.all(this.dispatchers.map((dispatcher) => dispatcher.handOver())))
  }

  async #endAll(drainMs: number): Promise<void> {
    const waiting = this.#registry.unfinishedTasks().filter(({ state }) => state.status === 'queued')
    await Promise.all(waiting.map((record) => this.cancel(record, 'shutdown')))
    await this.#unfinishedFor(drainMs)
    await Promise.all(this.#registry.unfinishedTasks().map((record) => this.cancel(record, 'shutdown')))
    // The cancel acts between two steps; a step that hangs must not hold up the exit.
    await this.#unfinishedFor(LAST_WORDS_MS)
  }

  /** Until no task is unfinished, or `ms` have passed. */
  #unfinishedFor(ms: number): Promise<void> {
    if (this.#registry.unfinished === 0) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      this.#drained = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** Waits for it, but not for longer than that. */
async function within(ms: number, done: Promise<unknown>): Promise<void> {
  const over = new AbortController()
  await Promise.race([done, sleep(ms, undefined, { signal: over.signal }).catch(() => {})])
  over.abort()
}
