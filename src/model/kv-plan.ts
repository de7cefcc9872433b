/**
 * How the memory for keys and values is divided: decided from numbers alone, before anything is loaded.
 *
 * The bound comes first, and an eighth of it is for the prefix cache, if that wants so much. Where slots and context do
 * not fit into the rest, context is given up down to what most prompts need; then slots down to one, since a prompt
 * that is refused is worse than one that waits; then the rest of the context. What is left goes to the prefix cache,
 * up to its own bound.
 */
import { BUCKET_TOKENS, bytesPerToken, type KvShape, kvBytes } from './kv-cache.js'

export type KvRequest = {
  shape: KvShape
  /** As many positions as the model knows. */
  contextTokens: number
  slots: number
  /** For rows and prefix cache together. */
  maxBytes: number
  prefixCacheBytes: number
}

export type KvPlan = {
  slots: number
  /** Prompt and answer of one row. */
  contextTokens: number
  /** Of all rows. */
  cacheBytes: number
  prefixCacheBytes: number
}

// Below this, a slot is given up rather than more of the context.
const WANTED_CONTEXT = 4096
// Kept for the prefix cache even where rows would take all: without it every turn of a chat computes the whole chat.
const PREFIX_SHARE = 1 / 8

/** @throws Error when not even one row of the shortest context fits */
export const planKv = (request: KvRequest): KvPlan => {
  const { shape, maxBytes } = request
  const rowBytes = maxBytes - Math.min(request.prefixCacheBytes, Math.floor(maxBytes * PREFIX_SHARE))
  const most = roundDown(maxBytes / bytesPerToken(shape))
  const rowTokens = Math.max(roundDown(rowBytes / bytesPerToken(shape)), Math.min(most, BUCKET_TOKENS))
  if (rowTokens === 0) {
    const least = bytesPerToken(shape) * BUCKET_TOKENS
    throw new Error(
      `a row of ${BUCKET_TOKENS} tokens takes ${least} bytes of keys and values; the bound is ${maxBytes}`,
    )
  }
  const wanted = Math.min(request.contextTokens, WANTED_CONTEXT)
  const slots = Math.max(1, Math.min(request.slots, Math.floor(rowTokens / roundUp(wanted))))
  const contextTokens = Math.min(request.contextTokens, roundDown(rowTokens / slots))
  const cacheBytes = kvBytes({ shape, slots, contextTokens, granularity: BUCKET_TOKENS })
  return {
    slots,
    contextTokens,
    cacheBytes,
    prefixCacheBytes: Math.min(request.prefixCacheBytes, maxBytes - cacheBytes),
  }
}

const roundUp = (tokens: number): number => Math.ceil(tokens / BUCKET_TOKENS) * BUCKET_TOKENS
const roundDown = (tokens: number): number => Math.floor(tokens / BUCKET_TOKENS) * BUCKET_TOKENS
