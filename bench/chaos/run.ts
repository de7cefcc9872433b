/**
 * One run: a gateway, its load, and whoever ends it again and again; then all that was accepted must be there, whole.
 *
 * When the killing is over no new tasks come, and those that are there get a bounded time to end. Then the gateway is
 * killed once more, and what it lists, and what it says of some old tasks from the first event on, must be what
 * readers saw.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { GatewayProcess } from './gateway-process.js'
import { harass } from './killer.js'
import { lastLook } from './last-look.js'
import { Load } from './load.js'
import { gatewayArgs, gatewayFile, type Options } from './options.js'
import { type Counts, newCounts, type Setting } from './setting.js'
import { setupOf } from './setup.js'
import { undisturbed } from './undisturbed.js'
import { Violations } from './violations.js'

export type Result = {
  counts: Counts
  violations: Violations
  tookMs: number
  /** Of each gateway that was waited for, from its start to its first 200 of /readyz. */
  readyMs: number[]
  /** Tasks that the last list had. */
  listed: number
  /** The data directory and the log of a gateway that broke a promise. */
  kept: string | null
  cutShort: CutShort | null
}

/** Why a run ended before its kills were done. After the last three it is not looked at any more. */
export type CutShort = 'time was up' | 'enough violations' | 'the gateway does not stay up' | 'interrupted'

export type Watch = (state: { counts: Counts; violations: Violations; alive: number }) => void

/** Of the time, for the killing; the rest is for the tasks to end, and for the last look. */
const KILLING_SHARE = 0.8
/** Tasks that are alive when the killing ends have this long to end; where something was found already, less. */
const END_WITHIN_MS = 40_000
const END_WITHIN_FOUND_MS = 5000
const WATCH_MS = 200

/** @param interrupt ends the run; what it started is gone when this returns */
export async function runChaos(options: Options, interrupt: AbortSignal, watch: Watch): Promise<Result> {
  const texts = options.model === 'default' ? await undisturbedTexts(options) : []
  const gateway = await GatewayProcess.create(gatewayFile(options), gatewayArgs(options))
  const run = new Run(options, gateway, texts)
  const onInterrupt = (): void => run.cut('interrupted')
  interrupt.addEventListener('abort', onInterrupt, { once: true })
  if (interrupt.aborted) onInterrupt()
  const watching = setInterval(() => watch(run), WATCH_MS)
  let keep = true
  try {
    const result = await run.whole()
    keep = result.kept !== null
    return result
  } finally {
    clearInterval(watching)
    interrupt.removeEventListener('abort', onInterrupt)
    await run.end(keep)
  }
}

class Run {
  readonly counts = newCounts()
  readonly violations = new Violations()
  readonly #options: Options
  readonly #gateway: GatewayProcess
  readonly #setting: Setting
  readonly #load: Load
  /** Ends the killing. */
  readonly #stopping = new AbortController()
  /** Ends all that is going on. */
  readonly #leaving = new AbortController()
  #cutShort: CutShort | null = null

  constructor(options: Options, gateway: GatewayProcess, undisturbed: readonly string[]) {
    this.#options = options
    this.#gateway = gateway
    this.#setting = {
      setup: setupOf(options),
      port: gateway.port,
      up: () => gateway.up(),
      counts: this.counts,
      report: (violation) => {
        this.violations.report(violation)
        if (this.violations.total >= options.enough) this.cut('enough violations')
      },
    }
    this.#load = new Load(this.#setting, options.tasks, undisturbed)
  }

  get alive(): number {
    return this.#load.alive
  }

  cut(why: CutShort): void {
    this.#cutShort ??= why
    this.#stopping.abort()
    if (why !== 'time was up') this.#leaving.abort()
  }

  async whole(): Promise<Result> {
    const began = performance.now()
    const { signal } = this.#leaving
    await this.#kill()
    this.#load.stop()
    await this.#tasksEnd()
    let listed = 0
    if (!signal.aborted) {
      this.#load.giveUp()
      listed = await lastLook(
        this.#setting,
        this.#gateway,
        this.#load.roster,
        this.#options.kills > 0,
        this.#patienceMs,
      )
    }
    for (const line of await this.#gateway.errors()) {
      this.#setting.report({ kind: 'process', what: `it logged an error: ${line.slice(0, 500)}` })
    }
    const { counts, violations } = this
    const { dir, readyMs } = this.#gateway
    const kept = violations.total > 0 ? dir : null
    const tookMs = performance.now() - began
    return { counts, violations, tookMs, readyMs, listed, kept, cutShort: this.#cutShort }
  }

  async end(keep: boolean): Promise<void> {
    this.#load.close()
    await this.#gateway.end(keep)
  }

  get #patienceMs(): number {
    return this.violations.total > 0 ? END_WITHIN_FOUND_MS : END_WITHIN_MS
  }

  /** Or their time is up. */
  async #tasksEnd(): Promise<void> {
    const done = new AbortController()
    const signal = AbortSignal.any([done.signal, this.#leaving.signal])
    await Promise.race([this.#load.done, sleep(this.#patienceMs, undefined, { signal }).catch(() => {})])
    done.abort()
  }

  async #kill(): Promise<void> {
    const { kills, minutes } = this.#options
    const { signal } = this.#stopping
    const timer = setTimeout(() => this.#stopping.abort(), minutes * 60_000 * KILLING_SHARE)
    if (!(await harass(this.#setting, this.#gateway, kills, signal))) this.cut('the gateway does not stay up')
    if (this.counts.kills < kills) this.cut('time was up')
    // Some tasks must have come after the last kill; without kills, they come for all of the time.
    const more = kills === 0 ? minutes * 60_000 : this.#setting.setup.paceMs
    await sleep(more, undefined, { signal }).catch(() => {})
    clearTimeout(timer)
  }
}

async function undisturbedTexts(options: Options): Promise<string[]> {
  const gateway = await GatewayProcess.create(gatewayFile({ ...options, gateway: null }), gatewayArgs(options))
  try {
    return await undisturbed(gateway)
  } finally {
    await gateway.end(false)
  }
}
