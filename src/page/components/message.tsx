/**
 * One message: a question as it was typed, an answer as Markdown, and what is known of the answer under it.
 */
import { useSignal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import { type Answer, type Question, rateOf, type Stats } from '../conversation.js'
import { unplugged } from '../gateway.js'
import { type Live, lives } from '../live.js'
import { html } from '../markdown.js'
import { regenerate } from '../talk.js'
import { Icon } from './icon.jsx'

export function QuestionView({ question }: { question: Question }) {
  return (
    <article class="question" aria-label="You">
      <p>{question.text}</p>
    </article>
  )
}

export function AnswerView({ answer, last }: { answer: Answer; last: boolean }) {
  const live = answer.status === 'waiting' ? lives.value.get(answer.id) : undefined
  const text = live ? live.text.value : answer.text
  return (
    <article class="answer" aria-label="Answer" aria-busy={answer.status === 'waiting'}>
      <Markdown text={text} />
      {live ? <Progress live={live} /> : <Ending answer={answer} last={last} />}
    </article>
  )
}

function Markdown({ text }: { text: string }) {
  const clean = useMemo(() => html(text), [text])
  if (text === '') return null
  // Sanitised; and the page's policy lets nothing else in.
  return <div class="markdown" dangerouslySetInnerHTML={{ __html: clean }} />
}

/** While it is under way. */
function Progress({ live }: { live: Live }) {
  const ahead = live.ahead.value
  const { value: tokens } = live.tokens
  const { value: rate } = live.rate
  if (tokens === 0) {
    const waiting = unplugged.value ? 'Waiting for the plug' : 'Thinking …'
    const queue = ahead === null || ahead === 0 ? waiting : `Waiting, ${ahead} ahead of you`
    return (
      <p class="facts waiting" role="status">
        <span class="pulse" aria-hidden="true" /> {queue}
      </p>
    )
  }
  return (
    <p class="facts">
      {tokens} tokens{rate !== null && ` · ${rate.toFixed(0)} tokens/s`}
    </p>
  )
}

function Ending({ answer, last }: { answer: Answer; last: boolean }) {
  const { status, reason, stats, text } = answer
  return (
    <footer class="ending">
      {status === 'canceled' && <span class="tag">Stopped{reason === null ? '' : `: ${reason}`}</span>}
      {(status === 'failed' || status === 'lost') && (
        <p class="failure" role="alert">
          {reason}
        </p>
      )}
      {stats !== null && <Facts stats={stats} />}
      <span class="actions">
        {text !== '' && <Copy text={text} />}
        {last && status !== 'waiting' && (
          <button
            type="button"
            class="icon-button small"
            aria-label="Answer again"
            title="Answer again"
            onClick={regenerate}
          >
            <Icon name="again" />
          </button>
        )}
      </span>
    </footer>
  )
}

function Facts({ stats }: { stats: Stats }) {
  const rate = rateOf(stats)
  return (
    <span class="facts">
      {stats.tokens} tokens
      {rate !== null && ` · ${rate.toFixed(0)} tokens/s`}
      {stats.firstTokenMs !== null && ` · first after ${duration(stats.firstTokenMs)}`}
      {stats.finish === 'length' && ' · cut at its maximum length'}
    </span>
  )
}

const duration = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`)

const COPIED_MS = 1500

function Copy({ text }: { text: string }) {
  const copied = useSignal(false)
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(text)
    copied.value = true
    setTimeout(() => {
      copied.value = false
    }, COPIED_MS)
  }
  // The clipboard is there on a secure page only.
  if (!navigator.clipboard) return null
  return (
    <button type="button" class="icon-button small" aria-label="Copy" title="Copy" onClick={copy}>
      <Icon name={copied.value ? 'check' : 'copy'} />
    </button>
  )
}
