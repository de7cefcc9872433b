/**
 * The gateway as its users run it: a process of its own, started on the same port and data directory again and again.
 *
 * Only the process that was started here is ever signalled, and none outlives this one: whoever ends a run calls
 * `end`, and an exit of this process kills what is left.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, closeSync, createReadStream, mkdtempSync, openSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { ask } from './http.js'

const READY_WITHIN_MS = 60_000
/** Beyond `--drain-ms`: what was canceled says so, connections and models are closed. */
const EXIT_WITHIN_MS = 8000
const LOOK_EVERY_MS = 10
/** pino's `error` and `fatal`. */
const LOGGED_ERROR = /^\{"level":[56]0,/
const MAX_ERRORS = 10

export type Ended = { code: number | null; signal: string | null }

export class GatewayProcess {
  readonly port: number
  /** The data and the log: removed by `end` unless they are to be looked at. */
  readonly dir: string
  readonly #file: string
  readonly #args: string[]
  #child: ChildProcess | null = null
  #exit: Promise<Ended> = Promise.resolve({ code: null, signal: null })
  /** Aborted when the process is being stopped or has ended: nobody needs to look at it any more. */
  #gone = new AbortController()
  #up = newGate()
  #starts = 0
  #startedAt = 0
  /** Of each process that was waited for: from its start to its first 200 of /readyz. */
  readonly readyMs: number[] = []
  #readySeen = false
  readonly #onExit = (): void => void this.#child?.kill('SIGKILL')

  /** @param args of the command line, beside the port and the data directory */
  static async create(file: string, args: string[]): Promise<GatewayProcess> {
    return new GatewayProcess(await freePort(), file, args)
  }

  private constructor(port: number, file: string, args: string[]) {
    this.port = port
    this.dir = mkdtempSync(join(tmpdir(), 'rejoin-chaos-'))
    this.#file = file
    this.#args = args
    process.on('exit', this.#onExit)
  }

  get log(): string {
    return join(this.dir, 'gateway.log')
  }

  /** Resolves when the process listens: at once, or after its next start. */
  up(): Promise<void> {
    return this.#up.opened
  }

  start(drainMs: number): void {
    if (this.#child) throw new Error('the gateway runs')
    const common = ['--port', String(this.port), '--host', '127.0.0.1', '--data-dir', join(this.dir, 'data')]
    const args = [this.#file, ...common, '--drain-ms', String(drainMs), ...this.#args]
    appendFileSync(this.log, `--- start ${this.#starts++}: ${args.join(' ')}\n`)
    const log = openSync(this.log, 'a')
    // Nothing of our environment: a REJOIN_ variable would make it another gateway.
    const child = spawn(process.execPath, args, { stdio: ['ignore', log, log], env: { PATH: process.env.PATH ?? '' } })
    closeSync(log)
    this.#child = child
    this.#startedAt = performance.now()
    this.#readySeen = false
    this.#gone = new AbortController()
    this.#exit = once(child, 'exit').then(([code, signal]) => {
      this.#child = null
      this.#close()
      return { code, signal }
    })
    void this.#openGate(this.#gone.signal)
  }

  /** Waits until /readyz says so; false when the process ended before, or took too long. */
  async ready(): Promise<boolean> {
    const { signal } = this.#gone
    while (performance.now() - this.#startedAt < READY_WITHIN_MS && !signal.aborted) {
      const answer = await ask(this.port, { path: '/readyz' }, signal)
      if (answer?.status === 200) {
        if (!this.#readySeen) this.readyMs.push(performance.now() - this.#startedAt)
        this.#readySeen = true
        return true
      }
      await sleep(LOOK_EVERY_MS)
    }
    return false
  }

  /** When it ends by itself. */
  get ended(): Promise<Ended> {
    return this.#exit
  }

  get running(): boolean {
    return this.#child !== null
  }

  /** `kill -9`. */
  async kill(): Promise<void> {
    this.#close()
    this.#child?.kill('SIGKILL')
    await this.#exit
  }

  /** SIGTERM, as a deploy does it; what does not end in time is killed, and says so with its signal. */
  async drain(drainMs: number): Promise<Ended> {
    this.#child?.kill('SIGTERM')
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), drainMs + EXIT_WITHIN_MS)
    const ended = await this.#exit
    clearTimeout(timer)
    return ended
  }

  /** Lines that the gateway logged as errors: nothing that is done to it here is one. */
  async errors(): Promise<string[]> {
    const errors: string[] = []
    for await (const line of createInterface({ input: createReadStream(this.log) })) {
      if (LOGGED_ERROR.test(line) && errors.length < MAX_ERRORS) errors.push(line)
    }
    return errors
  }

  /** For good. Whoever waits for it to be up is let go. */
  async end(keep: boolean): Promise<void> {
    await this.kill()
    this.#up.open()
    process.off('exit', this.#onExit)
    if (!keep) rmSync(this.dir, { recursive: true, force: true })
  }

  #close(): void {
    this.#gone.abort()
    if (this.#up.isOpen) this.#up = newGate()
  }

  async #openGate(gone: AbortSignal): Promise<void> {
    while (!gone.aborted) {
      if (await ask(this.port, { path: '/healthz' }, gone)) {
        if (!gone.aborted) this.#up.open()
        return
      }
      await sleep(LOOK_EVERY_MS)
    }
  }
}

type Gate = { opened: Promise<void>; isOpen: boolean; open: () => void }

function newGate(): Gate {
  let resolve: () => void = () => {}
  const opened = new Promise<void>((done) => {
    resolve = done
  })
  const gate: Gate = {
    opened,
    isOpen: false,
    open: () => {
      gate.isOpen = true
      resolve()
    },
  }
  return gate
}

/** One that was free a moment ago: the gateway must have the same after each start. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
