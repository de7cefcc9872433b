/**
 * Tables of results, as Markdown, so that what was printed is what the documents show.
 */
export function markdown(head: string[], rows: string[][]): string {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |\n`
  const rule = line(widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)))
  return line(head) + rule + rows.map(line).join('')
}

/** `-` where there is nothing to compare with. */
export const ratio = (of: number, to: number | undefined): string =>
  to === undefined || Number.isNaN(of / to) ? '-' : (of / to).toFixed(2)
