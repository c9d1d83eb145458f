// The server: its settings, its cache, profiles in and out, and its end.

import { all, get, post, send } from "./api.js";
import { ask, button, say } from "./dialogs.js";
import { card, count, facts, h, number, table } from "./dom.js";

const TENANTS_PER_IMPORT = 100;
const FILE_BYTES_MAX = 64 * 1024 * 1024;

async function drain() {
    const status = await get("status");
    const done = await ask({
        title: "Stop this server?", action: "Drain and stop", danger: true,
        text: [
            `It takes no new connections, closes ${count(status.live, "connection or plain request", "connections and plain requests")} with 1001 at an even pace, and ends, as after SIGTERM.`,
            "Whatever watches over the process decides whether it is started again.",
        ],
        act: () => post("drain"),
    });
    if (done) say("The server drains. This page stays up until the end.");
}

/** A file with hashes, for import elsewhere. */
async function download() {
    const done = await ask({
        title: "Export all profiles?", action: "Export",
        text: "The file has the hashes of passwords and keys: keep it as you would keep a password.",
        act: async () => {
            const { plans } = await get("profiles", { limit: 1 });
            return { plans, tenants: await all("profiles", "tenants", {}, Infinity) };
        },
    });
    if (!done) return;
    const url = URL.createObjectURL(new Blob([`${JSON.stringify(done, null, 2)}\n`], { type: "application/json" }));
    h("a", { href: url, download: "profiles.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    say(`${count(done.tenants.length, "tenant")} exported.`);
}

async function read(file) {
    if (file.size > FILE_BYTES_MAX) throw new Error("It is longer than 64 MiB: import it with the command.");
    let profiles;
    try {
        profiles = JSON.parse(await file.text());
    } catch (error) {
        throw new Error(`This is no JSON: ${error.message}`);
    }
    if (!Array.isArray(profiles.tenants)) throw new Error("A profiles file has tenants.");
    return profiles;
}

async function upload() {
    const done = await ask({
        title: "Import profiles", action: "Import",
        text: "Tenants and plans that are there already stay as they are, unless they are to be replaced: what rests on a credential or setting that goes is closed. It is sent in parts of 100 tenants; what came before a part that is refused stays.",
        fields: [
            { name: "file", label: "Profiles file", type: "file", accept: ".json,application/json", required: true },
            { name: "replace", label: "Replace what is there", type: "checkbox" },
        ],
        act: async ({ file, replace }) => {
            const { plans = {}, tenants } = await read(file);
            const sum = { created: 0, replaced: 0, left_alone: 0, plans: 0 };
            for (let begin = 0; begin === 0 || begin < tenants.length; begin += TENANTS_PER_IMPORT) {
                const part = { plans: begin === 0 ? plans : {}, tenants: tenants.slice(begin, begin + TENANTS_PER_IMPORT) };
                const said = await send("POST", `profiles?replace=${replace}`, part);
                for (const name of Object.keys(sum)) sum[name] += said[name];
            }
            return sum;
        },
    });
    if (done) say(`${count(done.created, "tenant")} created, ${number(done.replaced)} replaced, ${number(done.left_alone)} left alone; ${count(done.plans, "plan")} written.`);
}

export function server(root) {
    const settings = h("div");
    const cache = h("div");
    const fail = (place) => (error) => place.replaceChildren(h("p", { class: "notice bad", role: "alert" }, error.message));
    const look = () => get("cache").then((said) => {
        const asked = said.hits + said.absent_hits + said.misses;
        cache.replaceChildren(facts([
            ["Tenants in memory", `${number(said.tenants)} of at most ${number(said.tenants_max)}`],
            ["Answered from memory", asked === 0 ? "–" : `${Math.round(((said.hits + said.absent_hits) * 100) / asked)} %`],
            ["Hits", number(said.hits)], ["Known to be nobody's", number(said.absent_hits)], ["Misses", number(said.misses)],
            ["Reads of the registry", number(said.fetches)], ["Evictions", number(said.evictions)], ["Invalidations", number(said.invalidations)],
        ]));
    }, fail(cache));
    get("configuration").then((said) => {
        settings.replaceChildren(table("Settings", ["Setting", "Value", "From"], said.settings.map(({ name, values, source }) => [
            h("code", null, name), values.length > 0 ? values.map((value) => [h("code", null, value), " "]) : "–", source,
        ])));
    }, fail(settings));
    look();
    root.append(
        card("Stop", null, h("p", null, "Takes no new connections, tells the present ones 1001 at an even pace, and ends the process."),
            button("Drain and stop…", "admin", drain, { class: "danger" })),
        card("Profiles", null, h("p", null, "Plans and tenants as a profiles file."),
            h("div", { class: "row" }, button("Export…", "admin", download), button("Import…", "admin", upload))),
        card("Memory of tenants", button("Refresh", "read", look), cache),
        card("Effective configuration", null, h("p", { class: "hint" }, "Secrets are not told."), settings),
        card("API", null, h("p", null, h("a", { href: "/admin/docs" }, "The admin API"), " and its ", h("a", { href: "/admin/v1/openapi.json" }, "OpenAPI document"), ".")),
    );
    return () => {};
}
