/**
 * Runs a decoder graph in the plainest way there is, as the measure for those that are faster: one row, the whole
 * cache given out and fed in again with each step, the likeliest token every time.
 */
import { InferenceSession, Tensor } from 'onnxruntime-node'

export type Greedy = {
  ids: number[]
  /** The logits that each id was chosen from. */
  logits: Float32Array[]
}

export const openGraph = (path: string): Promise<InferenceSession> =>
  InferenceSession.create(path, { logSeverityLevel: 3, intraOpNumThreads: 1, interOpNumThreads: 1 })

/**
 * @param forced ids that follow the prompt instead of the likeliest ones, so that two graphs can be asked the same
 * @returns `steps` ids, whatever they are: nothing ends a text here
 */
export const greedy = async (
  session: InferenceSession,
  prompt: readonly number[],
  steps: number,
  forced: readonly number[] = [],
): Promise<Greedy> => {
  const said: Greedy = { ids: [], logits: [] }
  let past = emptyPast(session)
  let ids = prompt
  for (let step = 0; step < steps; step++) {
    const outputs = await session.run({ ...past, ...inputs(session, ids, prompt.length + step) })
    past = Object.fromEntries(Object.keys(past).map((name) => [name, tensorOf(outputs, presentOf(name))]))
    const logits = lastLogits(tensorOf(outputs, 'logits'))
    const id = argmax(logits)
    said.ids.push(id)
    said.logits.push(logits)
    ids = [forced[step] ?? id]
  }
  return said
}

/** A cache of no positions, by the names it is fed under. */
export const emptyPast = ({ inputMetadata }: InferenceSession, rows = 1): Record<string, Tensor> =>
  Object.fromEntries(
    inputMetadata
      .filter(({ name }) => name.startsWith('past_key_values.'))
      .map((value) => {
        const [, heads, , headSize] = value.isTensor ? value.shape : []
        return [value.name, new Tensor('float32', new Float32Array(0), [rows, Number(heads), 0, Number(headSize)])]
      }),
  )

/** One row: [1, length]. */
export const int64 = (row: readonly number[]): Tensor =>
  new Tensor('int64', BigInt64Array.from(row, BigInt), [1, row.length])

/** Every output of these graphs is a tensor. */
export const tensorOf = (outputs: InferenceSession.ReturnType, name: string): Tensor => outputs[name] as Tensor

/** [batch, sequence, vocabulary] to a copy of the last row's last [vocabulary]. */
export const lastLogits = ({ data, dims }: Tensor): Float32Array => (data as Float32Array).slice(-(dims[2] as number))

export const argmax = (logits: Float32Array): number => logits.indexOf(Math.max(...logits))

/** By how much the likeliest is ahead of the second. */
export const gap = (logits: Float32Array): number => {
  const [second, first] = [...logits].sort((a, b) => a - b).slice(-2) as [number, number]
  return first - second
}

/** For a row of `length` positions, of which `ids` are the last. */
const inputs = (session: InferenceSession, ids: readonly number[], length: number): Record<string, Tensor> => {
  const feeds: Record<string, Tensor> = {
    input_ids: int64(ids),
    attention_mask: int64(new Array<number>(length).fill(1)),
  }
  if (session.inputNames.includes('position_ids')) {
    feeds.position_ids = int64(ids.map((_, i) => length - ids.length + i))
  }
  return feeds
}

const presentOf = (past: string): string => past.replace('past_key_values', 'present')
