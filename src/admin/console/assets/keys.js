// A tenant's credentials: API keys and the password.

import { at, post, put, remove } from "./api.js";
import { closes } from "./connections.js";
import { ask, button, showSecret } from "./dialogs.js";
import { card, count, h, moment, table, words } from "./dom.js";

const COLUMNS = ["Key", "Ends with", "Opens", "Made", "Last used", "Expires", ""];
const DEFAULT_ID = "0000000000000000";

/** The part of the page; `changed(text)` is called when something was changed. */
export function credentials(tenant, changed) {
    const { username } = tenant;
    const ended = ({ closed }) => `${count(closed, "connection or plain request was", "connections and plain requests were")} closed on this server.`;

    const show = async (title, made) => {
        if (!made) return;
        await showSecret(title, made.key, ended(made));
        changed(`${title} was made.`);
    };
    const create = async () => show("The new key", await ask({
        title: "New key", action: "Make the key",
        fields: [
            { name: "name", label: "Name", required: true, maxlength: 64 },
            { name: "days", label: "Expires after days", type: "number", min: 1, max: 36500, hint: "Empty: never." },
            { name: "scope", label: "Paths it opens", hint: "Separated by spaces, below the runtime's node_root. Empty: all." },
        ],
        act: ({ name, days, scope }) => post(at`tenants/${username}/keys`, { name, scope: words(scope), ...(days ? { expires_in_seconds: Number(days) * 86400 } : {}) }),
    }));
    const rotate = async (key) => show("The new secret", await ask({
        title: `Rotate ${key.name}`, action: "Rotate the key",
        text: [await closes(username, () => true, { key: key.id }), "With an overlap they are closed when that is over."],
        fields: [{ name: "hours", label: "Old secret works on for hours", type: "number", min: 0, max: 720, value: "1" }],
        act: ({ hours }) => post(at`tenants/${username}/keys/${key.id}/rotate`, { overlap_seconds: Math.round(Number(hours) * 3600) }),
    }));
    const revoke = async (key) => {
        const isDefault = key.id === DEFAULT_ID;
        const done = await ask({
            title: isDefault ? "Take the default key away?" : `Revoke ${key.name}?`, action: isDefault ? "Take it away" : "Revoke the key", danger: true,
            text: await closes(username, () => true, { key: isDefault ? "default" : key.id }),
            act: () => remove(isDefault ? at`tenants/${username}/api-key` : at`tenants/${username}/keys/${key.id}`),
        });
        if (done) changed(`The key is gone. ${ended(done)}`);
    };
    const regenerate = async () => show("The new default key", await ask({
        title: tenant.api_key ? "Regenerate the default key?" : "Make a default key?", danger: Boolean(tenant.api_key),
        action: tenant.api_key ? "Regenerate it" : "Make it",
        text: tenant.api_key ? ["The present key stops working at once.", await closes(username, () => true, { key: "default" })] : [],
        act: () => post(at`tenants/${username}/api-key`),
    }));
    const rests = ({ grant }) => /^(password|session)/.test(grant);
    const setPassword = async () => {
        const done = await ask({
            title: tenant.password ? "Set another password" : "Set a password", action: "Set the password",
            text: tenant.password ? await closes(username, rests) : [],
            fields: [{ name: "password", label: "New password", type: "password", required: true, maxlength: 72 }],
            act: ({ password }) => put(at`tenants/${username}/password`, { password }),
        });
        if (done) changed(`The password is set. ${ended(done)}`);
    };
    const removePassword = async () => {
        const done = await ask({
            title: "Take the password away?", action: "Take it away", danger: true,
            text: ["They can log in no more; keys work on.", await closes(username, rests)],
            act: () => remove(at`tenants/${username}/password`),
        });
        if (done) changed(`The password is gone. ${ended(done)}`);
    };

    const keys = [tenant.api_key, ...tenant.keys].filter((key) => key);
    const rows = keys.map((key) => {
        const isDefault = key.id === DEFAULT_ID;
        const name = isDefault ? "default key" : key.name;
        return [
            [name, h("br"), h("code", null, isDefault ? "default" : key.id)],
            key.last_four ? h("code", null, `…${key.last_four}`) : "–",
            key.scope.length > 0 ? key.scope.map((path) => [h("code", null, path), " "]) : "all paths",
            moment(key.created), [moment(key.last_used), key.last_used_from ? [" from ", h("code", null, key.last_used_from)] : ""],
            [moment(key.expires), key.previous_works_until ? [h("br"), "old secret until ", moment(key.previous_works_until)] : ""],
            [
                isDefault ? button("Regenerate…", "admin", regenerate, { "aria-label": "Regenerate the default key" }) : button("Rotate…", "admin", () => rotate(key), { "aria-label": `Rotate ${name}` }), " ",
                button(isDefault ? "Take away…" : "Revoke…", "operate", () => revoke(key), { class: "danger", "aria-label": isDefault ? "Take away the default key" : `Revoke ${name}` }),
            ],
        ];
    });
    const actions = [button("New key…", "admin", create), tenant.api_key ? null : button("Make a default key…", "admin", regenerate)];
    return card("Keys and password", actions,
        rows.length > 0 ? table("API keys", COLUMNS, rows) : h("p", { class: "hint" }, "There is no key."),
        h("p", null, tenant.password ? "There is a password. " : "There is no password. "),
        h("div", { class: "row" },
            button(tenant.password ? "Set another password…" : "Set a password…", "admin", setPassword),
            tenant.password ? button("Take the password away…", "admin", removePassword, { class: "danger" }) : null));
}
