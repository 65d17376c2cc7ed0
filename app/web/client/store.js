// A value that components show, and that anything may change.
import {useEffect, useReducer} from "../vendor/hooks.mjs"

export class Store {
    #listeners = new Set()

    constructor(state) {
        this.state = state
    }

    set(changes) {
        this.state = {...this.state, ...changes}
        for (const listener of this.#listeners) listener()
    }

    subscribe(listener) {
        this.#listeners.add(listener)
        return () => this.#listeners.delete(listener)
    }
}

export function useStore(store) {
    const [, render] = useReducer(number => number + 1, 0)
    const shown = store.state
    useEffect(() => {
        if (store.state !== shown) render()
        return store.subscribe(render)
    }, [store])
    return shown
}
