// All tenants, and new ones.

import { all, at, get, post, put } from "./api.js";
import { ask, button, showSecret } from "./dialogs.js";
import { h, number } from "./dom.js";
import { list } from "./list.js";
import { tenantLink } from "./overview.js";

/** Names of plans, for a choice. */
export async function planChoices() {
    const plans = await all("plans", "plans");
    return [["", "no plan: no limits"], ...plans.map(({ name }) => [name, name])];
}

/** Whether flowgate runs what an instance says. */
export const isOwned = (instance) => ["process", "kubernetes"].includes(instance?.provider);

/** What is asked about a runtime; the same for a new tenant and for settings. */
export function runtimeFields(instance) {
    return [
        { name: "address", label: "Runtime's address", value: instance?.address ?? "", placeholder: "http://10.1.0.17:1880", hint: isOwned(instance) ? "None: flowgate runs it." : "http:// or https://, host and port. Empty: no runtime yet." },
        { name: "node_root", label: "httpNodeRoot", value: instance?.node_root ?? "/api" },
        { name: "admin_root", label: "httpAdminRoot", value: instance ? instance.admin_root ?? "" : "/red", hint: "Empty: a runtime without editor and admin API." },
    ];
}

/** The instance that the fields say, with what else `before` has. */
export function instanceOf({ address, node_root: nodeRoot, admin_root: adminRoot }, before) {
    // What flowgate runs has no address to be asked for.
    if (isOwned(before) && !address.trim()) return { ...before, node_root: nodeRoot.trim(), admin_root: adminRoot.trim() || null };
    if (!address.trim()) return null;
    return { ...before, address: address.trim(), node_root: nodeRoot.trim(), admin_root: adminRoot.trim() || null };
}

async function create() {
    const plans = await planChoices();
    const made = await ask({
        title: "New tenant", action: "Create the tenant",
        fields: [
            { name: "username", label: "Username", required: true, hint: "Lower-case letters, digits and hyphens; it cannot be changed." },
            { name: "plan", label: "Plan", options: plans },
            ...runtimeFields(null),
            { name: "password", label: "Password", type: "password", hint: "Empty: none for now." },
            { name: "key", label: "Make an API key", type: "checkbox", value: true },
        ],
        act: async (given) => {
            const username = given.username.trim();
            const settings = { instance: instanceOf(given) };
            if (given.plan) settings.plan = given.plan;
            if (given.password) settings.password = given.password;
            await put(at`tenants/${username}`, settings, { "If-None-Match": "*" });
            const key = given.key ? (await post(at`tenants/${username}/api-key`)).key : null;
            return { username, key };
        },
    });
    if (!made) return;
    if (made.key) await showSecret(`${made.username}'s API key`, made.key);
    location.hash = `#/tenants/${encodeURIComponent(made.username)}`;
}

export const stateChip = (disabled) => h("span", { class: `chip ${disabled ? "bad" : "good"}` }, disabled ? "disabled" : "enabled");

export function tenants(root, { query }) {
    const shown = list({
        title: "Tenants by name and state",
        filters: [
            { name: "prefix", label: "Name begins with", type: "search", value: query.prefix ?? "" },
            { name: "disabled", label: "State", value: query.disabled ?? "", options: [["", "all"], ["false", "enabled"], ["true", "disabled"]] },
            { name: "plan", label: "Plan", value: query.plan ?? "", hint: "" },
        ],
        columns: ["Tenant", "State", "Plan", "Keys", "Live here"],
        empty: "No tenant is like that.",
        load: async ({ prefix, disabled, plan }, after) => {
            const found = await get("tenants", { prefix: prefix.trim(), disabled, plan: plan.trim(), after, limit: 50 });
            return { items: found.tenants, next: found.next, note: found.next === undefined ? "" : "There are more." };
        },
        actions: () => [button("New tenant…", "admin", create, { class: "primary" })],
        cells: ({ username, disabled, plan, keys, live }) => [tenantLink(username), stateChip(disabled), plan ? h("a", { href: "#/plans" }, plan) : "–", number(keys), live > 0 ? h("a", { href: `#/connections?tenant=${encodeURIComponent(username)}` }, number(live)) : "0"],
    });
    root.append(shown.element);
    shown.reload();
    return shown.stop;
}
