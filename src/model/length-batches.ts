/**
 * Which texts share a call: those of like length, so that little of a batch is padding.
 *
 * Rows go longest first, and a batch is full when its padded size would pass the bound. It also ends where the next
 * row is less than half as long as its longest: no row is ever filled up to more than twice its length, and a call
 * more costs less than that.
 */

/**
 * @param lengths of the rows, in tokens
 * @param maxTokens rows x longest row; a single row may be over it
 * @returns batches of indices into `lengths`, each index once
 */
export const batchByLength = (lengths: readonly number[], maxTokens: number): number[][] => {
  const batches: number[][] = []
  const longestFirst = lengths.map((length, index) => ({ length, index })).sort((a, b) => b.length - a.length)
  let batch: number[] = []
  let longest = 0
  for (const { length, index } of longestFirst) {
    if (batch.length === 0 || (batch.length + 1) * longest > maxTokens || 2 * length < longest) {
      batch = []
      batches.push(batch)
      longest = length
    }
    batch.push(index)
  }
  return batches
}
