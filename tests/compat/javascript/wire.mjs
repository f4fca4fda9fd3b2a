// A program's side of the protocol that ../programs.py speaks: one line of JSON for a request, one for its answer.
import { createInterface } from 'node:readline'

export const PATIENCE_MS = 60_000
export const brokers = process.argv[2].split(',')

// The error of a request that the client has no call for.
export class Cannot extends Error {}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const say = answer => process.stdout.write(JSON.stringify(answer) + '\n')

// Writes `values` by `send` in two halves, and waits between them until the rest may follow.
export async function inHalves (values, send) {
  const middle = Math.floor(values.length / 2)
  await send(values.slice(0, middle))
  say({ half: true })
  await lines.next()
  await send(values.slice(middle))
}

// Says that a member of a group has read a record.
export const read = (partition, value) => say({ read: [partition, value] })
// Returns once a member is to leave.
export const toldToLeave = () => lines.next()

export async function serve (handlers) {
  for (let line = await lines.next(); !line.done; line = await lines.next()) {
    const asked = JSON.parse(line.value)
    const patience = asked.seconds ? asked.seconds * 1000 : PATIENCE_MS
    let answer
    try {
      answer = (await within(patience, handlers[asked.do](asked))) ?? {}
    } catch (error) {
      answer = error instanceof Cannot ? { cannot: error.message } : { error: told(error) }
    }
    say(answer)
  }
  process.exit(0)
}

// All that an error says, with what caused it: some clients hide the broker's word below several of their own.
function told (error) {
  const below = [error.cause, ...(error.errors ?? [])].filter(Boolean).map(told)
  return [`${error.name}: ${error.message}`, ...below].join('; ')
}

async function within (ms, work) {
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
