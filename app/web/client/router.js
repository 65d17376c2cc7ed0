// Addresses are fragments (#/person/7), so that no address of the API is taken. Each entry of the history has a key.
import {Store} from "./store.js"

const positions = new Map() // by key: how far an entry was scrolled
history.scrollRestoration = "manual"

export const route = new Store(current())

function current() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?")
    const key = history.state?.key ?? crypto.getRandomValues(new Uint32Array(2)).join("")
    if (!history.state?.key) history.replaceState({key}, "")
    const [name = "", ...rest] = path.split("/").map(decode)
    return {name, rest, path, key, query: new URLSearchParams(query)}
}

function decode(text) {
    try {
        return decodeURIComponent(text)
    } catch {
        return text
    }
}

window.addEventListener("popstate", () => {
    const before = route.state
    const next = current()
    if (next.key === before.key) return
    positions.set(before.key, scrollY)
    route.set(next)
})

export function go(hash) {
    if (location.hash === hash) return
    location.hash = hash
}

// Change the address of this entry, for a text that is being typed.
export function rename(hash) {
    history.replaceState(history.state, "", hash)
    route.set({...current()})
}

let entered = null // the screen that was entered last

// Scroll a screen that is entered to where it was left, or to the top, and move the focus to its heading. The first
// screen of the page, and one that is only drawn anew, stay as they are.
export function enter(screen, main) {
    if (entered !== null && entered !== screen) {
        scrollTo(0, positions.get(screen) ?? 0)
        const start = main.querySelector("h1") ?? main
        start.focus({preventScroll: true})
    }
    entered = screen
}
