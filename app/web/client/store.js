// A value that components show, and that anything may change.
import {Component, h} from "../vendor/preact.mjs"
import {useEffect, useReducer, useRef} from "../vendor/hooks.mjs"

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

// Return what `select` takes of the state. The component is drawn again when that has changed.
export function useStore(store, select = state => state) {
    const [, render] = useReducer(number => number + 1, 0)
    const shown = useRef()
    shown.current = select(store.state)
    useEffect(() => {
        const check = () => select(store.state) !== shown.current && render()
        check()
        return store.subscribe(check)
    }, [store])
    return shown.current
}

// A component that is drawn again only when a property has changed: a feed may have a thousand posts.
export function memo(component) {
    return class extends Component {
        shouldComponentUpdate(next) {
            return Object.keys({...next, ...this.props}).some(key => next[key] !== this.props[key])
        }

        render(properties) {
            return h(component, properties)
        }
    }
}
