/**
 * Answers that are under way in this tab: what they have said until now, and where they wait.
 *
 * Text comes token by token and is shown frame by frame: a signal changes once per frame at most, however fast it comes.
 */
import { type Signal, signal } from '@preact/signals'
import { isTerminal, RejoinError, type Run } from '../client/index.js'
import { type Answer, afterEvent, type Conversation, reasonFor, withMessage } from './conversation.js'
import { gateway, noteRefusal } from './gateway.js'
import { kept, save } from './store.js'

export type Live = {
  text: Signal<string>
  /** Tasks ahead; null when it does not wait. */
  ahead: Signal<number | null>
  tokens: Signal<number>
  /** Tokens a second, by the gateway's clock. */
  rate: Signal<number | null>
  run: Run
}

const QUEUE_LOOK_MS = 2000

export const lives = signal<ReadonlyMap<string, Live>>(new Map())

/** Follows an answer that has not ended: asks for it, or finds its task. */
export function follow(conversationId: string, answer: Answer): void {
  if (lives.peek().has(answer.id)) return
  const { request, task, key } = answer
  const run =
    task !== null || request === null ? gateway.attach(task ?? '') : gateway.run(request, { idempotencyKey: key })
  const live: Live = { text: signal(''), ahead: signal(null), tokens: signal(0), rate: signal(null), run }
  lives.value = new Map(lives.peek()).set(answer.id, live)
  if (task === null) void keepTask(conversationId, answer.id, run)
  void read(conversationId, answer.id, live)
}

/** Ends it, wherever it is read. */
export async function stop(answerId: string): Promise<void> {
  // What is wrong with the task is told where it is read.
  await lives
    .peek()
    .get(answerId)
    ?.run.cancel()
    .catch(() => {})
}

/** What was asked for has a name now, by which any tab finds it. */
async function keepTask(conversationId: string, answerId: string, run: Run): Promise<void> {
  try {
    const { id } = await run.task
    change(conversationId, answerId, (answer) => ({ ...answer, task: id, request: null }))
  } catch {
    // `read` tells why.
  }
}

async function read(conversationId: string, answerId: string, live: Live): Promise<void> {
  let text = ''
  let firstTokenAt = 0
  const show = oncePerFrame(() => {
    live.text.value = text
  })
  const watching = watchQueue(live)
  const finish = (make: (answer: Answer) => Answer): void => {
    change(conversationId, answerId, make)
    const rest = new Map(lives.peek())
    rest.delete(answerId)
    lives.value = rest
  }
  try {
    for await (const event of live.run) {
      if (event.type === 'queued') live.ahead.value = event.position
      else live.ahead.value = null
      if (event.type === 'token') {
        firstTokenAt ||= event.at
        text += event.text
        live.tokens.value += event.tokens
        const seconds = (event.at - firstTokenAt) / 1000
        live.rate.value = seconds > 0.2 ? (live.tokens.value - 1) / seconds : null
        show()
      } else if (isTerminal(event)) finish((answer) => afterEvent(answer, event, text))
    }
  } catch (error) {
    noteRefusal(error)
    if (error instanceof RejoinError) finish((answer) => refused(answer, error, text))
  } finally {
    clearInterval(watching)
  }
}

function refused(answer: Answer, error: RejoinError, text: string): Answer {
  const lost = error.code === 'log_gone' || error.code === 'task_not_found'
  const reason =
    error.status === 401 ? 'The gateway wants an API key: see Settings.' : reasonFor(error.code, error.message)
  return { ...answer, request: null, status: lost ? 'lost' : 'failed', text, reason }
}

/** The place in the queue is told once, when the task is accepted; how it moves on is looked up. */
function watchQueue(live: Live): ReturnType<typeof setInterval> {
  return setInterval(async () => {
    const { id } = live.run
    if (id === null || !live.ahead.peek()) return
    const task = await gateway.task(id, AbortSignal.timeout(QUEUE_LOOK_MS)).catch(() => null)
    if (task !== null && live.ahead.peek() !== null) live.ahead.value = task.queue_position
  }, QUEUE_LOOK_MS)
}

/** In what is kept now: another tab may have changed the conversation meanwhile. */
function change(conversationId: string, answerId: string, make: (answer: Answer) => Answer): void {
  const conversation: Conversation | undefined = kept(conversationId)
  const answer = conversation?.messages.find(({ id }) => id === answerId)
  // Whoever came first has said how it ended.
  if (!conversation || answer?.role !== 'assistant' || answer.status !== 'waiting') return
  save(withMessage(conversation, make(answer)))
}

function oncePerFrame(act: () => void): () => void {
  let asked = false
  return () => {
    if (asked) return
    asked = true
    // A tab in the background has no frames, and nobody looks at it.
    requestAnimationFrame(() => {
      asked = false
      act()
    })
  }
}
