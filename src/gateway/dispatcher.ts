/**
 * Between the queue and the engine of one model: takes tasks when slots are free, records what they say.
 *
 * A task is in exactly one place: the backend's queue, `#pending` (ours, without a slot: just taken, or waiting for
 * its next attempt), or `#byHandle` (it runs). A lost attempt's handle is forgotten at once, so nothing that it still
 * says can be taken for the next attempt's words.
 */
import type { Backend } from '../backend/backend.js'
import type { EventBody } from '../core/event.js'
import type { TaskId } from '../core/id.js'
import type { Logger } from '../core/logger.js'
import type { Task } from '../core/task.js'
import { Engine, type EngineOptions } from '../engine/engine.js'
import type { End, Handle, WorkerFlush } from '../engine/messages.js'
import { Admission } from './admission.js'
import type { TaskRecord } from './record.js'
import type { Recorder, Saying } from './recorder.js'

export type DispatcherOptions = EngineOptions & { maxAttempts: number }

/** Tasks that are taken together to be told that their model is gone. */
const MAX_FAILED_AT_ONCE = 256

type Run = {
  record: TaskRecord
  attempt: number
  /** Null while it has no slot. */
  handle: Handle | null
  /** What the answer has so far: the next attempt goes on from here. */
  ids: number[]
  promptTokens: number
  maxTokens: number
  percent: number
  firstTokenAt: number | null
}

export class Dispatcher {
  readonly admission = new Admission()
  readonly engine: Engine
  readonly #options: DispatcherOptions
  readonly #backend: Backend
  readonly #recorder: Recorder
  readonly #recordOf: (task: Task) => TaskRecord
  readonly #logger: Logger
  readonly #pending: Run[] = []
  readonly #byHandle = new Map<Handle, Run>()
  readonly #byTask = new Map<TaskId, Run>()
  readonly #stopTaking = new AbortController()
  /** Ends the loop's wait for a slot. */
  #wake: () => void = () => {}

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
      unloadable: (reason) => {
        logger.error({ model: options.source.name, reason }, 'a worker could not load the model')
        this.#lookAgain()
      },
    })
  }

  get model(): string {
    return this.#options.source.name
  }

  /** Resolves when the model is loaded; tasks are taken from then on. */
  async open(): Promise<void> {
    await this.engine.open()
    void this.#dispatch()
  }

  /** Takes no more tasks; those that run go on. */
  drain(): void {
    this.#stopTaking.abort()
    this.#wake()
  }

  async close(): Promise<void> {
    this.drain()
    await this.engine.close()
  }

  /** Acts on the record's `canceledBy`, if the task is ours. */
  cancel(id: TaskId): void {
    const run = this.#byTask.get(id)
    if (!run) return
    if (run.handle !== null) this.engine.cancel(run.handle)
    else this.#fill()
  }

  async #dispatch(): Promise<void> {
    const { signal } = this.#stopTaking
    while (!signal.aborted) {
      this.#fill()
      const { failure, free } = this.engine
      if (this.#pending.length > 0 || (free === 0 && failure === null)) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
        continue
      }
      const tasks = await this.#backend.take(this.model, failure === null ? free : MAX_FAILED_AT_ONCE, signal)
      for (const task of tasks) this.#pending.push(this.#hold(task))
    }
    // What was taken while the drain began runs, too.
    this.#fill()
  }

  /** The engine has changed. */
  #lookAgain(): void {
    // The loop may be waiting for the queue, and a task that was lost must not wait with it.
    this.#fill()
    this.#wake()
  }

  #hold(task: Task): Run {
    const run: Run = {
      record: this.#recordOf(task),
      attempt: 1,
      handle: null,
      ids: [],
      promptTokens: 0,
      maxTokens: 0,
      percent: 0,
      firstTokenAt: null,
    }
    this.#byTask.set(task.id, run)
    return run
  }

  /** Starts what is pending, as far as there are slots; what was canceled, or has no model any more, ends here. */
  #fill(): void {
    const sayings: Saying[] = []
    const { failure } = this.engine
    for (const run of this.#pending.filter(({ record }) => failure !== null || record.canceledBy !== null)) {
      this.#pending.splice(this.#pending.indexOf(run), 1)
      sayings.push(this.#over(run, run.record.canceledBy === null ? modelFailed(failure) : canceling(run)))
    }
    while (this.#pending.length > 0 && this.engine.free > 0) {
      const run = this.#pending.shift() as Run
      const { spec } = run.record.task
      const { prompt, sampling, maxTokens } = spec
      const { topLogprobs } = spec
      run.handle = this.engine.start(
        { prompt, promptIds: null, sampling, maxTokens, topLogprobs, recorded: run.ids },
        spec.stop,
      )
      this.#byHandle.set(run.handle, run)
      sayings.push(says(run, [{ type: 'started', attempt: run.attempt, model: this.model }]))
    }
    void this.#recorder.record(sayings)
  }

  #record(flush: WorkerFlush): Promise<void> {
    const sayings = new Map<Run, Saying>()
    const say = (run: Run, body: EventBody): void => {
      const saying = sayings.get(run)
      if (saying) saying.bodies.push(body)
      else sayings.set(run, says(run, [body]))
    }
    for (const { handle, promptTokens, maxTokens } of flush.admitted) {
      const run = this.#byHandle.get(handle)
      if (run) Object.assign(run, { promptTokens, maxTokens })
    }
    const { cells } = flush
    for (let at = 0; at < cells.length; ) {
      const run = this.#byHandle.get(cells[at] as Handle)
      const text = cells[at + 1] as string
      const tokens = cells[at + 2] as number
      at += 3
      for (const end = at + tokens; at < end; at++) run?.ids.push(cells[at] as number)
      if (!run) continue
      run.firstTokenAt ??= Date.now()
      say(run, { type: 'token', text, tokens })
      for (const percent of progress(run)) say(run, { type: 'progress', percent })
    }
    for (const end of flush.ends) {
      const run = this.#byHandle.get(end.handle)
      if (!run) continue
      const bodies = sayings.get(run)?.bodies ?? []
      sayings.set(run, this.#over(run, ending(run, end), bodies))
    }
    return this.#recorder.record([...sayings.values()])
  }

  #lost(handles: Handle[], reason: string): void {
    this.#logger.warn({ model: this.model, tasks: handles.length, reason }, 'a worker was lost')
    const sayings: Saying[] = []
    for (const handle of handles) {
      const run = this.#byHandle.get(handle)
      if (!run) continue
      this.#byHandle.delete(handle)
      run.handle = null
      if (run.record.canceledBy !== null) {
        sayings.push(this.#over(run, canceling(run)))
      } else if (run.attempt >= this.#options.maxAttempts) {
        const message = `the worker died in attempt ${run.attempt} of ${this.#options.maxAttempts}: ${reason}`
        sayings.push(this.#over(run, { type: 'failed', error: { code: 'worker_lost', message } }))
      } else {
        run.attempt++
        this.#pending.push(run)
        sayings.push(says(run, [{ type: 'retrying', attempt: run.attempt, reason }]))
      }
    }
    void this.#recorder.record(sayings)
    this.#fill()
  }

  /** The run's last words; it is forgotten here. */
  #over(run: Run, body: EventBody, before: EventBody[] = []): Saying {
    this.#byTask.delete(run.record.task.id)
    if (run.handle !== null) this.#byHandle.delete(run.handle)
    const { startedAt } = run.record.state
    if (startedAt !== null) this.admission.observe(Date.now() - startedAt)
    return says(run, [...before, body])
  }
}

const says = (run: Run, bodies: EventBody[]): Saying => ({ record: run.record, attempt: run.attempt, bodies })

const canceling = ({ record }: Run): EventBody => ({ type: 'canceled', by: record.canceledBy ?? 'client' })

const modelFailed = (reason: string | null): EventBody => ({
  type: 'failed',
  error: { code: 'model_failed', message: `no worker can load the model: ${reason}` },
})

/** The quarters of the known work that were passed since the last time. */
function progress(run: Run): number[] {
  const passed: number[] = []
  while (run.maxTokens > 0 && run.percent < 100 && run.ids.length * 100 >= (run.percent + 25) * run.maxTokens) {
    run.percent += 25
    passed.push(run.percent)
  }
  return passed
}

function ending(run: Run, end: End): EventBody {
  switch (end.type) {
    case 'completed': {
      const { createdAt } = run.record.task
      const { startedAt } = run.record.state
      return {
        type: 'completed',
        finish_reason: end.finishReason,
        usage: {
          prompt_tokens: run.promptTokens,
          cached_tokens: end.cachedTokens,
          completion_tokens: run.ids.length,
        },
        timings: {
          queued_ms: (startedAt ?? Date.now()) - createdAt,
          first_token_ms: run.firstTokenAt === null ? null : run.firstTokenAt - createdAt,
          total_ms: Date.now() - createdAt,
        },
      }
    }
    case 'failed':
      return { type: 'failed', error: { code: end.code, message: end.message } }
    case 'canceled':
    // Nobody pauses yet.
    case 'paused':
      return canceling(run)
    default:
      return end satisfies never
  }
}
