// What a person does to posts and people. It shows at once, and is taken back if it fails.
import {call} from "./api.js"
import {announce} from "./changes.js"
import {explain} from "./errors.js"
import {people, remember} from "./people.js"
import {toast} from "./parts.js"
import {session} from "./session.js"

let drafts = 0 // number of posts that were sent; each has an id above all others until it has its own

// It stands above all posts until the service has taken it.
export async function write(text) {
    const now = new Date().toISOString()
    const post = {text, author_user_id: session.state.userId, created_at: now, updated_at: now, isNew: true}
    const sent = {...post, id: String(10n ** 20n + BigInt(++drafts)), isSending: true}
    announce("written", sent)
    try {
        const id = await call("POST", "post/create", {text})
        announce("deleted", {id: sent.id})
        announce("written", {...post, id})
        count(session.state.userId, "posts", 1)
    } catch (error) {
        announce("deleted", {id: sent.id})
        throw error
    }
}

export async function edit(post, text) {
    announce("edited", {...post, text, updated_at: new Date().toISOString()})
    try {
        await call("PUT", "post/update", {id: post.id, text})
    } catch (error) {
        announce("edited", post)
        throw error
    }
}

export async function erase(post) {
    announce("edited", {...post, isHidden: true})
    try {
        await call("PUT", `post/delete/${post.id}`)
        announce("deleted", {id: post.id})
        count(session.state.userId, "posts", -1)
    } catch (error) {
        if (error.status === 404) return announce("deleted", {id: post.id})
        announce("edited", {...post, isHidden: false})
        refuse(error)
    }
}

export async function follow(id) {
    await change(id, {is_followed: true}, 1, `friend/set/${id}`)
}

export async function unfollow(id) {
    announce("left", {id})
    if (!(await change(id, {is_followed: false}, -1, `friend/delete/${id}`))) announce("unclear", {})
}

export async function block(id) {
    const wasFollowed = people.state[id].is_followed
    announce("left", {id})
    const changes = {is_blocked: true, is_followed: false, follows_you: false}
    if (!(await change(id, changes, wasFollowed ? -1 : 0, `block/set/${id}`))) announce("unclear", {})
}

export async function unblock(id) {
    await change(id, {is_blocked: false}, 0, `block/delete/${id}`)
}

async function change(id, changes, followers, path) {
    const before = people.state[id]
    remember({id, ...changes})
    count(id, "followers", followers)
    count(session.state.userId, "following", followers)
    try {
        await call("PUT", path)
        return true
    } catch (error) {
        remember({id, ...Object.fromEntries(Object.keys(changes).map(key => [key, before?.[key]]))})
        count(id, "followers", -followers)
        count(session.state.userId, "following", -followers)
        refuse(error)
        return false
    }
}

// What was done is shown as it was before. To do it again does no harm, unlike with a post.
function refuse(error) {
    toast(explain(error, error.retryAfter, "error_not_changed"))
}

function count(id, name, number) {
    const user = people.state[id]
    if (user && name in user) remember({id, [name]: user[name] + number})
}
