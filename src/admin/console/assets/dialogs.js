// Dialogs that ask before something is done, and actions that need a role.

import { may } from "./api.js";
import { field, h, values } from "./dom.js";

let dialogs = 0;

function open(title, ...children) {
    const id = `dialog-${dialogs += 1}`;
    const dialog = h("dialog", { "aria-labelledby": id }, h("h2", { id }, title), children);
    const from = document.activeElement;
    dialog.addEventListener("close", () => {
        dialog.remove();
        if (from?.isConnected) from.focus();
    });
    document.body.append(dialog);
    dialog.showModal();
    return dialog;
}

/**
 * Asks, with fields if need be, then does `act` with their values. Whatever that throws is shown and the
 * dialog stays. Returns what it returned, or undefined if nothing was done.
 */
export function ask({ title, text = [], fields = [], action, danger = false, act }) {
    return new Promise((resolve) => {
        let outcome;
        const alert = h("p", { class: "notice bad", role: "alert", hidden: true });
        const done = h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
        const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
        const onsubmit = async (event) => {
            event.preventDefault();
            done.disabled = cancel.disabled = true;
            alert.hidden = true;
            try {
                outcome = (await act(values(event.target))) ?? true;
                dialog.close();
            } catch (error) {
                alert.textContent = error.message;
                alert.hidden = false;
                done.disabled = cancel.disabled = false;
                done.focus();
            }
        };
        const lines = [text].flat().map((line) => (typeof line === "string" ? h("p", null, line) : line));
        const form = h("form", { class: "fields", onsubmit }, lines, fields.map(field), alert, h("div", { class: "row" }, done, cancel));
        const dialog = open(title, form);
        // What is under way is not called off by Escape.
        dialog.addEventListener("cancel", (event) => { if (done.disabled) event.preventDefault(); });
        dialog.addEventListener("close", () => resolve(outcome));
        // What ends something must not be what Enter does first.
        if (danger && fields.length === 0) cancel.focus();
    });
}

/** Shows something until it is closed. */
export function show(title, ...children) {
    return new Promise((resolve) => {
        const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
        const dialog = open(title, children, h("div", { class: "row" }, close));
        dialog.addEventListener("close", resolve);
    });
}

/** Shows a secret, this once. */
export function showSecret(title, secret, said) {
    const shown = h("input", { class: "secret", readonly: true, value: secret, "aria-label": "The new secret" });
    const copied = h("span", { role: "status", class: "hint" });
    const copy = async () => {
        shown.select();
        await navigator.clipboard.writeText(secret).then(() => "Copied.", () => "Select it and copy it.").then((text) => { copied.textContent = text; });
    };
    return show(title, h("p", null, "It is shown this once: copy it now."),
        h("div", { class: "row" }, shown, h("button", { type: "button", onclick: copy }, "Copy"), copied),
        said ? h("p", null, said) : null);
}

/** A button for whoever has the role; for others it says why it does nothing. */
export function button(label, role, act, properties = {}) {
    const allowed = may(role);
    const title = allowed ? null : `This needs a token with the role ${role}.`;
    const onclick = act && (() => Promise.resolve(act()).catch((error) => say(error.message, "bad")));
    return h("button", { type: "button", ...properties, disabled: !allowed, title, onclick }, label);
}

/** Says what was done, or not, at the top of the page. */
export function say(text, kind = "good") {
    const place = document.getElementById("alert");
    place?.replaceChildren(h("p", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" }, text));
    place?.scrollIntoView({ block: "nearest" });
}

/** Closes whatever is open: the page behind it has gone. */
export function closeDialogs() {
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
}
