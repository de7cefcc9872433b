/**
 * Ends the gateway again and again, as its plan says: kill -9 in the middle of work or of its recovery, and now and then
 * an orderly SIGTERM. It leaves a gateway that is ready.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { planStop, type StopPlan } from './accidents.js'
import type { GatewayProcess } from './gateway-process.js'
import type { Setting } from './setting.js'

/** A gateway that ends by itself so often has nothing to be found by killing it. */
const MAX_FAILURES = 3
/** Of the process that is there in the end, which nobody drains. */
const LAST_DRAIN_MS = 1000

/** @param kills how many; fewer when `signal` says that the time is up
 * @returns false when the gateway does not stay up */
export async function harass(
  setting: Setting,
  gateway: GatewayProcess,
  kills: number,
  signal: AbortSignal,
): Promise<boolean> {
  const { counts, setup } = setting
  let failures = 0
  for (let n = 0; counts.kills < kills && !signal.aborted; n++) {
    const plan = planStop(setup, n)
    gateway.start(plan.drainMs)
    const alive = await moment(gateway, plan, signal)
    if (!alive && (await failed(setting, gateway, ++failures))) return false
    if (alive && !signal.aborted) await stop(setting, gateway, plan)
  }
  if (!gateway.running) gateway.start(LAST_DRAIN_MS)
  return (await gateway.ready()) || !(await failed(setting, gateway, MAX_FAILURES))
}

/** Waits for the moment of the plan; false when the gateway ended by itself before. */
async function moment(gateway: GatewayProcess, plan: StopPlan, signal: AbortSignal): Promise<boolean> {
  if (!plan.soon && !(await gateway.ready())) return false
  const ended = gateway.ended.then(() => false)
  const time = sleep(plan.afterMs, true, { signal }).catch(() => true)
  return Promise.race([time, ended])
}

async function stop({ counts, report }: Setting, gateway: GatewayProcess, plan: StopPlan): Promise<void> {
  if (plan.type === 'kill') {
    counts.kills++
    return gateway.kill()
  }
  counts.drains++
  const { code, signal } = await gateway.drain(plan.drainMs)
  if (code !== 0) report({ kind: 'process', what: `after SIGTERM it ended with ${signal ?? `code ${code}`}, not 0` })
}

async function failed({ report }: Setting, gateway: GatewayProcess, failures: number): Promise<boolean> {
  if (gateway.running) {
    await gateway.kill()
    report({ kind: 'process', what: `it did not become ready; see ${gateway.log}` })
  } else {
    const { code, signal } = await gateway.ended
    report({ kind: 'process', what: `it ended by itself with ${signal ?? `code ${code}`}; see ${gateway.log}` })
  }
  return failures >= MAX_FAILURES
}
