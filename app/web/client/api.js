// The HTTP API: docs/api.md. The one place that sends requests, except for live.js.
import {Store} from "./store.js"
import {expire, session} from "./session.js"

const BASE = new URL("../../../", import.meta.url) // of /web/<version>/client/api.js
const TIMEOUT_MS = 30_000
const SLOW_MS = 4_000

// `isReached` is false after a request that got no response; `isSlow` while one takes long.
export const network = new Store({isOnline: navigator.onLine, isReached: true, isSlow: false})
window.addEventListener("online", () => network.set({isOnline: true}))
window.addEventListener("offline", () => network.set({isOnline: false}))

// A response that is an error. `status` 0: there was none. `retryAfter`: seconds. `fields`: names of wrong fields.
export class ApiError extends Error {
    constructor(status, body = {}, retryAfter = 0) {
        super(body.message ?? "no response")
        Object.assign(this, {status, retryAfter, code: body.code, requestId: body.request_id})
        this.fields = Object.keys(body.errors ?? {})
        this.isTemporary = status === 0 || status === 429 || status >= 500
    }
}

export function address(path) {
    return new URL(path, BASE)
}

// Send a request and return its JSON. A token that is refused is renewed by the person, and the request is repeated.
export async function call(method, path, body) {
    return (await send(method, path, body)).json()
}

// Return a page and the address of the next, or null.
export async function page(path) {
    const response = await send("GET", path)
    const next = /<([^>]*)>; *rel="next"/.exec(response.headers.get("Link") ?? "")
    return {items: await response.json(), next: next && next[1]}
}

export async function send(method, path, body) {
    const {token} = session.state
    const response = await attempt(method, path, body, token)
    if (response.ok) return response
    const error = new ApiError(response.status, await json(response), Number(response.headers.get("Retry-After")))
    if (error.status !== 401 || error.code === 1003 || !token) throw error
    await expire(token)
    if (!session.state.token) throw error
    return send(method, path, body)
}

async function attempt(method, path, body, token) {
    const headers = {...(token && {"X-Auth": token}), ...(body && {"Content-Type": "application/json"})}
    const slow = setTimeout(() => network.set({isSlow: true}), SLOW_MS)
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    try {
        const response = await fetch(address(path), {method, headers, signal, body: body && JSON.stringify(body)})
        if (!network.state.isReached) network.set({isReached: true})
        return response
    } catch {
        network.set({isReached: false})
        throw new ApiError(0)
    } finally {
        clearTimeout(slow)
        if (network.state.isSlow) network.set({isSlow: false})
    }
}

function json(response) {
    return response.json().catch(() => ({})) // an error of a proxy is no JSON
}
