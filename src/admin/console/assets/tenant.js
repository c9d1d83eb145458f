// One tenant.

import { at, get, post, put, remove } from "./api.js";
import { closes, connectionList } from "./connections.js";
import { ask, button, say } from "./dialogs.js";
import { card, count, facts, field, h, number, table, values, words } from "./dom.js";
import { credentials } from "./keys.js";
import { list } from "./list.js";
import { REFUSAL_COLUMNS, refusalCells } from "./overview.js";
import { sessionList } from "./others.js";
import { runtimeList } from "./runtimes.js";
import { instanceOf, isOwned, planChoices, runtimeFields, stateChip } from "./tenants.js";

const ended = ({ closed }) => `${count(closed, "connection or plain request was", "connections and plain requests were")} closed on this server.`;
const tag = ({ revision }) => ({ "If-Match": `"${revision}"` });

/** Replaces the settings as they were looked at; if somebody else was quicker that is refused. */
const write = (tenant, settings) => put(at`tenants/${tenant.username}`, settings, tag(tenant));

const BACK = "If the runtime's address or roots change, its live connections stay or are told 1012, as instance.on_change says.";

async function edit(tenant, changed) {
    const { settings } = tenant;
    const plans = await planChoices();
    const done = await ask({
        title: `Settings of ${tenant.username}`, action: "Save the settings", text: [BACK, await closes(tenant.username)].slice(0, settings.instance ? 2 : 0),
        fields: [
            { name: "plan", label: "Plan", options: plans, value: settings.plan ?? "" },
            ...runtimeFields(settings.instance),
            { name: "origins", label: "Allowed origins", type: "area", rows: 3, value: (settings.allowed_origins ?? []).join("\n"), hint: "One per line: pages that may use the password, as in https://dashboard.example.org." },
        ],
        act: (given) => write(tenant, { ...settings, plan: given.plan || null, instance: instanceOf(given, settings.instance), allowed_origins: words(given.origins) }),
    });
    if (done) changed(`The settings are saved. ${ended(done)}`);
}

async function editJson(tenant, changed) {
    const done = await ask({
        title: `Settings of ${tenant.username} as JSON`, action: "Save the settings", text: [BACK],
        fields: [{ name: "json", label: "As in a profiles file", type: "area", rows: 14, class: "code", value: JSON.stringify(tenant.settings, null, 2) }],
        act: ({ json }) => {
            let settings;
            try {
                settings = JSON.parse(json);
            } catch (error) {
                throw new Error(`This is no JSON: ${error.message}`);
            }
            return write(tenant, settings);
        },
    });
    if (done) changed(`The settings are saved. ${ended(done)}`);
}

async function setDisabled(tenant, disabled, changed) {
    const { username } = tenant;
    const done = await ask({
        title: disabled ? `Disable ${username}?` : `Enable ${username}?`, danger: disabled,
        action: disabled ? "Disable the tenant" : "Enable the tenant",
        text: disabled ? ["They are answered as if they did not exist.", await closes(username)] : "Their keys and password work again.",
        act: () => put(at`tenants/${username}/disabled`, { disabled }),
    });
    if (done) changed(disabled ? `${username} is disabled. ${ended(done)}` : `${username} is enabled.`);
}

async function removeTenant(tenant) {
    const { username } = tenant;
    const done = await ask({
        title: `Remove ${username}?`, action: "Remove the tenant", danger: true,
        text: ["Settings, keys and password are gone for good; the runtime itself is not touched.", await closes(username)],
        fields: [{ name: "again", label: `Type ${username} to go on`, required: true }],
        act: ({ again }) => {
            if (again.trim() !== username) throw new Error(`That is not ${username}.`);
            return remove(at`tenants/${username}`, tag(tenant));
        },
    });
    if (!done) return;
    location.hash = "#/tenants";
    addEventListener("hashchange", () => setTimeout(() => say(`${username} is removed. ${ended(done)}`)), { once: true });
}

function outline(tenant, changed) {
    const { settings } = tenant;
    const { instance } = settings;
    const disabled = Boolean(settings.disabled);
    return card("State and settings", [
        button("Change…", "admin", () => edit(tenant, changed)),
        button("As JSON…", "admin", () => editJson(tenant, changed)),
        button(disabled ? "Enable…" : "Disable…", "operate", () => setDisabled(tenant, !disabled, changed), { class: disabled ? "" : "danger" }),
        button("Remove…", "admin", () => removeTenant(tenant), { class: "danger" }),
    ], facts([
        ["State", stateChip(disabled)], ["Plan", settings.plan ?? "none: no limits"], ["Live on this server", number(tenant.live)],
        ["Runtime", instance ? isOwned(instance) ? "run by flowgate" : h("code", null, instance.address) : "none"],
        instance ? ["httpNodeRoot", h("code", null, instance.node_root || "/")] : null,
        instance ? ["httpAdminRoot", instance.admin_root ? h("code", null, instance.admin_root) : "none"] : null,
        instance?.tls ? ["TLS", "verified by settings of its own"] : null,
        instance ? ["When the instance changes", instance.on_change === "move" ? "connections move" : "connections stay"] : null,
        ["Allowed origins", (settings.allowed_origins ?? []).join(" ") || "none"],
        ["Revision", number(tenant.revision)], ["Id", h("code", null, tenant.id)],
    ]));
}

/** What would become of a request. */
function explain(tenant) {
    const said = h("div", { role: "status" });
    const fields = [
        { name: "method", label: "Method", value: "GET", options: ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].map((method) => [method, method]) },
        { name: "url", label: "URL", required: true, value: `http://127.0.0.1:8080/public/${tenant.username}/hello`, hint: "As a client would ask; ws:// for a WebSocket handshake." },
        { name: "headers", label: "Headers", type: "area", rows: 3, hint: "One per line, as in apikey: KEY. A ticket in the request is used up." },
    ];
    const onsubmit = async (event) => {
        event.preventDefault();
        const { method, url, headers } = values(event.target);
        try {
            const answer = await post("explain", { method, url, headers: headers.split("\n").filter((line) => line.trim()) });
            said.replaceChildren(
                h("p", null, h("span", { class: `chip ${answer.refused ? "bad" : "good"}` }, answer.refused ? "refused" : "accepted")),
                table("What would become of it", ["What", "Value"], answer.lines.map(({ what, value }) => [what, value])));
        } catch (error) {
            said.replaceChildren(h("p", { class: "notice bad" }, error.message));
        }
    };
    const go = button("Explain", "operate", null, { type: "submit" });
    return card("Explain a request", null, h("p", { class: "hint" }, "Says what would become of it, without making it."), h("form", { class: "fields", onsubmit }, fields.map(field), go), said);
}

export function tenant(root, { name }) {
    let parts = [];
    let gone = false;
    const fixed = h("div");
    const own = h("div");
    root.append(h("p", null, h("a", { href: "#/tenants" }, "All tenants")), fixed, own);

    const draw = async () => {
        const found = await get(at`tenants/${name}`);
        if (gone) return;
        fixed.replaceChildren(outline(found, changed), credentials(found, changed));
        if (parts.length > 0) return;
        const live = connectionList(name, {});
        const refused = list({
            title: "Refusals on this server", columns: REFUSAL_COLUMNS, empty: "Nothing of theirs was refused lately.",
            load: async (_, after) => {
                const page = await get("refusals", { tenant: name, after, limit: 20 });
                return { items: page.refusals.map((one) => ({ ...one, id: one.number })), next: page.next };
            },
            actions: () => [button("Refresh", "read", () => refused.again())],
            cells: refusalCells,
        });
        const browsers = sessionList(name);
        const owned = isOwned(found.settings.instance) ? [runtimeList(name)] : [];
        parts = [...owned, live, refused, browsers];
        own.append(...parts.map(({ element }) => element), explain(found));
        for (const part of parts) part.reload();
    };
    const fail = (error) => {
        if (!gone) say(error.message, "bad");
    };
    const changed = async (text) => {
        await draw().catch(fail);
        if (gone) return;
        say(text);
        document.querySelector("h1")?.focus({ preventScroll: true });
        for (const part of parts) part.again();
    };
    draw().catch(fail);
    return () => {
        gone = true;
        for (const part of parts) part.stop();
    };
}
