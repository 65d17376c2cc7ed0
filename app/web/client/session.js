// The account that is logged in here: its token, kept in localStorage so that all tabs share it.
import {Store} from "./store.js"
import * as storage from "./storage.js"

const KEY = "lenta.session"

// `token` and `userId` are null without a session. `isExpired`: the token is refused; the password is asked for.
export const session = new Store({...load(), isExpired: false})
const waiting = []

function load() {
    const {token = null, userId = null, account = ""} = storage.read(KEY) ?? {}
    return {token, userId, account}
}

// `account` is what was typed to log in, so that it need not be typed again.
export function begin({token, user_id: userId}, account) {
    storage.write(KEY, {token, userId, account})
    session.set({token, userId, account, isExpired: false})
    for (const goOn of waiting.splice(0)) goOn()
}

export function replaceToken({token}) {
    begin({token, user_id: session.state.userId}, session.state.account)
}

// The username has changed. A log-in by id is asked for by the username from now on, too.
export function rename(account) {
    begin({token: session.state.token, user_id: session.state.userId}, account)
}

export function end() {
    storage.remove(KEY)
    session.set({token: null, userId: null, account: "", isExpired: false})
    for (const goOn of waiting.splice(0)) goOn()
}

// Ask for the password again, and wait until there is a new token, or none because the person leaves.
export function expire(token) {
    if (session.state.token !== token) return Promise.resolve()
    session.set({isExpired: true})
    return new Promise(goOn => waiting.push(goOn))
}

window.addEventListener("storage", ({key}) => {
    if (key !== KEY && key !== null) return
    const {token, userId, account} = load()
    if (userId !== session.state.userId) location.reload() // another account: nothing of this one may stay
    else if (token) begin({token, user_id: userId}, account)
})
