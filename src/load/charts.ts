/**
 * Plots as SVG, made as text: they need no script, so a page with them can be sent on and opened anywhere. Colours come from
 * the page's style, by class, so that they follow its light and dark.
 */
export type Series = { name: string; points: readonly (readonly [x: number, y: number])[] }

export type Axis = { label: string; shown: (value: number) => string; log?: boolean }

export type Chart = { title: string; x: Axis; y: Axis; series: Series[] }

export type Bars = { title: string; x: Axis; y: Axis; bars: readonly { from: number; to: number; count: number }[] }

const SIZE = { width: 640, height: 280, left: 64, right: 28, top: 16, bottom: 46 }
const TICKS = 5

type Scale = { of: (value: number) => number; ticks: number[] }

export function lineChart({ title, x, y, series }: Chart): string {
  const all = series.flatMap(({ points }) => points)
  if (all.length === 0) return ''
  const xs = scale(
    x,
    Math.min(...all.map(([x]) => x)),
    Math.max(...all.map(([x]) => x)),
    SIZE.left,
    SIZE.width - SIZE.right,
  )
  const ys = scale(y, 0, Math.max(...all.map(([, y]) => y)), SIZE.height - SIZE.bottom, SIZE.top)
  const lines = series.map(({ points }, index) => {
    const path = points.map(([x, y], at) => `${at === 0 ? 'M' : 'L'}${place(xs.of(x))} ${place(ys.of(y))}`).join('')
    const [only] = points
    const dot =
      points.length === 1 && only
        ? `<circle class="s${index}" cx="${place(xs.of(only[0]))}" cy="${place(ys.of(only[1]))}" r="3"/>`
        : ''
    return `<path class="line s${index}" d="${path}"/>${dot}`
  })
  return figure(title, series.length > 1 ? series.map(({ name }) => name) : [], axes(x, y, xs, ys) + lines.join(''))
}

export function barChart({ title, x, y, bars }: Bars): string {
  const [first, last] = [bars[0], bars.at(-1)]
  if (!first || !last) return ''
  const xs = scale(x, first.from, last.to, SIZE.left, SIZE.width - SIZE.right)
  const ys = scale(y, 0, Math.max(...bars.map(({ count }) => count)), SIZE.height - SIZE.bottom, SIZE.top)
  const drawn = bars
    .filter(({ count }) => count > 0)
    .map(({ from, to, count }) => {
      const [left, right, top] = [xs.of(from), xs.of(to), ys.of(count)]
      const height = SIZE.height - SIZE.bottom - top
      const told = `<title>${escapeHtml(`${x.shown(from)} to ${x.shown(to)}: ${y.shown(count)}`)}</title>`
      return `<rect class="bar" x="${place(left)}" y="${place(top)}" width="${place(Math.max(1, right - left - 1))}" height="${place(height)}">${told}</rect>`
    })
  return figure(title, [], axes(x, y, xs, ys) + drawn.join(''))
}

export const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

function figure(title: string, names: string[], inner: string): string {
  const legend = names.map((name, index) => `<span><i class="key s${index}"></i>${escapeHtml(name)}</span>`).join('')
  return `<figure><figcaption><b>${escapeHtml(title)}</b>${legend}</figcaption>
<svg viewBox="0 0 ${SIZE.width} ${SIZE.height}" role="img" aria-label="${escapeHtml(title)}">${inner}</svg></figure>`
}

function axes(x: Axis, y: Axis, xs: Scale, ys: Scale): string {
  const bottom = SIZE.height - SIZE.bottom
  const rows = ys.ticks.map((value) => {
    const at = place(ys.of(value))
    return `<line class="grid" x1="${SIZE.left}" x2="${SIZE.width - SIZE.right}" y1="${at}" y2="${at}"/><text x="${SIZE.left - 8}" y="${at}" dy="0.32em" text-anchor="end">${escapeHtml(y.shown(value))}</text>`
  })
  const columns = xs.ticks.map((value) => {
    const at = place(xs.of(value))
    return `<line class="grid" x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 5}"/><text x="${at}" y="${bottom + 18}" text-anchor="middle">${escapeHtml(x.shown(value))}</text>`
  })
  const middle = (SIZE.left + SIZE.width - SIZE.right) / 2
  return `${rows.join('')}${columns.join('')}<text class="label" x="${middle}" y="${SIZE.height - 8}" text-anchor="middle">${escapeHtml(x.label)}</text>`
}

function scale({ log = false }: Axis, low: number, high: number, from: number, to: number): Scale {
  if (log) {
    const [bottom, top] = [Math.log10(low), Math.log10(Math.max(high, low * 1.001))]
    return {
      of: (value) => from + ((Math.log10(value) - bottom) / (top - bottom)) * (to - from),
      ticks: logTicks(low, high),
    }
  }
  const nice = niceTicks(low, high)
  // Heights end at a tick, so that the highest one can be told; times where they end.
  const top = low === 0 ? Math.max(high, nice.at(-1) ?? high) : high
  const ticks = nice.filter((tick) => tick <= top)
  const span = top - low || 1
  return { of: (value) => from + ((value - low) / span) * (to - from), ticks }
}

/** 0, 20, 40 …: some five steps of 1, 2 or 5 times a power of ten, up to the first one that is not below `high`. */
function niceTicks(low: number, high: number): number[] {
  const rough = Math.max((high - low) / TICKS, Number.MIN_VALUE)
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5, 10].find((times) => times * power >= rough) ?? 10)
  const first = Math.ceil(low / step)
  const count = Math.max(1, Math.ceil(high / step) - first)
  return Array.from({ length: count + 1 }, (_, index) => (first + index) * step)
}

/** 1, 2, 5, 10, 20 …, within the range; powers of ten only where it is wide. */
function logTicks(low: number, high: number): number[] {
  const wide = Math.log10(high / low) > 3
  const ticks: number[] = []
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    for (const times of wide ? [1] : [1, 2, 5]) {
      const value = times * 10 ** power
      if (value >= low && value <= high) ticks.push(value)
    }
  }
  return ticks.length > 0 ? ticks : [low]
}

const place = (value: number): string => value.toFixed(1)
