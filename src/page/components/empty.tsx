/**
 * What a conversation shows before its first message: what this is, something to try, and how to do it without a page.
 */
import { ask } from '../talk.js'

const SAMPLES = [
  'Tell me a story about a fox who lost a kite.',
  'Tell me a story about a lighthouse and a small boat.',
  'Tell me a story about two friends who find a map.',
]

export function Empty() {
  const curl = `curl -N ${location.origin}/v1/tasks -H 'Accept: text/event-stream' -d '{"prompt":"${SAMPLES[0]}"}'`
  return (
    <div class="empty">
      <h2>Answers that survive the connection</h2>
      <p>
        Reload this page in mid-answer, open it in a second tab, or pull the plug: the answer goes on, and you miss
        nothing of it.
      </p>
      <ul class="samples">
        {SAMPLES.map((sample) => (
          <li key={sample}>
            <button type="button" class="sample" onClick={() => ask(sample)}>
              {sample}
            </button>
          </li>
        ))}
      </ul>
      <p class="aside">The same without a page:</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre class="curl" tabIndex={0}>
        {curl}
      </pre>
    </div>
  )
}
