// Live events of the feed: docs/live.md.
import {address, network} from "./api.js"
import {expire, session} from "./session.js"
import {Store} from "./store.js"

const SILENCE_MS = 40_000 // the server sends something every 15 s
const HIDDEN_MS = 30_000 // a browser has six connections to a server: a tab in the background gives its one back
const MAX_WAIT_MS = 30_000

export const live = new Store({isConnected: false})
let last = "" // id of the last event, where the next connection goes on
let connection = null // AbortController; `hurry` ends its wait for the next attempt
let wasReached = true

// Call apply(name, data) for each event; and with "connected" if events before it were not received.
export function follow(apply) {
    let hidden
    const listen = () => {
        clearTimeout(hidden)
        if (document.hidden) hidden = setTimeout(stop, HIDDEN_MS)
        else if (!connection) run(apply)
    }
    document.addEventListener("visibilitychange", listen)
    window.addEventListener("pagehide", stop) // a page that the browser keeps for "back" would keep its connection too
    window.addEventListener("pageshow", listen)
    network.subscribe(() => {
        const isReached = network.state.isOnline && network.state.isReached
        if (isReached && !wasReached) connection?.hurry?.()
        wasReached = isReached
    })
    listen()
}

function stop() {
    connection?.abort()
    connection = null
    live.set({isConnected: false})
}

async function run(apply) {
    const mine = (connection = new AbortController())
    let failures = 0
    while (!mine.signal.aborted) {
        let wait
        try {
            wait = await connect(mine.signal, apply, () => (failures = 0))
        } catch {
            wait = 0
        }
        if (mine.signal.aborted) return
        live.set({isConnected: false})
        wait ||= Math.min(MAX_WAIT_MS, 1000 * 2 ** failures++) * (0.5 + Math.random() / 2)
        await new Promise(goOn => {
            mine.hurry = goOn
            setTimeout(goOn, wait)
        })
    }
}

// Apply events until the connection ends. Returns how many milliseconds to wait before the next, 0 if not told.
async function connect(signal, apply, opened) {
    const {token} = session.state
    const silence = new AbortController()
    const headers = {"X-Auth": token, ...(last && {"Last-Event-ID": last})}
    const ended = AbortSignal.any([signal, silence.signal])
    const response = await fetch(address("post/feed/live"), {headers, signal: ended})
    network.set({isReached: true})
    if (response.status === 401) await expire(token)
    if (!response.ok) {
        if (response.status !== 401) apply("connected", {}) // no events: read what is new instead
        return Number(response.headers.get("Retry-After")) * 5000
    }
    opened()
    live.set({isConnected: true})
    if (!last) apply("connected", {})
    let rest = "", retry = 0, timer
    try {
        for await (const text of chunks(response.body)) {
            clearTimeout(timer)
            timer = setTimeout(() => silence.abort(), SILENCE_MS)
            const events = (rest + text).split("\n\n")
            rest = events.pop()
            for (const event of events) {
                const field = Object.fromEntries(event.split("\n").map(line => line.split(/: ?(.*)/s)))
                last = field.id ?? last
                retry = Number(field.retry ?? retry)
                if (!field.data) continue
                const data = JSON.parse(field.data)
                if (field.event !== "end") apply(field.event, data)
                else if (data.reason.startsWith("token_")) await expire(token)
            }
        }
    } finally {
        clearTimeout(timer)
    }
    return retry
}

async function* chunks(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader() // not every browser iterates over a stream
    for (;;) {
        const {done, value} = await reader.read()
        if (done) return
        yield value
    }
}
