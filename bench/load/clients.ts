/**
 * The clients of a benchmark, from the side of the benchmark: a process that is told what to do and says what came.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Job, Order, Received, Report } from './job.js'
import type { Server } from './server.js'

const FILE = fileURLToPath(new URL('./process.js', import.meta.url))
const MAX_SILENCE_MS = 60_000

export class Clients {
  readonly #process: ChildProcess
  /** That nobody has asked for yet. */
  readonly #reports: Report[] = []
  #wake: () => void = () => {}

  private constructor(process: ChildProcess) {
    this.#process = process
    process.on('message', (report: Report) => {
      this.#reports.push(report)
      this.#wake()
    })
    // After everything that was said.
    process.on('exit', () => this.#wake())
  }

  /** Returns when each client has had its first token. */
  static async start(server: Server, job: Omit<Job, 'port' | 'pid' | 'others'>): Promise<Clients> {
    const { port, pid, others } = server
    const whole: Job = { ...job, port, pid, others }
    const clients = new Clients(fork(FILE, [JSON.stringify(whole)], { serialization: 'advanced' }))
    await clients.#next('started')
    return clients
  }

  async measure(measureMs: number): Promise<Received> {
    this.#send({ measureMs })
    return (await this.#next('received')).received
  }

  /** For clients that follow: how long each took until it had the whole task, in ms; they began at the same time. */
  async caughtUp(): Promise<number[]> {
    return (await this.#next('caughtUp')).ms
  }

  /** The same once more, over the same connections. */
  followAgain(): void {
    this.#send('catchUp')
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return
    const exited = once(this.#process, 'exit')
    this.#send('stop')
    await exited
  }

  #send(order: Order): void {
    this.#process.send(order)
  }

  async #next<Type extends Report['type']>(type: Type): Promise<Extract<Report, { type: Type }>> {
    const until = performance.now() + MAX_SILENCE_MS
    while (true) {
      const at = this.#reports.findIndex((report) => report.type === type)
      if (at >= 0) return this.#reports.splice(at, 1)[0] as Extract<Report, { type: Type }>
      if (this.#process.exitCode !== null) throw new Error(`the clients ended before they said \`${type}\``)
      if (performance.now() > until) throw new Error(`the clients did not say \`${type}\` within ${MAX_SILENCE_MS} ms`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, MAX_SILENCE_MS)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}
