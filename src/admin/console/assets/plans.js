// Plans: named limits.

import { at, get, put, remove } from "./api.js";
import { ask, button, say } from "./dialogs.js";
import { bytes, h, number } from "./dom.js";
import { list } from "./list.js";

const limit = (value, write = number) => (value === undefined ? "no limit" : write(value));

function limitsOf({ connections, message_bytes: messageBytes, per_second: perSecond, burst, over }) {
    const limits = {};
    if (connections) limits.connections = Number(connections);
    if (messageBytes) limits.message_bytes = Number(messageBytes);
    if (perSecond) limits.messages = { per_second: Number(perSecond), burst: Number(burst || perSecond), over };
    return limits;
}

async function edit(plan, again) {
    const limits = plan?.limits ?? {};
    const given = (value) => (value === undefined ? "" : String(value));
    const done = await ask({
        title: plan ? `Limits of ${plan.name}` : "New plan", action: plan ? "Save the limits" : "Create the plan",
        text: ["Empty: no limit. Message rate and size count at once, the number of connections for new ones."],
        fields: [
            ...(plan ? [] : [{ name: "name", label: "Name", required: true }]),
            { name: "connections", label: "Live connections at once", type: "number", min: 1, value: given(limits.connections) },
            { name: "message_bytes", label: "Bytes of one message", type: "number", min: 0, value: given(limits.message_bytes) },
            { name: "per_second", label: "Messages per second", type: "number", min: 1, max: 1000000, value: given(limits.messages?.per_second) },
            { name: "burst", label: "Messages at once", type: "number", min: 1, max: 1000000, value: given(limits.messages?.burst) },
            { name: "over", label: "What becomes of the rest", options: [["pause", "reading pauses"], ["close", "the connection is closed with 4008"]], value: limits.messages?.over ?? "pause" },
        ],
        act: (wanted) => put(at`plans/${plan?.name ?? wanted.name.trim()}`, limitsOf(wanted), plan ? { "If-Match": `"${plan.revision}"` } : { "If-None-Match": "*" }),
    });
    if (!done) return;
    say(`The plan ${done.name} is saved.`);
    again();
}

async function removePlan(plan, again) {
    const done = await ask({
        title: `Remove ${plan.name}?`, action: "Remove the plan", danger: true,
        text: "No connection is closed. A plan that a tenant has cannot be removed.",
        act: () => remove(at`plans/${plan.name}`, { "If-Match": `"${plan.revision}"` }),
    });
    if (!done) return;
    say(`The plan ${plan.name} is removed.`);
    again();
}

export function plans(root) {
    const shown = list({
        title: "Limits by name",
        columns: ["Plan", "Connections", "Message", "Messages per second", "At once", "Over", ""],
        empty: "There is no plan: no tenant has limits.",
        load: async (_, after) => {
            const found = await get("plans", { after, limit: 50 });
            return { items: found.plans, next: found.next };
        },
        actions: () => [button("New plan…", "admin", () => edit(null, shown.again), { class: "primary" })],
        cells: (plan) => [
            plan.name, limit(plan.limits.connections), limit(plan.limits.message_bytes, bytes), limit(plan.limits.messages?.per_second),
            limit(plan.limits.messages?.burst), plan.limits.messages?.over ?? "–",
            [h("a", { href: `#/tenants?plan=${encodeURIComponent(plan.name)}` }, "Tenants"), " ",
                button("Change…", "admin", () => edit(plan, shown.again), { "aria-label": `Change ${plan.name}` }), " ",
                button("Remove…", "admin", () => removePlan(plan, shown.again), { class: "danger", "aria-label": `Remove ${plan.name}` })],
        ],
    });
    root.append(shown.element);
    shown.reload();
    return shown.stop;
}
