/**
 * A gateway without a server: real threads, the scripted model, closed when the test ends.
 */
import type { TestContext } from 'node:test'
import type { Backend, Flush, QueueView } from '../../src/backend/backend.js'
import { EmbeddedBackend, type EmbeddedOptions } from '../../src/backend/embedded/embedded.js'
import type { EventBody, Seq, TaskEvent } from '../../src/core/event.js'
import type { TaskId } from '../../src/core/id.js'
import type { Logger } from '../../src/core/logger.js'
import type { TaskSpec } from '../../src/core/task.js'
import { Gateway, type GatewayOptions, type Received } from '../../src/gateway/gateway.js'
import type { TaskRecord } from '../../src/gateway/record.js'
import { aSpec } from '../task.js'

export const SILENT: Logger = { info: () => {}, warn: () => {}, error: () => {} }

/** A backend whose appends commit when the test lets them: a slow disk. */
export class GatedBackend extends EmbeddedBackend {
  /** What was appended and has not committed. */
  readonly held: Flush[] = []
  #gate = Promise.resolve()
  #open: () => void = () => {}

  constructor() {
    super(BACKEND)
  }

  hold(): void {
    this.#gate = new Promise((resolve) => {
      this.#open = resolve
    })
  }

  heldEvents(): TaskEvent[] {
    return this.held.flatMap(({ log, from, to }) =>
      Array.from({ length: to - from }, (_, index) => log.eventAt(from + 1 + index)),
    )
  }

  release(): void {
    this.#open()
  }

  override async append(flushes: Flush[]): Promise<TaskId[]> {
    this.held.push(...flushes)
    await this.#gate
    this.held.splice(0, flushes.length)
    return super.append(flushes)
  }

  /** Nobody may run ahead of a disk that is slow. */
  override room(): Promise<void> {
    return this.#gate
  }
}

export const BACKEND: EmbeddedOptions = {
  maxQueue: 1000,
  maxQueueBytes: 1_000_000,
  maxIdempotencyKeys: 1000,
  maxRingEvents: 65_536,
  retentionMs: 60_000,
  retentionBytes: 100_000_000,
}

type Options = Partial<GatewayOptions> &
  Partial<typeof BACKEND> & { slots?: number; workers?: number; backend?: Backend & QueueView }

/** Not opened: its tasks wait. */
export function makeGateway(t: TestContext, given: Options = {}): Gateway {
  const { slots = 64, workers = 1, backend, ...rest } = given
  const options: GatewayOptions = {
    models: [{ source: { type: 'scripted', name: 'scripted', slots }, workers }],
    maxAttempts: 3,
    maxInFlight: 1024,
    stallMs: 60_000,
    maxReaders: 1000,
    maxMergeMs: 25,
    maxCachedBytes: 10_000_000,
    disconnectGraceMs: 5000,
    webhooks: null,
    ...BACKEND,
    ...rest,
  }
  const gateway = new Gateway(options, backend ?? new EmbeddedBackend({ ...BACKEND, ...rest }), SILENT)
  // As a listening server does: between two workers nothing else keeps the process alive.
  const alive = setInterval(() => {}, 60_000)
  t.after(async () => {
    await gateway.close()
    clearInterval(alive)
  })
  return gateway
}

export async function openGateway(t: TestContext, given: Options = {}): Promise<Gateway> {
  const gateway = makeGateway(t, given)
  await gateway.open()
  return gateway
}

/** The spec of an answer that a script says. */
export const script = (fields: object, more: Partial<TaskSpec> = {}): TaskSpec =>
  aSpec({ text: JSON.stringify(fields), ...more })

/** A script that runs until it is stopped. */
export const ENDLESS = { tokens: 1_000_000, rate: 200 }

export const RECEIVED: Received = { bytes: 10, idempotency: null }

export async function submit(gateway: Gateway, spec: TaskSpec, received: Partial<Received> = {}): Promise<TaskRecord> {
  const { record } = await gateway.submit('me', spec, { ...RECEIVED, ...received })
  return record
}

/** All events of a task from the first one, each read when it came; resolves at the terminal one. */
export const whole = (gateway: Gateway, record: TaskRecord): Promise<TaskEvent[]> =>
  follow(gateway, record, 0, () => false)

/** The first event that `wanted` picks. */
export async function firstOf(
  gateway: Gateway,
  record: TaskRecord,
  wanted: (event: TaskEvent) => boolean,
): Promise<TaskEvent> {
  const events = await follow(gateway, record, 0, wanted)
  const found = events.at(-1)
  if (!found || !wanted(found)) throw new Error(`the task ended without it: ${JSON.stringify(events.slice(-3))}`)
  return found
}

export const isToken = ({ type }: EventBody): boolean => type === 'token'

function follow(
  gateway: Gateway,
  record: TaskRecord,
  after: Seq,
  enough: (event: TaskEvent) => boolean,
): Promise<TaskEvent[]> {
  return new Promise((resolve) => {
    const events: TaskEvent[] = []
    const read = (): void => {
      for (let entry = reader.next(0); entry; entry = reader.next(0)) {
        events.push(entry.event)
        if (!enough(entry.event) && !reader.done) continue
        gateway.detach(reader)
        resolve(events)
        return
      }
    }
    const reader = gateway.attach(record, after, read)
    read()
  })
}

/** All tasks of an owner, newest first. */
export async function listed(gateway: Gateway, owner = 'me'): Promise<TaskRecord[]> {
  const { records } = await gateway.list(owner, Number.POSITIVE_INFINITY, 100, null)
  return records
}

export const textOf = (events: TaskEvent[]): string =>
  events.map((event) => (event.type === 'token' ? event.text : '')).join('')

/** `w0 w1 …`, what the scripted model says unless told otherwise. */
export const words = (count: number): string => Array.from({ length: count }, (_, i) => `w${i} `).join('')

/** What happened, without the tokens. */
export const outline = (events: TaskEvent[]): string =>
  events
    .filter(({ type }) => type !== 'token' && type !== 'progress')
    .map((event) => ('attempt' in event ? `${event.type} ${event.attempt}` : event.type))
    .join(', ')
