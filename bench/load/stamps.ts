/**
 * How late tokens come, from the stamps of the scripted model in them (`i=K,t=MICROSECONDS;`).
 */
const STAMP = Buffer.from(',t=')
const [ZERO, SEMICOLON] = [...Buffer.from('0;')] as [number, number]

/**
 * Adds the milliseconds of each stamp in `buffer[from … to)` to `into`.
 * @param fresh where the new bytes begin: a stamp counts when it ends there or later, so once
 */
export function readStamps(
  buffer: Buffer,
  from: number,
  fresh: number,
  to: number,
  nowUs: number,
  into: number[],
): void {
  for (let at = from; ; ) {
    at = buffer.indexOf(STAMP, at)
    if (at < 0 || at >= to) return
    at += STAMP.length
    let us = 0
    while (at < to && buffer[at] !== SEMICOLON) us = us * 10 + (buffer[at++] as number) - ZERO
    if (at >= to) return
    if (at >= fresh) into.push((nowUs - us) / 1000)
  }
}
