/**
 * Where a benchmark's output is in docs/performance.md.
 */

/** The page with what `name` printed in its place. Tables stay tables; other text is set as it was printed.
 * @throws Error when the page has no place for it */
export function placed(page: string, name: string, said: string, machine: string): string {
  const [begin, end] = [`<!-- bench ${name} -->\n`, '<!-- end -->']
  const from = page.indexOf(begin)
  const to = page.indexOf(end, from)
  if (from < 0 || to < 0) throw new Error(`docs/performance.md has no place for ${name}`)
  const text = said.trim()
  const shown = /^\| /m.test(text) ? text : `\`\`\`\n${text}\n\`\`\``
  return `${page.slice(0, from)}${begin}${machine}\n\n${shown}\n${page.slice(to)}`
}
