// Settings: profile, looks, password, blocked people, data, account.
import {useState} from "../vendor/hooks.mjs"
import {unblock} from "../client/actions.js"
import {ApiError, call, send} from "../client/api.js"
import {Choices} from "../client/choices.js"
import {forgetAll, useDraft} from "../client/drafts.js"
import {fieldError} from "../client/errors.js"
import {html} from "../client/html.js"
import {t} from "../client/i18n.js"
import {useList} from "../client/lists.js"
import {Button, Dialog, Field, FormError, Loading, More, PersonRow, Problem} from "../client/parts.js"
import {toast, USERNAME, useSubmit} from "../client/parts.js"
import {people, remember, useProfile} from "../client/people.js"
import {end, rename, replaceToken, session} from "../client/session.js"
import {useStore} from "../client/store.js"

const FIELDS = ["first_name", "second_name", "username", "birthdate", "city", "biography"] // of a profile

export function Settings({entry}) {
    const {user, error, load} = useProfile(session.state.userId)
    return html`
        <h1 tabindex="-1">${t("settings")}</h1>
        <${Section} title="looks"><${Choices} /><//>
        <${Section} title="profile">${error ? html`<${Problem} error=${error} retry=${load} />`
            : user ? html`<${Profile} user=${user} />` : html`<${Loading} rows=${2} />`}<//>
        <${Section} title="password"><${Password} /><//>
        <${Section} title="blocked"><${Blocked} entry=${entry} /><//>
        <${Section} title="sessions"><${Sessions} /><//>
        <${Section} title="data"><p class="quiet">${t("export_text")}</p><${Export} user=${user} /><//>
        <${Section} title="account"><p class="quiet">${t("delete_account_text")}</p><${DeleteAccount} /><//>`
}

function Section({title, children}) {
    return html`<section class="section" aria-labelledby="section-${title}">
        <h2 id="section-${title}">${t(`section_${title}`)}</h2>
        <div>${children}</div>
    </section>`
}

function Profile({user}) {
    const there = Object.fromEntries(FIELDS.map(name => [name, user[name] ?? ""]))
    const [draft, keep] = useDraft("profile", {})
    const profile = {...there, ...draft}
    const form = useSubmit(async () => {
        const {username, ...others} = profile
        const changes = {...others, ...(username && {username: username.trim().replace(/^@/, "").toLowerCase()})}
        await call("PUT", "user/update", changes)
        remember({id: user.id, ...changes})
        if (changes.username && changes.username !== user.username) rename(changes.username)
        keep(null)
        toast(t("saved"))
    })
    const field = (name, more) => html`<${Field} words=${name} name=${name} value=${profile[name]}
        error=${fieldError(form.error, name)}
        onInput=${value => keep({...draft, [name]: value})} ...${more} />`
    return html`<form class="form" onSubmit=${form.submit}>
        <div class="pair">
            ${field("first_name", {required: true, maxlength: 100, autocomplete: "given-name"})}
            ${field("second_name", {required: true, maxlength: 100, autocomplete: "family-name"})}
        </div>
        ${field("username", {...USERNAME, hint: t("username_hint")})}
        <div class="pair">
            ${field("birthdate", {type: "date", required: true, min: "1900-01-01", autocomplete: "bday"})}
            ${field("city", {maxlength: 100, autocomplete: "address-level2"})}
        </div>
        ${field("biography", {area: true, rows: 3, maxlength: 1000})}
        <${FormError} ...${form} />
        <div class="buttons">
            <${Button} type="submit" kind="main" isBusy=${form.isBusy} disabled=${form.wait > 0}>${t("save")}<//>
        </div>
    </form>`
}

function Password() {
    const [old, setOld] = useState("")
    const [next, setNext] = useState("")
    const form = useSubmit(async () => {
        replaceToken(await call("PUT", "user/password", {old_password: old, new_password: next}))
        setOld("")
        setNext("")
        toast(t("password_changed"))
    })
    return html`<form class="form" onSubmit=${form.submit}>
        <input class="unseen" tabindex="-1" aria-hidden="true" autocomplete="username" value=${session.state.account}
            readonly />
        <div class="pair">
            <${Field} words="old_password" name="old_password" type="password" value=${old} onInput=${setOld}
                required autocomplete="current-password" />
            <${Field} words="new_password" name="new_password" type="password" value=${next} onInput=${setNext}
                required minlength="8" maxlength="128"
                autocomplete="new-password" hint=${t("password_hint")}
                error=${fieldError(form.error, "new_password")} />
        </div>
        <${FormError} ...${form} />
        <div class="buttons">
            <${Button} type="submit" isBusy=${form.isBusy} disabled=${form.wait > 0}>${t("change_password")}<//>
        </div>
    </form>`
}

function Blocked({entry}) {
    const users = useStore(people)
    const isNews = ({id}) => people.state[id]?.is_blocked === undefined // an unblocking under way counts more
    const rememberAll = blocks => remember(...blocks.filter(isNews).map(({id}) => ({id, is_blocked: true})))
    const {items, isLoaded, ...list} = useList("block/list?limit=20", entry, rememberAll)
    const known = Object.values(users).filter(user => user.is_blocked && !items.some(({id}) => id === user.id))
    const blocked = [...known, ...items].filter(({id}) => users[id]?.is_blocked) // also those blocked just now
    return html`<ul class="rows">${blocked.map(user => html`<${PersonRow} key=${user.id} user=${user}>
            <${Button} onClick=${() => unblock(user.id)}>${t("unblock")}<//>
        <//>`)}</ul>
        ${isLoaded && !blocked.length && !list.next
            ? html`<p class="quiet">${t("blocked_empty")}</p>`
            : html`<${More} ...${list} />`}`
}

function Sessions() {
    const leave = async everywhere => {
        await call("POST", `logout${everywhere ? "?everywhere=true" : ""}`)
        forgetAll()
        location.hash = "#/"
        end()
    }
    const here = useSubmit(() => leave(false))
    const everywhere = useSubmit(() => leave(true))
    return html`<p class="quiet">${t("sessions_text")}</p>
        <${FormError} error=${here.error ?? everywhere.error} wait=${here.wait || everywhere.wait} />
        <div class="buttons start">
            <${Button} onClick=${here.submit} isBusy=${here.isBusy}>${t("log_out")}<//>
            <${Button} onClick=${everywhere.submit} isBusy=${everywhere.isBusy}>${t("log_out_everywhere")}<//>
        </div>`
}

// An export is complete if its last line says so.
function Export({user}) {
    const form = useSubmit(async () => {
        const text = await (await send("GET", "user/export")).text().catch(() => "")
        if (!text.endsWith('{"type":"end"}\n')) throw new ApiError(0)
        const link = document.createElement("a")
        link.href = URL.createObjectURL(new Blob([text], {type: "application/x-ndjson"}))
        link.download = `lenta-${user?.username ?? session.state.userId}.ndjson`
        link.click()
        setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
    })
    return html`<${FormError} ...${form} />
        <${Button} onClick=${form.submit} isBusy=${form.isBusy} disabled=${form.wait > 0}>${t("export")}<//>`
}

function DeleteAccount() {
    const [isAsked, setAsked] = useState(false)
    const [password, setPassword] = useState("")
    const form = useSubmit(async () => {
        await call("PUT", "user/delete", {password})
        forgetAll()
        location.hash = "#/"
        end()
    })
    return html`<${Button} onClick=${() => setAsked(true)}>${t("delete_account")}<//>
        ${isAsked && html`<${Dialog} title=${t("delete_account_question")} onClose=${() => setAsked(false)}>
            <p>${t("delete_account_warning")}</p>
            <form class="form" onSubmit=${form.submit}>
                <input class="unseen" tabindex="-1" aria-hidden="true" autocomplete="username"
                    value=${session.state.account} readonly />
                <${Field} words="password" name="delete_password" type="password" value=${password}
                    onInput=${setPassword} required autocomplete="current-password" />
                <${FormError} ...${form} />
                <div class="buttons">
                    <${Button} onClick=${() => setAsked(false)}>${t("cancel")}<//>
                    <${Button} type="submit" kind="strong" isBusy=${form.isBusy}
                        disabled=${form.wait > 0}>${t("delete_account")}<//>
                </div>
            </form>
        <//>`}`
}
