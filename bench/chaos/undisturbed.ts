/**
 * What the embedded model says to each request of a run in a gateway of its own that nobody kills or cuts.
 *
 * After a crash an answer goes on from what was shown; that it is also what an undisturbed run says is not promised (a
 * computed prefix is not bit for bit a decoded one), so a run only reports how often it is.
 */

import { prompts } from './answers.js'
import type { GatewayProcess } from './gateway-process.js'
import { ask, codeOf } from './http.js'
import type { TaskObject } from './ledger.js'

const WAIT_S = 40

export async function undisturbed(gateway: GatewayProcess): Promise<string[]> {
  gateway.start(0)
  if (!(await gateway.ready())) throw new Error(`the gateway did not become ready; see ${gateway.log}`)
  const texts: string[] = []
  for (const request of prompts()) texts.push(await answer(gateway.port, JSON.stringify(request)))
  return texts
}

async function answer(port: number, body: string): Promise<string> {
  const { signal } = new AbortController()
  const accepted = await ask(port, { method: 'POST', path: '/v1/tasks', body }, signal)
  if (accepted?.location === undefined) throw new Error(`not accepted: ${codeOf(accepted?.text ?? '')}`)
  const ended = await ask(port, { path: `${accepted.location}?wait=${WAIT_S}` }, signal)
  const { status, output } = JSON.parse(ended?.text ?? '{}') as TaskObject
  if (status !== 'completed') throw new Error(`undisturbed, ${body} ended with ${status}`)
  return output.text
}
