/**
 * Search in a list of numbers that is in order: where tickets and ordinals are looked up without a walk.
 */

/** The first index of `sorted` (ascending) whose number is not below `value`; its length when there is none. O(log n). */
export function lowerBound(sorted: readonly number[], value: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((sorted[middle] as number) < value) low = middle + 1
    else high = middle
  }
  return low
}
