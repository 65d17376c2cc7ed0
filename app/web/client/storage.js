// localStorage and sessionStorage; a browser may refuse both, and then values last as long as the page.
const kept = new Map()

function attempt(action, otherwise) {
    try {
        return action()
    } catch {
        return otherwise()
    }
}

export function read(key, storage = "localStorage") {
    const text = attempt(() => window[storage].getItem(key), () => kept.get(key) ?? null)
    return attempt(() => JSON.parse(text), () => null)
}

export function write(key, value, storage = "localStorage") {
    attempt(() => window[storage].setItem(key, JSON.stringify(value)), () => kept.set(key, JSON.stringify(value)))
}

export function remove(key, storage = "localStorage") {
    kept.delete(key)
    attempt(() => window[storage].removeItem(key), () => null)
}

export function keys(prefix) {
    return attempt(() => Object.keys(window.localStorage), () => [...kept.keys()]).filter(key => key.startsWith(prefix))
}
