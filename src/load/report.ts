/**
 * The result as one page that needs nothing else: no script, no font, no request. To be read, printed and sent on.
 */
import { cpus } from 'node:os'
import type { Histogram } from '../core/histogram.js'
import { type Axis, barChart, escapeHtml, lineChart } from './charts.js'
import type { Point, Times } from './measure.js'
import type { LoadOptions } from './options.js'
import type { Result } from './run.js'
import { NAMES, type Quantiles, type Summary, shownCount, shownMs } from './summary.js'

const MS: Axis = {
  label: 'ms',
  shown: (ms) =>
    shownMs(ms)
      .replace(/ ms$/, '')
      .replace(/(\.\d*?)0+$/, '$1')
      .replace(/\.$/, ''),
}
const SECONDS: Axis = { label: 'seconds since the end of the warm-up', shown: (s) => `${Number(s.toFixed(1))}` }
const COUNT = (label: string): Axis => ({ label, shown: shownCount })
/** What a percentile is called on its axis, where 99.9 is as far from 99 as that is from 90. */
const PARTS = [0, 0.5, 0.9, 0.99, 0.999]

export function report(result: Result, summary: Summary): string {
  const { options, measure, startedAt } = result
  const { times, points } = measure
  const facts = [
    ['server', options.url],
    ['protocol', options.protocol],
    [
      'clients',
      `${options.clients}${options['slow-readers'] > 0 ? `, ${options['slow-readers']} % of them slow` : ''}`,
    ],
    [
      'arrivals',
      options.arrivals === 'closed'
        ? 'closed: each client one answer after another'
        : `${options.arrivals}, ${options.rate} tasks/s`,
    ],
    [
      'measured',
      `${summary.seconds.toFixed(1)} s, from ${new Date(startedAt + options.warmup * 1000).toISOString().slice(0, 19)}Z`,
    ],
    ['machine', `${cpus().length} x ${cpus()[0]?.model ?? 'CPU'}, Node ${process.versions.node}`],
    ['command', command(options)],
  ] as const
  const title = `Load test of ${new URL(options.url).host}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<dl class="facts">${facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd></div>`).join('')}</dl>
${summary.warnings.map((warning) => `<p class="warning">${escapeHtml(warning)}</p>`).join('\n')}
<section class="tiles">${tiles(summary)}</section>
<section class="charts">
${[
  lineChart({
    title: 'Throughput over time',
    x: SECONDS,
    y: COUNT('tokens a second'),
    series: [{ name: 'tokens a second', points: points.map(({ atS, tokensPerS }) => [atS, tokensPerS]) }],
  }),
  lineChart({
    title: 'Time to first token over time, ms',
    x: SECONDS,
    y: MS,
    series: [
      { name: 'p50', points: timed(points, 'firstTokenP50') },
      { name: 'p99', points: timed(points, 'firstTokenP99') },
    ],
  }),
  lineChart({
    title: 'Gap between tokens over time, ms',
    x: SECONDS,
    y: MS,
    series: [
      { name: 'p50', points: timed(points, 'gapP50') },
      { name: 'p99', points: timed(points, 'gapP99') },
    ],
  }),
  lineChart({
    title: 'Answers under way',
    x: SECONDS,
    y: COUNT('answers'),
    series: [{ name: 'answers', points: points.map(({ atS, active }) => [atS, active]) }],
  }),
  histogram('Time to first token', times.firstToken),
  times.lateness.count > 0
    ? histogram('Lateness of tokens', times.lateness)
    : histogram('Gap between tokens', times.gap),
  percentiles(times),
  times.resume.count > 0 ? histogram('Coming back after a cut', times.resume) : histogram('Whole answers', times.total),
].join('\n')}
</section>
<h2>All numbers</h2>
${numbers(summary)}
<footer>Made by <code>rejoin load</code>. All times count from the moment at which a task was to be begun, so a server that falls behind is not spared the tasks that it holds up (no coordinated omission).</footer>
</main>
</body>
</html>
`
}

/** Without the stretches in which there was none. */
const timed = (
  points: readonly Point[],
  what: 'firstTokenP50' | 'firstTokenP99' | 'gapP50' | 'gapP99',
): [number, number][] => points.filter((point) => point[what] > 0).map((point) => [point.atS, point[what]])

function tiles({ times, tokensPerS, lost, repeated, errors, tasks }: Summary): string {
  const failures = Object.values(errors).reduce((sum, count) => sum + count, 0)
  const told = (value: number | null): string => (value === null ? '–' : shownCount(value))
  const late = times.lateness.count > 0 ? times.lateness : times.gap
  const all: [string, string, boolean][] = [
    ['tokens a second', shownCount(tokensPerS), true],
    ['tasks completed', shownCount(tasks.completed), true],
    ['first token, p50', shownMs(times.firstToken.p50), true],
    ['first token, p99', shownMs(times.firstToken.p99), true],
    [times.lateness.count > 0 ? 'lateness, p99' : 'gap, p99', shownMs(late.p99), true],
    ['events lost', told(lost), (lost ?? 0) === 0],
    ['events repeated', told(repeated), (repeated ?? 0) === 0],
    ['errors', shownCount(failures), failures === 0],
  ]
  return all
    .map(
      ([name, value, good]) =>
        `<div class="tile${good ? '' : ' bad'}"><b>${escapeHtml(value)}</b><span>${name}</span></div>`,
    )
    .join('')
}

function histogram(title: string, times: Histogram): string {
  const buckets = times.buckets()
  const ratio = 2 ** (1 / 12)
  return barChart({
    title,
    x: { ...MS, log: true },
    y: COUNT('events'),
    bars: buckets.map(({ toMs, count }) => ({ from: toMs / ratio, to: toMs, count })),
  })
}

/** Each further nine is as wide as the one before: there the tail can be seen. */
function percentiles(times: Times): string {
  const depth = (part: number): number => -Math.log10(1 - part)
  const steps = Array.from({ length: 61 }, (_, index) => 1 - 10 ** (-index / 20))
  const shown = (at: number): string => {
    const part = PARTS.reduce(
      (near, part) => (Math.abs(depth(part) - at) < Math.abs(depth(near) - at) ? part : near),
      0,
    )
    return Math.abs(depth(part) - at) < 0.01 ? `${Number((part * 100).toFixed(3))} %` : ''
  }
  const named = (Object.keys(NAMES) as (keyof Times)[]).filter((what) => times[what].count > 0 && what !== 'total')
  return lineChart({
    title: 'Percentiles, ms',
    x: { label: 'of all', shown },
    y: MS,
    series: named.map((what) => ({
      name: NAMES[what],
      points: steps.map((part) => [depth(part), times[what].quantile(part)] as const),
    })),
  })
}

function numbers({
  times,
  tasks,
  errors,
  cuts,
  resumes,
  own,
  eventsPerS,
  tokensPerS,
  bytesPerS,
  tasksPerS,
}: Summary): string {
  const row = (cells: string[], tag = 'td'): string =>
    `<tr>${cells.map((cell, index) => (index === 0 ? `<th scope="row">${escapeHtml(cell)}</th>` : `<${tag}>${escapeHtml(cell)}</${tag}>`)).join('')}</tr>`
  const quantiles = ({ p50, p90, p99, p999, max, count }: Quantiles): string[] => [
    ...[p50, p90, p99, p999, max].map(shownMs),
    shownCount(count),
  ]
  const timed = (Object.keys(NAMES) as (keyof Times)[]).filter((what) => times[what].count > 0)
  const rest: [string, string][] = [
    ['tokens a second', shownCount(tokensPerS)],
    [
      'token events a second',
      `${shownCount(eventsPerS)} (${(tokensPerS / Math.max(1, eventsPerS)).toFixed(2)} tokens each)`,
    ],
    ['tasks a second', shownCount(tasksPerS)],
    ['bytes a second', `${shownCount(bytesPerS / 1e6)} MB`],
    ['tasks begun, completed', `${shownCount(tasks.begun)}, ${shownCount(tasks.completed)}`],
    ['tasks that ended otherwise, cut off by the end', `${shownCount(tasks.failed)}, ${shownCount(tasks.unfinished)}`],
    ['tasks begun late', shownCount(tasks.delayed)],
    ['connections cut, resumed', `${shownCount(cuts)}, ${shownCount(resumes)}`],
    ['the load test itself', `${own.cpu.toFixed(2)} cores, busy ${Math.round(own.busy * 100)} % of the time`],
    ...Object.entries(errors).map(([code, count]): [string, string] => [`error ${code}`, shownCount(count)]),
  ]
  return `<div class="wide"><table><thead>${row(['', 'p50', 'p90', 'p99', 'p99.9', 'max', 'count'], 'th')}</thead><tbody>${timed
    .map((what) => row([NAMES[what], ...quantiles(times[what])]))
    .join('')}</tbody></table></div>
<div class="wide"><table><tbody>${rest.map((cells) => row(cells)).join('')}</tbody></table></div>`
}

/** What made this page, without the key. */
function command(options: LoadOptions): string {
  const { url, protocol, clients, arrivals, rate, duration, model, prompt } = options
  const given = [
    `--url ${url}`,
    `--protocol ${protocol}`,
    `--clients ${clients}`,
    ...(arrivals === 'closed' ? [] : [`--arrivals ${arrivals} --rate ${rate}`]),
    `--duration ${duration}`,
    ...(options['cut-every'] > 0 ? [`--cut-every ${options['cut-every']}`] : []),
    ...(options['slow-readers'] > 0 ? [`--slow-readers ${options['slow-readers']}`] : []),
    ...(model === '' ? [] : [`--model ${model}`]),
    ...(prompt === '' ? [] : [`--prompt '${prompt.slice(0, 200)}'`]),
    `--seed ${options.seed}`,
  ]
  return `rejoin load ${given.join(' ')}`
}

const STYLE = `
:root { color-scheme: light dark; --back: #fbfbfa; --card: #fff; --text: #1c1c1a; --soft: #66645e; --rule: #e4e2dc; --s0: #2563c9; --s1: #d4622a; --s2: #2f8f5b; --s3: #8a4fc4; --good: #1c1c1a; --bad: #b3261e; --bad-back: #fdecea; }
@media (prefers-color-scheme: dark) { :root { --back: #161615; --card: #1f1f1d; --text: #ecebe6; --soft: #a3a098; --rule: #35342f; --s0: #6ea3f5; --s1: #f0905a; --s2: #63c58f; --s3: #bb8fee; --good: #ecebe6; --bad: #ff8a80; --bad-back: #3a1f1d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 16px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 32px 0 8px; }
.facts { display: grid; gap: 2px 24px; margin: 0 0 20px; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); }
.facts div { display: flex; gap: 8px; min-width: 0; }
.facts div:last-child { grid-column: 1 / -1; }
.facts dt { color: var(--soft); flex: 0 0 72px; }
.facts dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.facts div:last-child dd, code { font-family: ui-monospace, monospace; font-size: 13px; }
.warning { background: var(--bad-back); color: var(--bad); border-radius: 8px; padding: 10px 14px; margin: 0 0 12px; }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); margin: 0 0 20px; }
.tile, figure { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.tile { padding: 12px 14px; }
.tile b { display: block; font-size: 22px; white-space: nowrap; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.tile.bad b { color: var(--bad); }
.charts { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 460px), 1fr)); }
figure { margin: 0; padding: 12px 14px 6px; break-inside: avoid; }
figcaption { display: flex; flex-wrap: wrap; gap: 4px 14px; font-size: 14px; }
figcaption span { color: var(--soft); }
.key { display: inline-block; width: 14px; height: 3px; margin: 0 5px 4px 0; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--soft); }
.grid { stroke: var(--rule); }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.s0 { stroke: var(--s0); background: var(--s0); fill: var(--s0); } .s1 { stroke: var(--s1); background: var(--s1); fill: var(--s1); } .s2 { stroke: var(--s2); background: var(--s2); fill: var(--s2); } .s3 { stroke: var(--s3); background: var(--s3); fill: var(--s3); }
path.line { fill: none; }
.bar { fill: var(--s0); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 0 0 16px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 14px 5px 0; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; font-weight: 400; }
th[scope='row'] { text-align: left; }
thead th { color: var(--soft); }
footer { color: var(--soft); font-size: 13px; margin-top: 24px; max-width: 70ch; }
@media print { body { background: #fff; } }
`
