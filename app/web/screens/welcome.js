// Log in; what a visitor sees first.
import {useEffect, useLayoutEffect, useRef, useState} from "../vendor/hooks.mjs"
import {call} from "../client/api.js"
import {Choices} from "../client/choices.js"
import {useDraft} from "../client/drafts.js"
import {html} from "../client/html.js"
import {t} from "../client/i18n.js"
import {Button, Dialog, Field, FormError, useSubmit} from "../client/parts.js"
import {enter, route} from "../client/router.js"
import {begin, end, session} from "../client/session.js"
import {useStore} from "../client/store.js"

const ID = /^\d{15,19}$/ // a username has letters, or fewer digits

export async function logIn(account, password) {
    const name = account.trim().replace(/^@/, "")
    begin(await call("POST", "login", {[ID.test(name) ? "id" : "username"]: name, password}), name)
}

// The frame of both screens without a session.
export function Door({title, children}) {
    const main = useRef()
    useLayoutEffect(() => enter(`door ${route.state.name}`, main.current), [])
    useEffect(() => {
        document.title = `${title} · Lenta`
    })
    return html`<div class="door">
        <header class="door-brand">
            <p class="wordmark">lenta</p>
            <p class="motto">${t("motto")}</p>
            <p class="quiet">${t("motto_more")}</p>
        </header>
        <main class="door-form" id="main" ref=${main}><h1 tabindex="-1">${title}</h1>${children}</main>
        <footer class="door-foot"><${Choices} /><a href="docs">${t("for_developers")}</a></footer>
    </div>`
}

export function Welcome() {
    const [account, keep] = useDraft("account", "")
    const [password, setPassword] = useState("")
    const form = useSubmit(async () => {
        await logIn(account, password)
        keep(null)
    })
    return html`<${Door} title=${t("log_in")}>
        <form class="form" onSubmit=${form.submit}>
            <${Field} words="account" name="username" value=${account} onInput=${keep} required
                autocomplete="username" autocapitalize="off" spellcheck="false" />
            <${Field} words="password" name="password" type="password" value=${password} onInput=${setPassword}
                required autocomplete="current-password" />
            <${FormError} ...${form} />
            <${Button} type="submit" kind="main wide" isBusy=${form.isBusy} disabled=${form.wait > 0}>${t("log_in")}<//>
        </form>
        <p class="quiet">${t("no_account")} <a href="#/signup">${t("sign_up")}</a></p>
    <//>`
}

// Over the screen on which the token was refused, so that nothing on it is lost.
export function LogInAgain() {
    const {account, userId} = useStore(session)
    const [password, setPassword] = useState("")
    const form = useSubmit(async () => begin(await call("POST", "login", {id: userId, password}), account))
    return html`<${Dialog} title=${t("log_in_again")}>
        <p>${t("log_in_again_text", {account})}</p>
        <form class="form" onSubmit=${form.submit}>
            <input class="unseen" tabindex="-1" aria-hidden="true" autocomplete="username" value=${account} readonly />
            <${Field} words="password" name="again" type="password" value=${password} onInput=${setPassword} required
                autocomplete="current-password" />
            <${FormError} ...${form} />
            <div class="buttons">
                <${Button} onClick=${end}>${t("log_out")}<//>
                <${Button} type="submit" kind="main" isBusy=${form.isBusy} disabled=${form.wait > 0}>${t("log_in")}<//>
            </div>
        </form>
    <//>`
}
