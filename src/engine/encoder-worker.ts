/**
 * The entry of an encoder's worker thread: some texts in, their embeddings out.
 *
 * Piscina calls this for each piece, one at a time. The model is loaded with the first and stays; the vectors are
 * moved to the main thread, not copied. What goes wrong is a value: a call that throws is a thread that was lost.
 */
import { move, transferableSymbol, valueSymbol, workerData } from 'piscina'
import { Encoder } from '../model/encoder.js'
import type { EncoderSource } from '../model/model.js'
import type { EncoderReply } from './messages.js'

// Piscina's own type says any; encoder-threads.ts gives it.
const source = workerData as EncoderSource
let encoder: Encoder | null = null

export default async function embed(texts: string[]): Promise<object> {
  const reply = await answer(texts)
  const embeddings = reply.type === 'embeddings' ? reply.embeddings : []
  const buffers = embeddings.flatMap((embedding) => (embedding.type === 'embedded' ? [embedding.vector.buffer] : []))
  return move({ [transferableSymbol]: buffers, [valueSymbol]: reply })
}

const answer = async (texts: string[]): Promise<EncoderReply> => {
  try {
    encoder ??= await Encoder.load(source)
  } catch (error) {
    return { type: 'unloadable', reason: (error as Error).message }
  }
  return { type: 'embeddings', embeddings: await encoder.embedEach(texts) }
}
