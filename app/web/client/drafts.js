// What is typed is kept until it is sent: a reload or a closed tab loses nothing. Passwords are never kept.
import {useState} from "../vendor/hooks.mjs"
import {session} from "./session.js"
import * as storage from "./storage.js"

const PREFIX = "lenta.draft."

function keyOf(name) {
    return `${PREFIX}${session.state.userId ?? ""}.${name}`
}

// [value, keep, show]. `keep(null)` forgets the draft; `show` changes only what is on the screen.
export function useDraft(name, initial) {
    const key = keyOf(name)
    const [value, set] = useState(() => storage.read(key) ?? initial)
    const keep = next => {
        set(next ?? initial)
        if (next === null || next === "") storage.remove(key)
        else storage.write(key, next)
    }
    return [value, keep, set]
}

export function hasDraft(name) {
    return storage.read(keyOf(name)) !== null
}

export function forget(name) {
    storage.remove(keyOf(name))
}

export function forgetAll() {
    storage.keys(`${PREFIX}${session.state.userId}.`).forEach(key => storage.remove(key))
}
