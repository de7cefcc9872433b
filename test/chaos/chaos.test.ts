/**
 * The program that looks for lost and repeated events finds none in this gateway, and does find them where they are.
 *
 * The gateways with a defect are this one with one method replaced, so what they lack is what the program must see.
 */
import assert from 'node:assert/strict'
import { existsSync, rmSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Options } from '../../bench/chaos/options.js'
import { type Result, runChaos } from '../../bench/chaos/run.js'
import { type Kind, shownViolation } from '../../bench/chaos/violations.js'
import { SEED } from '../server/random.js'

/** Some 10 seconds. */
const SHORT: Options = {
  kills: 0,
  minutes: 0.1,
  seed: SEED,
  tasks: 20,
  readers: 3,
  model: 'scripted',
  durability: null,
  gateway: null,
  enough: 20,
}

async function run(t: TestContext, options: Partial<Options>): Promise<Result> {
  const result = await runChaos({ ...SHORT, ...options }, t.signal, () => {})
  const { kept } = result
  if (kept !== null) t.after(() => rmSync(kept, { recursive: true, force: true }))
  return result
}

const file = (name: string): string => fileURLToPath(new URL(`./${name}.js`, import.meta.url))

test('nothing is lost and nothing comes twice when connections are cut and workers die', async (t) => {
  const { violations, counts, listed, kept, cutShort } = await run(t, {})

  assert.deepEqual(violations.first.map(shownViolation), [])
  assert.deepEqual([kept, cutShort], [null, null])
  assert.ok(counts.cuts > 20 && counts.completed > 10 && listed >= counts.accepted, JSON.stringify(counts))
})

test('nothing is lost and nothing comes twice when the gateway is killed again and again', async (t) => {
  const { violations, counts, kept, cutShort } = await run(t, { kills: 20, minutes: 3 })

  assert.deepEqual(violations.first.map(shownViolation), [])
  assert.deepEqual([kept, cutShort], [null, null])
  assert.ok(counts.kills >= 20 && counts.completed > 10, JSON.stringify(counts))
})

test('a gateway that keeps nothing is found when it is killed', async (t) => {
  const { violations, counts, kept } = await run(t, { kills: 2, minutes: 0.2, durability: 'none' })

  assert.ok(violations.count('lost') > 0, JSON.stringify(violations))
  assert.ok(counts.kills >= 1)
  assert.ok(kept !== null && existsSync(`${kept}/gateway.log`), 'data and log are kept')
})

const DEFECTS: { gateway: string; kinds: Kind[]; kills: number }[] = [
  { gateway: 'losing-gateway', kinds: ['lost'], kills: 0 },
  { gateway: 'repeating-gateway', kinds: ['repeated'], kills: 0 },
  { gateway: 'early-gateway', kinds: ['ahead', 'backwards', 'differs'], kills: 6 },
]
for (const { gateway, kinds, kills } of DEFECTS) {
  test(`a ${gateway} is found`, async (t) => {
    const { violations } = await run(t, { gateway: file(gateway), kills })

    assert.ok(
      kinds.some((kind) => violations.count(kind) > 0),
      JSON.stringify(violations),
    )
  })
}
