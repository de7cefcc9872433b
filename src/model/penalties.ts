/**
 * What a request adds to the logits before anything is chosen from them: its bias, then what repetition costs.
 *
 * Only finite logits are touched, and they stay finite: what the model rules out stays out, what it failed to compute
 * is not hidden, and what a request does never makes a row that nothing can be drawn from. Costs O(ids in the bias) +
 * O(distinct ids said so far), nothing when there is neither.
 */
import type { History } from './history.js'

export type Penalties = {
  /** Added to the logits of ids; -100 as good as bans one. Ids outside the vocabulary are ignored. */
  logitBias: readonly (readonly [id: number, bias: number])[]
  /** Divides a positive, multiplies a negative logit of every token of prompt and answer (Hugging Face); 1 = none. */
  repetitionPenalty: number
  /** Subtracted once for every token that the answer has (OpenAI); 0 = none. */
  presencePenalty: number
  /** Subtracted as often as the answer has the token (OpenAI); 0 = none. */
  frequencyPenalty: number
}

// The largest float32: what is added or multiplied must not make an infinite logit out of a finite one.
const MAX_LOGIT = 3.4028234e38

/** @param logits [vocabulary], changed in place */
export const penalize = (logits: Float32Array, penalties: Penalties, history: History): void => {
  const { logitBias, repetitionPenalty, presencePenalty, frequencyPenalty } = penalties
  for (const [id, bias] of logitBias) change(logits, id, (logit) => logit + bias)
  if (repetitionPenalty !== 1) {
    for (const id of history.everything().ids) {
      change(logits, id, (logit) => (logit < 0 ? logit * repetitionPenalty : logit / repetitionPenalty))
    }
  }
  if (presencePenalty !== 0 || frequencyPenalty !== 0) {
    const { ids, counts } = history.answer()
    for (let i = 0; i < ids.length; i++) {
      const penalty = presencePenalty + frequencyPenalty * (counts[i] as number)
      change(logits, ids[i] as number, (logit) => logit - penalty)
    }
  }
}

const change = (logits: Float32Array, id: number, changed: (logit: number) => number): void => {
  const logit = logits[id]
  if (logit === undefined || !Number.isFinite(logit)) return
  logits[id] = Math.min(MAX_LOGIT, Math.max(-MAX_LOGIT, changed(logit)))
}
