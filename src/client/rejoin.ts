/**
 * The client of a gateway, for Node and browsers: `new Rejoin({ url }).run({ prompt })`.
 *
 * Every request is sent with an idempotency key, so that it can be sent again until it is answered, and every answer is
 * followed by position, so that a lost connection costs a moment and nothing else.
 */
import { SystemWebSocket } from '#websocket'
import type { TaskStatus } from '../core/task.js'
import type { TaskObject } from '../wire/json.js'
import type { TaskRequest } from '../wire/request.js'
import { inPage, offPage, onPage, pageOrigin, pageStorage } from './browser.js'
import { Follower, type Network } from './follower.js'
import { type Fetch, Http, type KeySource } from './http.js'
import { type ConnectionState, Indicator } from './indicator.js'
import { Memory, type Remembered, type StorageLike } from './memory.js'
import { Pauses } from './pause.js'
import { Plug } from './plug.js'
import { PollTransport } from './poll.js'
import { Questions } from './questions.js'
import { type Asking, Run } from './run.js'
import { type SocketConstructor, SocketTransport } from './socket.js'
import { SseTransport } from './sse.js'
import type { Transport, TransportName } from './transport.js'
import { Ways } from './ways.js'

export type RejoinOptions = {
  /** Of the gateway. In a browser the page's own origin when absent. */
  url?: string
  /** Sent as `Authorization: Bearer`; a function is asked for every request. */
  apiKey?: KeySource
  /** In the order of preference. Default: WebSocket, server-sent events, long poll. */
  transports?: readonly TransportName[]
  /** Called when the state of the connection changes. */
  onState?: (state: ConnectionState) => void
  /** Where `remember` keeps what it remembers. In a browser `sessionStorage` when absent; null: nowhere. */
  storage?: StorageLike | null
  fetch?: Fetch
  WebSocket?: SocketConstructor
}

export type RunOptions = {
  /** Aborting it leaves the task, which runs on. */
  signal?: AbortSignal
  /** A name of the caller's own, so that the same request is one task even across processes. Default: a new one. */
  idempotencyKey?: string
  /** Keeps request, task and position in the storage under this name, for `recall`, until the answer has ended. */
  remember?: string
}

export type AttachOptions = {
  /** The seq that was seen last. Default 0: from the beginning. */
  after?: number
  signal?: AbortSignal
  remember?: string
}

/** Of connections, in ms. A page stays connected for a while after an answer; elsewhere that would keep a process alive. */
const TIMES = {
  socket: { openMs: 3000, quietMs: 20_000, pongMs: 10_000, lingerMs: inPage ? 60_000 : 500 },
  sse: { firstMs: 10_000, silenceMs: 35_000 },
}
const PAGE = 100

export class Rejoin {
  readonly #http: Http
  readonly #network: Network
  readonly #questions: Questions
  readonly #socket: SocketTransport | null
  readonly #memory: Memory
  /** Ends with `close`. */
  readonly #closing = new AbortController()
  readonly #onOnline = (): void => this.#network.pauses.endAll()

  /** @param times of connections; others are for tests */
  constructor(options: RejoinOptions = {}, times: typeof TIMES = TIMES) {
    const {
      url = pageOrigin(),
      apiKey,
      onState = () => {},
      fetch = (input, init) => globalThis.fetch(input, init),
    } = options
    if (url === null) throw new TypeError('`url` is needed: the address of the gateway')
    this.#http = new Http(url, apiKey, fetch)
    const construct = options.WebSocket ?? SystemWebSocket
    this.#socket = construct === null ? null : new SocketTransport(this.#http, construct, times.socket)
    const all: Record<TransportName, Transport | null> = {
      websocket: this.#socket,
      sse: new SseTransport(this.#http, times.sse),
      poll: new PollTransport(this.#http),
    }
    const { transports = ['websocket', 'sse', 'poll'] } = options
    const usable = transports.map((name) => all[name]).filter((transport) => transport !== null)
    if (usable.length === 0) throw new TypeError('`transports` names none that this runtime has')
    this.#network = {
      ways: new Ways(usable),
      pauses: new Pauses(),
      plug: new Plug(),
      indicator: new Indicator(onState),
    }
    this.#questions = new Questions(this.#http, this.#network)
    this.#memory = new Memory(options.storage === undefined ? pageStorage() : options.storage)
    onPage('online', this.#onOnline)
  }

  /** Asks for an answer. */
  run(request: TaskRequest, options: RunOptions = {}): Run {
    const { idempotencyKey = newKey(), remember, signal } = options
    if (remember !== undefined) this.#memory.set(remember, { type: 'asking', request, idempotencyKey })
    const { ways, plug } = this.#network
    if (!plug.pulled && ways.pick(Date.now()) === this.#socket) this.#socket?.warm()
    return this.#start((aborted) => this.#submit(request, idempotencyKey, aborted), null, 0, remember, signal)
  }

  /** Follows a task that is there, running or ended. */
  attach(task: string, { after = 0, signal, remember }: AttachOptions = {}): Run {
    if (remember !== undefined) this.#memory.set(remember, { type: 'following', task, after })
    return this.#start((aborted) => this.task(task, aborted), task, after, remember, signal)
  }

  /** Goes on with what `remember` kept under that name, after a reload; null when there is nothing.
   * @param options `after`: default the position that was kept */
  recall(name: string, options: Omit<AttachOptions, 'remember'> = {}): Run | null {
    const remembered: Remembered | null = this.#memory.get(name)
    if (remembered === null) return null
    if (remembered.type === 'following') {
      return this.attach(remembered.task, { after: remembered.after, ...options, remember: name })
    }
    const { request, idempotencyKey } = remembered
    return this.run(request, { ...options, idempotencyKey, remember: name })
  }

  /** @throws RejoinError `task_not_found`, `log_gone` */
  async task(id: string, signal?: AbortSignal): Promise<TaskObject> {
    return (await this.#ask(`/v1/tasks/${encodeURIComponent(id)}`, { method: 'GET' }, signal)) as TaskObject
  }

  /** The caller's tasks, newest first. */
  async *tasks({
    status,
    signal,
  }: {
    status?: TaskStatus
    signal?: AbortSignal
  } = {}): AsyncGenerator<TaskObject, void> {
    for (let cursor: string | null = ''; cursor !== null; ) {
      const query = new URLSearchParams({
        limit: String(PAGE),
        ...(status ? { status } : {}),
        ...(cursor ? { cursor } : {}),
      })
      const page = (await this.#ask(`/v1/tasks?${query}`, { method: 'GET' }, signal)) as TaskPage
      yield* page.data
      cursor = page.next_cursor
    }
  }

  /** Ends a task for everybody; one that has ended stays as it is. @throws RejoinError `task_not_found`, `log_gone` */
  async cancel(id: string, signal?: AbortSignal): Promise<TaskObject> {
    return (await this.#ask(`/v1/tasks/${encodeURIComponent(id)}`, { method: 'DELETE' }, signal)) as TaskObject
  }

  /** The names of the models that are served, the default one first. */
  async models(signal?: AbortSignal): Promise<string[]> {
    const { data } = (await this.#ask('/v1/models', { method: 'GET' }, signal)) as { data: { id: string }[] }
    return data.map(({ id }) => id)
  }

  /** How the connection is doing now. */
  get state(): ConnectionState {
    return this.#network.indicator.state
  }

  /** Cuts every connection on purpose, and makes none until `plug`: to see how an answer comes back. */
  unplug(): void {
    this.#network.plug.pull()
    void this.#socket?.cut()
  }

  plug(): void {
    this.#network.plug.plugIn()
    this.#network.pauses.endAll()
  }

  /** Leaves every task, which run on, and closes every connection. */
  close(): void {
    this.#closing.abort(new DOMException('the client was closed', 'AbortError'))
    offPage('online', this.#onOnline)
    this.#memory.close()
    void this.#socket?.cut()
  }

  #start(
    task: Asking['task'],
    id: string | null,
    after: number,
    remember: string | undefined,
    signal: AbortSignal = this.#closing.signal,
  ): Run {
    const memory = this.#memory
    const asking: Asking = {
      task: async (aborted) => {
        const accepted = await task(aborted)
        if (remember !== undefined && id === null) memory.set(remember, { type: 'following', task: accepted.id, after })
        return accepted
      },
      follow: async (id, from, onEvent, aborted) => new Follower(this.#network, id, from, onEvent, aborted).run(),
      cancel: async (id) => void (await this.cancel(id)),
      moved: (id, position) => {
        if (remember !== undefined) memory.setSoon(remember, { type: 'following', task: id, after: position })
      },
      over: () => {
        if (remember !== undefined) memory.forget(remember)
      },
    }
    return new Run(asking, id, after, AbortSignal.any([signal, this.#closing.signal]))
  }

  #submit(request: TaskRequest, idempotencyKey: string, signal: AbortSignal): Promise<TaskObject> {
    const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': idempotencyKey }
    const init = { method: 'POST', headers, body: JSON.stringify(request) }
    return this.#ask('/v1/tasks', init, signal) as Promise<TaskObject>
  }

  #ask(path: string, init: RequestInit, signal?: AbortSignal): Promise<unknown> {
    const closing = this.#closing.signal
    return this.#questions.ask(path, init, signal ? AbortSignal.any([signal, closing]) : closing)
  }
}

type TaskPage = { data: TaskObject[]; next_cursor: string | null }

/** `crypto.randomUUID` is not there on a page that came over plain HTTP; these 128 random bits are. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
