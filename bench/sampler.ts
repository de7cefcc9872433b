/**
 * What does it cost to choose a token, and does it stay small when the vocabulary is large?
 *
 * `npm run bench -- sampler`. For three sizes of vocabulary and two shapes of logits, the median time of one token for
 * each way of sampling, beside one bare pass that finds the largest logit of the same row (what any sampler must do at
 * least) and beside a sampler that sorts the vocabulary. All run in one process, and the ratio to the bare pass, with which
 * ours takes turns, is what to compare between machines. Bad for peaked logits, which is what a model gives, at
 * 151,936: over 1 for greedy, over 2 for top_k and min_p, over 8 for anything else.
 */
import { History } from '../src/model/history.js'
import { logprobs } from '../src/model/logprobs.js'
import { uniform } from '../src/model/random.js'
import { Sampler, type SamplerSettings } from '../src/model/sampler.js'
import { sampleBySorting } from '../test/model/sampler-reference.js'
import { NEUTRAL, rowOf, type Shape } from '../test/model/sampler-rows.js'
import { median } from './statistics.js'

const VOCABULARIES = [2048, 32_000, 151_936]
const SHAPES: Shape[] = ['peaked', 'flat']
// More than a branch predictor learns by heart.
const ROWS = 8
const TURNS = 100
const SORTED_TURNS = 3
// Before anything counts, so that small vocabularies are not timed while V8 still compiles.
const WARM_UP_LOGITS = 20_000_000
const PROMPT_TOKENS = 2000
const ANSWER_TOKENS = 500

const neutral: SamplerSettings = { ...NEUTRAL, temperature: 0.8, seed: 1 }

const WAYS: [name: string, settings: SamplerSettings][] = [
  ['greedy', { ...neutral, temperature: 0 }],
  ['greedy, all penalties', { ...neutral, temperature: 0, ...penalties() }],
  ['top_k 40', { ...neutral, topK: 40 }],
  ['top_p 0.9', { ...neutral, topP: 0.9 }],
  ['top_p 0.95, min_p 0.05', { ...neutral, topP: 0.95, minP: 0.05 }],
  ['min_p 0.05', { ...neutral, minP: 0.05 }],
  ['temperature only', neutral],
]

type Run = (row: Float32Array, position: number) => number

process.stdout.write('median microseconds for one token\n')
for (const vocabulary of VOCABULARIES) {
  for (const shape of SHAPES) compare(vocabulary, shape)
}

function compare(vocabulary: number, shape: Shape): void {
  const rows = Array.from({ length: ROWS }, (_, seed) => rowOf(shape, vocabulary, seed))
  const history = new History(idsOf(PROMPT_TOKENS, 100, vocabulary), idsOf(ANSWER_TOKENS, 101, vocabulary))
  const sampler = new Sampler(vocabulary)
  process.stdout.write(`\n${vocabulary} tokens, ${shape}          us   x bare pass     sorted us   sorted / ours\n`)
  for (const [name, settings] of WAYS) {
    const choose: Run = (row, position) => sampler.sample(row, settings, history, position)
    const [bare, ours] = medians(rows, TURNS, WARM_UP_LOGITS / vocabulary, [barePass, choose])
    // Nobody sorts to find the likeliest.
    if (settings.temperature === 0) print(name, ours, bare)
    else {
      const sort: Run = (row, position) => sampleBySorting(row, settings, position)
      print(name, ours, bare, medians(rows, SORTED_TURNS, SORTED_TURNS, [sort])[0])
    }
  }
  const tell: Run = (row) => logprobs(row, 0, 20).top.length
  const [bare, ours] = medians(rows, TURNS, WARM_UP_LOGITS / vocabulary, [barePass, tell])
  print('logprobs, 20', ours, bare)
}

/** Median microseconds of each of the functions, which take turns; each gets a fresh copy of a row to change. */
function medians(rows: Float32Array[], turns: number, warmUpTurns: number, runs: Run[]): number[] {
  const times: number[][] = runs.map(() => [])
  const copy = new Float32Array(rows[0]?.length ?? 0)
  const warm = Math.ceil(warmUpTurns)
  for (let turn = 0; turn < warm + turns; turn++) {
    for (const [i, run] of runs.entries()) {
      copy.set(rows[turn % rows.length] as Float32Array)
      const start = performance.now()
      run(copy, turn)
      if (turn >= warm) times[i]?.push((performance.now() - start) * 1000)
    }
  }
  return times.map(median)
}

function barePass(row: Float32Array): number {
  let best = 0
  for (let id = 1; id < row.length; id++) if ((row[id] as number) > (row[best] as number)) best = id
  return best
}

function print(name: string, ours = 0, bare = 0, sorted?: number): void {
  const compared =
    sorted === undefined ? '' : `${sorted.toFixed(0).padStart(14)}${(sorted / ours).toFixed(0).padStart(16)}`
  process.stdout.write(
    `  ${name.padEnd(24)}${ours.toFixed(1).padStart(10)}${(ours / bare).toFixed(2).padStart(14)}${compared}\n`,
  )
}

function penalties(): Partial<SamplerSettings> {
  return { repetitionPenalty: 1.1, presencePenalty: 0.5, frequencyPenalty: 0.5, logitBias: [[7, -100]] }
}

function idsOf(count: number, seed: number, vocabulary: number): number[] {
  return Array.from({ length: count }, (_, i) => Math.floor(uniform(seed, i) * vocabulary))
}
