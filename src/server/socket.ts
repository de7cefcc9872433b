/**
 * The native WebSocket (PROTOCOL section 6): any number of tasks on one socket, as JSON or msgpack.
 *
 * Each subscription is a reader. What is behind is written round by round, one event per task and round, so that no
 * task's backlog holds up another's live tokens, and only while the socket has room: a client that does not read
 * costs its positions and at most about twice `maxUnsentBytes` of buffer. A bad frame is answered, not punished;
 * three in a row are.
 */
import type { Entry } from '../core/entry.js'
import { RejoinError } from '../core/errors.js'
import type { Seq } from '../core/event.js'
import type { Logger } from '../core/logger.js'
import type { TaskSpec } from '../core/task.js'
import type { Gateway } from '../gateway/gateway.js'
import type { TaskRecord } from '../gateway/record.js'
import type { Reader } from '../log/reader.js'
import { type ClientFrame, parseFrame, type Ref, refOf } from '../wire/frames.js'
import { entryJson, errorObject, taskObject } from '../wire/json.js'
import { entryMsgpack, pack, unpack } from '../wire/msgpack.js'
import { parseJson, parseTaskRequest } from '../wire/request.js'
import { authenticate } from './auth.js'
import { checkedId, newSeed } from './received.js'
import { CLOSE, type Connection, Outlet, type SocketOptions, type Speaking, type Ws } from './sockets.js'

/** How the frames of one subprotocol look. */
type Format = {
  name: string
  binary: boolean
  entry: (entry: Entry) => string | Uint8Array
  encode: (value: unknown) => string | Uint8Array
  decode: (bytes: Uint8Array) => unknown
}

const JSON_FORMAT: Format = {
  name: 'rejoin.v1.json',
  binary: false,
  entry: entryJson,
  encode: (value) => JSON.stringify(value),
  decode: parseJson,
}
const MSGPACK_FORMAT: Format = {
  name: 'rejoin.v1.msgpack',
  binary: true,
  entry: entryMsgpack,
  encode: pack,
  decode: unpack,
}
const FORMATS = [JSON_FORMAT, MSGPACK_FORMAT]
const KNOWN = FORMATS.map(({ name }) => name).join(', ')

const MAX_STRIKES = 3

/** How a client that names these subprotocols is spoken to.
 * @throws RejoinError `invalid_request` when it names some and none is known */
export function speakNative(named: string, gateway: Gateway, options: SocketOptions, logger: Logger): Speaking {
  const format = formatOf(named)
  return {
    subprotocol: named === '' ? '' : format.name,
    open: (ws) => new NativeConnection(ws, format, gateway, options, logger),
  }
}

/** @throws RejoinError `invalid_request` */
function formatOf(named: string): Format {
  if (named === '') return JSON_FORMAT
  const names = named.split(',').map((name) => name.trim())
  const format = FORMATS.find(({ name }) => names.includes(name))
  if (format) return format
  throw new RejoinError('invalid_request', `no subprotocol of ${JSON.stringify(named)} is known; known: ${KNOWN}`)
}

type Subscription = { record: TaskRecord; reader: Reader }

class NativeConnection implements Connection {
  readonly out: Outlet
  readonly #format: Format
  readonly #gateway: Gateway
  readonly #options: SocketOptions
  readonly #logger: Logger
  readonly #caller = authenticate()
  behindSince = 0
  readonly #subscriptions = new Map<string, Subscription>()
  // Those with something to write, in the order of their turns.
  readonly #behind = new Set<Subscription>()
  /** Submits that have no subscription yet. */
  #submitting = 0
  /** All other frames take effect in the order in which they came: how many have not yet, and the last of them. */
  #waiting = 0
  #turn: Promise<void> = Promise.resolve()
  #strikes = 0

  constructor(ws: Ws, format: Format, gateway: Gateway, options: SocketOptions, logger: Logger) {
    this.out = new Outlet(ws, options)
    this.#format = format
    this.#gateway = gateway
    this.#options = options
    this.#logger = logger
  }

  receive(bytes: Uint8Array): void {
    let value: unknown
    try {
      value = this.#format.decode(bytes)
      const frame = parseFrame(value)
      if (frame === null) throw new RejoinError('invalid_request', 'the frame is no object of the protocol’s table')
      this.#strikes = 0
      this.#obey(frame, bytes.byteLength).catch((error: unknown) => this.#refuse(frame, error))
    } catch (error) {
      this.#refuse(value, error)
      // A wrong position is a wrong value in a right frame.
      const right = error instanceof RejoinError && error.code === 'invalid_position'
      this.#strikes = right ? 0 : this.#strikes + 1
      if (this.#strikes >= MAX_STRIKES) this.out.end(CLOSE.policy, 'three frames in a row that are not of the protocol')
    }
  }

  get behind(): boolean {
    return this.#behind.size > 0
  }

  /** Writes what is behind, a round at a time, while the socket has room. */
  pump(): void {
    if (this.#behind.size === 0) return
    let left = this.#options.maxUnsentBytes
    this.out.cork((ws) => {
      while (this.#behind.size > 0 && left > 0 && this.out.room) left -= this.#round(ws, left)
    })
    if (this.out.open && this.#behind.size > 0 && this.out.room) this.#gateway.pump.mark(this)
  }

  closed(): void {
    for (const { reader } of this.#subscriptions.values()) this.#gateway.detach(reader)
    this.#subscriptions.clear()
    this.#behind.clear()
  }

  /** One event of each, up to about so many bytes; returns how many they were. */
  #round(ws: Ws, maxBytes: number): number {
    let bytes = 0
    for (const subscription of this.#behind) {
      if (bytes >= maxBytes || !this.out.room) break
      // To the back of the line; a set keeps the order of insertion, and this loop would meet it again.
      this.#behind.delete(subscription)
      const entry = subscription.reader.next(this.#options.maxUnsentBytes)
      if (entry) {
        const frame = this.#format.entry(entry)
        bytes += frame.length
        ws.send(frame, this.#format.binary)
      }
      if (subscription.reader.behind) this.#behind.add(subscription)
      else if (subscription.reader.done) this.#drop(subscription)
    }
    return bytes
  }

  async #obey(frame: ClientFrame, bytes: number): Promise<void> {
    switch (frame.type) {
      case 'submit': {
        const spec = parseTaskRequest(frame.request, newSeed)
        const record = await this.#submit(spec, bytes)
        const task = taskObject(record.state, this.#gateway.extras(record))
        this.#follow(record, 0, { type: 'accepted', ...ref(frame), task })
        return
      }
      case 'subscribe':
        return this.#inTurn(frame, () => this.#subscribe(frame))
      case 'unsubscribe':
        return this.#inTurn(frame, async () => {
          const subscription = this.#subscriptions.get(frame.task)
          if (subscription) this.#drop(subscription)
          this.#answer({ type: 'unsubscribed', ...ref(frame), task: frame.task })
        })
      case 'cancel':
        return this.#inTurn(frame, async () => {
          const record = await this.#find(frame.task)
          this.#answer({ type: 'canceling', ...ref(frame), task: frame.task })
          await this.#gateway.cancel(record, 'client')
        })
      case 'ping':
        return this.#inTurn(frame, async () => this.#answer({ type: 'pong', ...ref(frame) }))
      default:
        frame satisfies never
    }
  }

  /** With a place for its subscription, or not at all: a task whose sender is told no must not run. */
  async #submit(spec: TaskSpec, bytes: number): Promise<TaskRecord> {
    this.#checkSubscriptions()
    this.#submitting++
    try {
      return (await this.#gateway.submitFollowed(this.#caller, spec, { bytes, idempotency: null })).record
    } finally {
      this.#submitting--
    }
  }

  async #subscribe({ task, after, ...frame }: Extract<ClientFrame, { type: 'subscribe' }>): Promise<void> {
    const record = await this.#find(task)
    const reply = { type: 'subscribed', ...ref(frame), task: record.task.id, last_seq: record.log.lastSeq }
    this.#follow(record, after, reply)
  }

  /** A task that has ended is looked up in the archive; what is said of it, or of another, meanwhile waits.
   * @throws RejoinError `too_many_subscriptions` when too much waits */
  #inTurn(frame: ClientFrame, act: () => Promise<void>): Promise<void> {
    const { maxSubscriptions } = this.#options
    if (this.#waiting >= maxSubscriptions) {
      throw new RejoinError('too_many_subscriptions', `${maxSubscriptions} frames wait, the bound`, { retryAfterS: 1 })
    }
    this.#waiting++
    this.#turn = this.#turn
      .then(act)
      .catch((error: unknown) => this.#refuse(frame, error))
      .finally(() => this.#waiting--)
    return this.#turn
  }

  /** @throws RejoinError `too_many_subscriptions` */
  #checkSubscriptions(): void {
    const { maxSubscriptions } = this.#options
    if (this.#subscriptions.size + this.#submitting < maxSubscriptions) return
    const message = `this socket follows ${maxSubscriptions} tasks, the bound`
    throw new RejoinError('too_many_subscriptions', message, { retryAfterS: 1 })
  }

  /** Answers, then sends the events after `after`. A second subscription to a task takes the place of the first. */
  #follow(record: TaskRecord, after: Seq, reply: Record<string, unknown>): void {
    if (!this.out.open) return
    const { id } = record.task
    const known = this.#subscriptions.get(id)
    if (!known) this.#checkSubscriptions()
    const reader = this.#gateway.attach(record, after, () => {
      this.#behind.add(subscription)
      this.#gateway.pump.mark(this, reader.fresh)
    })
    const subscription: Subscription = { record, reader }
    if (known) this.#drop(known)
    this.#subscriptions.set(id, subscription)
    // Nothing follows that could tell it.
    this.#answer(reader.done ? { ...reply, ended: true } : reply)
    if (reader.done) this.#drop(subscription)
    else if (reader.behind) this.#behind.add(subscription)
    this.pump()
  }

  #drop(subscription: Subscription): void {
    this.#gateway.detach(subscription.reader)
    this.#behind.delete(subscription)
    this.#subscriptions.delete(subscription.record.task.id)
  }

  #find(task: string): Promise<TaskRecord> {
    return this.#gateway.find(this.#caller, checkedId(task))
  }

  #refuse(frame: unknown, thrown: unknown): void {
    const error = thrown instanceof RejoinError ? thrown : new RejoinError('internal', 'the gateway has a defect')
    if (error !== thrown) this.#logger.error({ err: thrown }, 'a frame was not handled')
    this.#answer({ type: 'error', ...refOf(frame), ...errorObject(error) })
  }

  #answer(value: unknown): void {
    this.out.answer(this.#format.encode(value), this.#format.binary)
  }
}

const ref = (frame: { ref?: Ref }): { ref?: Ref } => (frame.ref === undefined ? {} : { ref: frame.ref })
