/**
 * Between the queue and the engine of one model: takes tasks when slots are free, records what they say.
 *
 * A task is in exactly one place: the backend's queue, `#pending` (ours, without a slot: just taken, or waiting for
 * its next attempt), `#byHandle` (it has a slot), `#backoff` (its attempt failed, and the next one is not due yet), or
 * `#paused` (it waits for a reader, and neither for a slot nor in anybody's way). A lost or paused attempt's handle is
 * forgotten at once, so nothing that it still says can be taken for the next one's words.
 */
import type { Backend } from '../backend/backend.js'
import type { EventBody } from '../core/event.js'
import type { TaskId } from '../core/id.js'
import type { Logger } from '../core/logger.js'
import type { Task } from '../core/task.js'
import { Engine, type EngineOptions } from '../engine/engine.js'
import type { Handle, WorkerFlush } from '../engine/messages.js'
import type { ModelSource } from '../model/model.js'
import { Admission } from './admission.js'
import { Backoff } from './backoff.js'
import { Line } from './line.js'
import { FlushLogprobs } from './logprobs.js'
import { Paused } from './paused.js'
import { Probation } from './probation.js'
import type { TaskRecord } from './record.js'
import type { Recorder, Saying } from './recorder.js'
import {
  afterFailure,
  canceling,
  ending,
  type Failure,
  interruptedRun,
  mayRetry,
  mayRun,
  modelFailed,
  newRun,
  newSaying,
  nextProgress,
  type Run,
} from './run.js'

export type DispatcherOptions = EngineOptions & { maxAttempts: number }

/** Tasks that are taken together to be told that their model is gone. */
const MAX_FAILED_AT_ONCE = 256

export class Dispatcher {
  readonly admission = new Admission()
  readonly engine: Engine
  readonly #options: DispatcherOptions
  readonly #backend: Backend
  readonly #recorder: Recorder
  readonly #recordOf: (task: Task) => TaskRecord
  readonly #logger: Logger
  readonly #pending = new Line()
  readonly #probation = new Probation(() => this.#lookAgain())
  readonly #backoff = new Backoff((run) => this.#comeBack(run))
  readonly #paused = new Paused()
  readonly #byHandle = new Map<Handle, Run>()
  readonly #byTask = new Map<TaskId, Run>()
  readonly #stopTaking = new AbortController()
  /** Tasks whose readers came or left in this turn of the event loop. */
  readonly #readersChanged = new Set<TaskId>()
  /** Ends the loop's wait for a slot. */
  #wake: () => void = () => {}
  /** Nothing is started any more. */
  #handingOver = false
  /** Told when a run has left its slot or is over. */
  #onOver: () => void = () => {}
  /** The flush of a worker that came last. */
  #recorded: Promise<void> = Promise.resolve()

  constructor(
    options: DispatcherOptions,
    backend: Backend,
    recorder: Recorder,
    recordOf: (task: Task) => TaskRecord,
    logger: Logger,
  ) {
    this.#options = options
    this.#backend = backend
    this.#recorder = recorder
    this.#recordOf = recordOf
    this.#logger = logger
    this.engine = new Engine(options, {
      flush: (flush) => this.#record(flush),
      lost: (handles, reason) => this.#lost(handles, reason),
      free: () => this.#lookAgain(),
      noted: (note) => logger.warn({ model: options.source.name, note }, 'how a worker runs the model'),
      unloadable: (reason) => {
        logger.error({ model: options.source.name, reason }, 'a worker could not be started')
        if (this.engine.failure !== null) this.#settle(this.#paused.all())
        this.#lookAgain()
      },
    })
  }

  get source(): ModelSource {
    return this.#options.source
  }

  get model(): string {
    return this.source.name
  }

  /** Resolves when the model is loaded; tasks are taken from then on. */
  async open(): Promise<void> {
    await this.engine.open()
    void this.#dispatch()
  }

  /** Tasks that wait for a reader, and the bytes of their requests. */
  get paused(): { size: number; bytes: number } {
    return this.#paused
  }

  /** Tasks that have waited for a reader since before `time`, unix ms. */
  abandoned(time: number): TaskRecord[] {
    return this.#paused.before(time).map(({ record }) => record)
  }

  /** Tasks that had started when the process before this one ended. */
  goOn(recovered: { record: TaskRecord; ids: number[] }[]): void {
    const runs = recovered.map(({ record, ids }) => interruptedRun(record, ids))
    for (const run of runs) this.#byTask.set(run.record.task.id, run)
    this.#settle(runs)
  }

  /** Takes no more tasks; those that run go on, and those that wait for a reader wait for the next process or are canceled. */
  drain(): void {
    this.#stopTaking.abort()
    this.#settle(this.#paused.all())
    this.#wake()
  }

  /** Resolves when nothing runs or is about to. */
  async idle(): Promise<void> {
    while (this.#byTask.size > this.#paused.size) {
      await new Promise<void>((resolve) => {
        this.#onOver = resolve
      })
    }
  }

  /** Ends what runs between two steps, to go on in the next process. Resolves when all that it said is recorded. */
  async handOver(): Promise<void> {
    this.#handingOver = true
    for (const handle of this.#byHandle.keys()) this.engine.pause(handle)
    while (this.#byHandle.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onOver = resolve
      })
    }
    await this.#recorded
  }

  async close(): Promise<void> {
    this.drain()
    this.#backoff.clear()
    this.#probation.close()
    await this.engine.close()
  }

  /** The task is in our hands. */
  has(id: TaskId): boolean {
    return this.#byTask.has(id)
  }

  /** Of all tokens that a task of ours has so far. */
  idsOf(id: TaskId): readonly number[] {
    return this.#byTask.get(id)?.ids ?? []
  }

  /** Acts on the record's `canceledBy`, if the task is ours. */
  cancel(id: TaskId): void {
    const run = this.#byTask.get(id)
    if (!run) return
    if (run.handle !== null) this.engine.cancel(run.handle)
    else this.#settle([run])
  }

  /**
   * A reader has come to a task that may pause, or has left it. What follows is decided when this turn of the event
   * loop is over, by how it is then: who looks in for a moment starts nothing.
   */
  readersChanged(id: TaskId): void {
    if (this.#readersChanged.size === 0) setImmediate(() => this.#lookAtReaders())
    this.#readersChanged.add(id)
  }

  async #dispatch(): Promise<void> {
    const { signal } = this.#stopTaking
    while (!signal.aborted) {
      this.#fill()
      const { failure, free } = this.engine
      if (this.#pending.size > 0 || this.#probation.active || (free === 0 && failure === null)) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        continue
      }
      const tasks = await this.#backend.take(this.model, failure === null ? free : MAX_FAILED_AT_ONCE, signal)
      this.#settle(tasks.map((task) => this.#hold(task)))
    }
    // What was taken while the drain began runs, too.
    this.#fill()
  }

  /** The engine has changed, or who reads, or who may start. */
  #lookAgain(): void {
    // The loop may be waiting for the queue, and a task that was lost must not wait with it.
    this.#fill()
    this.#wake()
  }

  #hold(task: Task): Run {
    const run = newRun(this.#recordOf(task))
    this.#byTask.set(task.id, run)
    return run
  }

  #lookAtReaders(): void {
    const runs: Run[] = []
    for (const id of this.#readersChanged) {
      const run = this.#byTask.get(id)
      if (!run) continue
      if (run.handle === null) runs.push(run)
      // A reader that is back before the pause is done has it started again when it is. While the gateway drains,
      // what runs may end.
      else if (!mayRun(run) && !this.#stopTaking.signal.aborted) this.engine.pause(run.handle)
    }
    this.#readersChanged.clear()
    this.#settle(runs)
    this.#lookAgain()
  }

  /**
   * Puts runs without a slot where they belong as things are: with those that wait for a slot or a reader, or at their
   * end. One that waits out its back-off may go to its reader's place or its end from there, but not to a slot.
   */
  #settle(runs: Run[]): void {
    const sayings: Saying[] = []
    for (const run of runs) {
      const { record } = run
      const forNobody = !mayRun(run) && this.engine.failure === null
      // Who would come back finds no gateway, or the next one.
      if (forNobody && this.#stopTaking.signal.aborted && !this.#backend.durable) record.canceledBy ??= 'shutdown'
      if (record.canceledBy !== null) {
        sayings.push(this.#over(run, canceling(run)))
      } else if (forNobody) {
        this.#pending.delete(run)
        this.#backoff.delete(run)
        this.#paused.add(run)
      } else if (!this.#backoff.has(run)) {
        this.#paused.delete(run)
        if (run.interrupted) sayings.push(this.#goOn(run))
        if (this.#isOurs(run)) this.#pending.add(run)
      }
    }
    void this.#recorder.record(sayings)
  }

  /** It is to be started again, in another process than the last time. */
  #goOn(run: Run): Saying {
    run.interrupted = false
    const message = `no token in ${run.fruitless} attempts in a row, the bound; the gateway ended during the last one`
    return this.#failed(run, 'the gateway was restarted', { code: 'worker_lost', message })
  }

  /** Its back-off is over. */
  #comeBack(run: Run): void {
    this.#settle([run])
    this.#fill()
  }

  /** Starts what is pending, as far as it may and there are slots; without a model any more it ends here. */
  #fill(): void {
    if (this.#handingOver) return
    const { failure } = this.engine
    const sayings: Saying[] = []
    for (const run of this.#pending) {
      if (failure !== null) {
        sayings.push(this.#over(run, modelFailed(failure)))
      } else if (this.engine.free > 0 && this.#probation.mayStart(run)) {
        this.#start(run)
        if (run.startedAttempt === run.attempt) continue
        run.startedAttempt = run.attempt
        run.fruitless++
        const started: EventBody = { type: 'started', attempt: run.attempt, model: this.model }
        sayings.push(newSaying(run).say(started, Date.now()))
      } else {
        break
      }
    }
    void this.#recorder.record(sayings)
  }

  #start(run: Run): void {
    const { promptIds, spec } = run.record.task
    const { prompt, sampling, maxTokens, topLogprobs, stop } = spec
    this.#pending.delete(run)
    const generation = { prompt, promptIds, sampling, maxTokens, topLogprobs, recorded: run.ids }
    run.handle = this.engine.start(generation, stop)
    run.slotSince = Date.now()
    this.#byHandle.set(run.handle, run)
    this.#probation.started(run)
  }

  #record(flush: WorkerFlush): Promise<void> {
    const { holding } = this.#probation
    const at = Date.now()
    const sayings: Saying[] = []
    const runs: Run[] = []
    const sayingOf = (run: Run): Saying => {
      if (run.saying !== null) return run.saying
      run.saying = newSaying(run)
      sayings.push(run.saying)
      runs.push(run)
      return run.saying
    }
    for (const { handle, promptTokens, maxTokens } of flush.admitted) {
      const run = this.#byHandle.get(handle)
      if (run) Object.assign(run, { promptTokens, maxTokens })
    }
    const { cells } = flush
    const logprobs = flush.logprobs.length > 0 ? new FlushLogprobs(flush.logprobs) : null
    for (let next = 0; next < cells.length; ) {
      const handle = cells[next] as Handle
      const text = cells[next + 1] as string
      const tokens = cells[next + 2] as number
      const firstId = next + 3
      next = firstId + tokens
      const run = this.#byHandle.get(handle)
      if (!run) continue
      const saying = sayingOf(run)
      for (let i = firstId; i < next; i++) {
        saying.ids.push(cells[i] as number)
        run.ids.push(cells[i] as number)
      }
      if (run.fruitless > 0) {
        run.fruitless = 0
        this.#probation.proved(run)
      }
      run.firstTokenAt ??= at
      run.record.log.addToken(text, tokens, at, logprobs?.take(handle, tokens) ?? undefined)
      for (let body = nextProgress(run); body; body = nextProgress(run)) saying.say(body, at)
    }
    const slotless: Run[] = []
    for (const end of flush.ends) {
      const run = this.#byHandle.get(end.handle)
      if (!run) continue
      if (end.type === 'paused' && run.record.canceledBy === null) {
        this.#leaveSlot(run)
        slotless.push(run)
      } else if (end.type === 'failed' && mayRetry(end)) {
        this.#failed(run, end.message, end, sayingOf(run))
        if (!this.#isOurs(run)) continue
        this.#logger.warn({ model: this.model, attempt: run.attempt - 1, reason: end.message }, 'an attempt failed')
        this.#backoff.add(run, Math.max(1, run.fruitless))
        slotless.push(run)
      } else {
        this.#over(run, ending(run, end), sayingOf(run))
      }
    }
    for (const run of runs) run.saying = null
    this.#recorded = this.#recorder.record(sayings)
    // Now that their last words have their numbers.
    this.#settle(slotless)
    if (holding && !this.#probation.holding) this.#lookAgain()
    return this.#backend.room()
  }

  #lost(handles: Handle[], reason: string): void {
    this.#logger.warn({ model: this.model, tasks: handles.length, reason }, 'a worker was lost')
    const sayings: Saying[] = []
    const again: Run[] = []
    for (const handle of handles) {
      const run = this.#byHandle.get(handle)
      if (!run) continue
      const message = `no token in ${run.fruitless} attempts in a row, the bound; the worker of the last one died: ${reason}`
      sayings.push(this.#failed(run, reason, { code: 'worker_lost', message }))
      if (this.#isOurs(run)) again.push(run)
    }
    void this.#recorder.record(sayings)
    this.#settle(again)
    this.#lookAgain()
  }

  /** Its attempt failed: the next one is announced, or these are its last words. */
  #failed(run: Run, reason: string, { code, message }: Failure, saying = newSaying(run)): Saying {
    const body = afterFailure(run, this.#options.maxAttempts, reason, { code, message })
    if (body.type !== 'retrying') return this.#over(run, body, saying)
    this.#leaveSlot(run)
    run.attempt = body.attempt
    saying.attempt = body.attempt
    return saying.say(body, Date.now())
  }

  /** It has not ended. */
  #isOurs({ record }: Run): boolean {
    return this.#byTask.has(record.task.id)
  }

  #leaveSlot(run: Run): void {
    if (run.handle === null) return
    this.#byHandle.delete(run.handle)
    run.handle = null
    this.#probation.proved(run)
    run.servedMs += Date.now() - run.slotSince
    this.#onOver()
  }

  /** The run's last words; it is forgotten here. */
  #over(run: Run, body: EventBody, saying = newSaying(run)): Saying {
    this.#leaveSlot(run)
    this.#pending.delete(run)
    this.#backoff.delete(run)
    this.#paused.delete(run)
    this.#byTask.delete(run.record.task.id)
    this.#onOver()
    if (run.slotSince > 0) this.admission.observe(run.servedMs)
    return saying.say(body, Date.now())
  }
}
